"""What the data doctor looks at, one check a file."""
