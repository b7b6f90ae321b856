"""Errors about data, apart so that nothing heavy is imported to catch them."""


class DataError(ValueError):
    """Data that cannot be used as it lies; the message names the file, the key and the fix."""


class UnreadableImage(ValueError):
    """One sample's image cannot be decoded."""
