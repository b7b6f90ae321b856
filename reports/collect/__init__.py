"""From a results folder to frames: runs and what they cost, scored predictions, published rows, other readers."""
