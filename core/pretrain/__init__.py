"""Pretrain a rendered world's towers (`python -m core.pretrain`): words with captions, or pictures with classes."""
