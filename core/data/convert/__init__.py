"""Published source formats to LMDB, one reader per format (formats.py lists them).

A reader yields the words that a source lists, each as an Item or, if it cannot be used, as a LeftOut with the reason. It raises
DataError if the source is not in its format; the message names the file, the line or entry, and what was expected.
"""
