"""Peer readers: those made by others, one per file, run through our data, label rules and scoring (`python -m core.peers`)."""
