"""Word images: where they lie, how they are drawn, changed and named."""
