"""What a figure needs a model for, computed and saved as arrays; `reports` draws it."""
