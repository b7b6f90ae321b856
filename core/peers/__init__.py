"""Readers made by others, one a file, run through our data, label rules and scoring (`python -m core.peers`)."""
