"""CLIP4STR and what it takes to train, evaluate and read with it."""
