"""Ways to adapt a frozen tower, one a file."""
