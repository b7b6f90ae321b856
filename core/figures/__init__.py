"""The parts of figures that need a model, computed and saved as arrays; `reports.figures` draws them."""
