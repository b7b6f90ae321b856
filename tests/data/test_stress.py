"""Hostile bytes, labels and counts: each ends as a sample, or in an error or ledger line that names file and key.

    STRESS_EXAMPLES=4000 pytest tests/data/test_stress.py --hypothesis-show-statistics

tries more of each than the usual 50, and prints how they ended.
"""

import io
import os
import struct
import warnings
import zlib

import lmdb
import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image

from core.charset import CHARSET_36, CHARSET_94, RejectedLabel, normalise_label
from core.data.images import LARGEST, decode_image
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.loading import Words, in_order
from core.data.transforms import ToTensor
from core.errors import DataError, UnreadableImage
from tests.support.published import augmentation

FORMATS = ("AVIF", "BMP", "DDS", "GIF", "ICO", "IM", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "SGI", "TGA", "TIFF", "WEBP")
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
EXAMPLES = os.environ.get("STRESS_EXAMPLES")  # others each time; without it the same 50, so that no run fails by chance
many = settings(max_examples=int(EXAMPLES or 50), deadline=None, database=None, derandomize=EXAMPLES is None)


def encoded(form="PNG", size=(40, 20)) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).save(stream, form)
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A well-formed PNG of one grey level, a few kB whatever its size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


WHOLE = [encoded(form) for form in FORMATS] + [EPS]


@st.composite
def damaged(draw) -> bytes:
    """An image of some format with bytes changed, most of them near its start, or cut off, or both."""
    content = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(0, 6))):
        last = min(len(content), draw(st.sampled_from((64, 512, 1 << 20)))) - 1
        content[draw(st.integers(0, last))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.integers(0, len(content)))] if draw(st.booleans()) else content)


def decodes(content: bytes) -> bool:
    with warnings.catch_warnings(action="ignore"):
        try:
            image = decode_image(content)
        except UnreadableImage as error:
            assert str(error)
            return False
    assert image.mode == "RGB" and min(image.size) > 0
    return True


@many
@given(st.binary(max_size=2000))
def test_random_bytes_are_no_image(content):
    assert not decodes(content)
    event("unreadable")


@many
@given(damaged())
def test_damaged_images_decode_or_are_refused(content):
    event("decoded" if decodes(content) else "unreadable")


@pytest.mark.parametrize("form", ("DDS", "ICO", "PCX"))
def test_formats_nobody_stores_words_in_are_refused(form):
    with pytest.raises(UnreadableImage, match="cannot identify"):
        decode_image(encoded(form))


def test_postscript_is_never_run():
    with pytest.raises(UnreadableImage, match="cannot identify"):
        decode_image(EPS)


@pytest.mark.parametrize("width, height", [(9434, 9434), (12_000, 12_000), (20_000, 20_000)])
def test_decompression_bombs_are_refused_with_their_size(width, height):
    bomb = png_that_claims(width, height)
    assert len(bomb) < LARGEST / 1000
    with warnings.catch_warnings(action="ignore"), pytest.raises(UnreadableImage) as refused:
        decode_image(bomb)
    assert f"{width} x {height}" in str(refused.value) or f"{width * height} pixels" in str(refused.value)


def test_large_photographs_are_read():
    assert decode_image(png_that_claims(6000, 4000)).size == (6000, 4000)


letters = st.characters(codec="utf-8")
hostile_text = st.one_of(
    st.text(letters, max_size=40),
    st.text(st.sampled_from("\0\x1c\u200f\u202e\u0661אשלום😀👩‍👩‍👧ß①\ufdfaİı"), max_size=30),
    st.builds(lambda text, times: text * times, st.text(letters, min_size=1, max_size=5), st.integers(2000, 10_000)),
)
hostile_label = st.one_of(
    hostile_text.map(str.encode),
    st.binary(max_size=60),
    st.sampled_from([b"\xed\xa0\x80", b"a\xed\xb2\xa9", b"\xc0\x80", b"\xf5\x80\x80\x80", b"\xff\xfeh\0i\0", b"A\0B"]),
)


@many
@given(hostile_text, st.sampled_from((CHARSET_36, CHARSET_94)))
def test_labels_come_out_clean_or_are_rejected_with_a_reason(text, charset):
    try:
        label = normalise_label(text, charset, 25)
    except RejectedLabel as reason:
        event(str(reason))
        assert str(reason) in ("empty label", "longer than 25 characters", "no supported character")
        return
    event("kept")
    assert 0 < len(label) <= 25 and set(label) <= set(charset) and normalise_label(label, charset, 25) == label


@many
@given(st.lists(st.tuples(damaged(), hostile_label), min_size=1, max_size=8))
def test_a_hostile_lmdb_loses_no_sample_unseen(tmp_path_factory, samples):
    folder = tmp_path_factory.mktemp("hostile") / "set"
    write_lmdb(folder, [(image, "x") for image, _ in samples])
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        for number, (_, label) in enumerate(samples, start=1):
            transaction.put(f"label-{number:09d}".encode(), label)
    words = Words([WordLmdb(folder)], ToTensor((8, 16), "clip"), augmentation())
    read, skipped = [], []
    with warnings.catch_warnings(action="ignore"):
        for batch in in_order(words, 3, 0):
            read += batch.indices
            skipped += [key for _, key in batch.skipped]
    assert len(read) + len(skipped) + words.ledger().counts.total() == len(samples)
    assert all(str(folder) in key and "(image-00000000" in key for key in skipped)
    assert all(f"{folder}: label-" in key for keys in words.ledger().examples.values() for key in keys)
    event(f"{len(read) > 0} read, {len(skipped) > 0} skipped, {words.ledger().counts.total() > 0} in the ledger")


count_values = st.one_of(
    st.binary(max_size=30),
    st.integers(-5, 10**30).map(lambda n: str(n).encode()),
    st.integers(0, 9).map(lambda n: f" {n}\n".encode()),
)


@many
@given(count_values)
def test_wrong_counts_are_refused_or_accounted_for(tmp_path_factory, count):
    folder = tmp_path_factory.mktemp("counts") / "set"
    write_lmdb(folder, [(b"", f"w{i}") for i in range(3)])
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        transaction.put(b"num-samples", count)
    try:
        words = WordLmdb(folder)
    except DataError as error:
        event("refused")
        assert f"{folder / 'data.mdb'}: key 'num-samples'" in str(error)
        assert not count.strip().isdigit() or int(count) > 6
        return
    event("read")
    assert int(count) == words.stored <= 6
    assert len(words) + words.ledger.counts["beyond num-samples"] == 3
    assert words.ledger.counts["no such key"] == max(0, words.stored - 3)


def test_a_label_that_is_no_unicode_is_named_when_written(tmp_path):
    with pytest.raises(DataError, match=r"set: label-000000002, 'a\\ud800' cannot be written"):
        write_lmdb(tmp_path / "set", [(b"", "fine"), (b"", "a\ud800")])
    assert not list(tmp_path.iterdir())


def test_sixteen_bit_grey_keeps_its_range_in_every_format():
    levels = np.linspace(0, 65535, 800).astype(np.uint16).reshape(20, 40)
    for form in ("PNG", "PPM", "TIFF"):
        stream = io.BytesIO()
        Image.fromarray(levels).save(stream, form)
        pixels = np.asarray(decode_image(stream.getvalue()))
        assert pixels.min() == 0 and pixels.max() == 255 and abs(pixels.mean() - 127.5) < 1, form
