"""What models are read from and written to: pretrained towers, our checkpoints, released ones; opened safely."""
