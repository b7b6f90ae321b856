"""The rooms of `core.train`: one step, its watch, validation, and what a run writes about itself."""
