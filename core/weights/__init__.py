"""Safe loading and saving of weights: pretrained towers, our own checkpoints, released CLIP4STR checkpoints; START."""
