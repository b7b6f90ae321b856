"""Figures of the report, drawn by matplotlib from finished tables, run folders and predictions."""
