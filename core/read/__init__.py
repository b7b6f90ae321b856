"""Read words from image files (`python -m core.read`)."""
