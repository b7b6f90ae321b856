"""Readers made by others, one a file, that `core.peers` runs through our data, label rules and scoring."""
