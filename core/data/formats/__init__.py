"""Source formats of word images, one a file; `catalogue` lists them."""
