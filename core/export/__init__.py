"""Trained models out of this house: as graphs (`python -m core.export`) and on the Hugging Face hub (`core.export.hub`)."""

WORDS = 32  # that are rendered to compare readings, where no images are named
