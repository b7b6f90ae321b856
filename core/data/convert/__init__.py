"""Source formats to LMDB, one a file."""
