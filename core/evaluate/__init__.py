"""Evaluate a trained model on every benchmark (`python -m core.evaluate`)."""
