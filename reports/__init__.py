"""From per-image predictions to tables, with pandas and without torch."""
