"""What the micro world's towers are pretrained on: words with captions, or pictures with classes."""
