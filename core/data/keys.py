"""The keys of a word LMDB, as the field's tools write them: num-samples, image-000000001, label-000000001, and so on."""

COUNT_KEY = b"num-samples"  # of the number of samples, in ASCII digits


def key_of(kind: str, number: int) -> str:
    """The key of sample `number`, counted from 1; its kind is "image" or "label"."""
    return f"{kind}-{number:09d}"


def image_key(number: int) -> str:
    return key_of("image", number)


def label_key(number: int) -> str:
    return key_of("label", number)
