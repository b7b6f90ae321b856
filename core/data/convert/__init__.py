"""Source formats to LMDB.

A reader yields the words that a source lists, as Item or, where one cannot be used, as LeftOut with the reason. It raises
DataError where the source is not in its format; the message names the file, the line or entry, and what was expected.
"""
