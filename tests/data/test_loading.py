"""From LMDB to what the tower takes: the pixels are those of Pillow, step by step, whichever process makes them."""

import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from core.bench.data import Released
from core.charset import CHARSET_94
from core.choices import NORMALISATIONS
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.loading import Batch, InOrder, ShuffledBatches, Words, collate, open_lmdbs
from core.data.transforms import ToTensor, normalise
from core.train.batches import batches_of
from tests.support.published import augmentation

SIZE = (24, 48)
AUGMENT = augmentation()
FORMS = [("RGB", "PNG"), ("L", "PNG"), ("RGB", "JPEG"), ("CMYK", "JPEG"), ("P", "PNG"), ("RGBA", "PNG")]


def encoded(number: int) -> bytes:
    """An image of its own size, content and kind."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 256, (int(rng.integers(5, 60)), int(rng.integers(5, 120)), 3), dtype=np.uint8)
    mode, form = FORMS[number % len(FORMS)]
    stream = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(stream, form)
    return stream.getvalue()


@pytest.fixture
def lmdbs(tmp_path) -> list[WordLmdb]:
    """Twelve samples, in three sets of which one has none."""
    write_lmdb(tmp_path / "a", [(encoded(i), f"a{i}") for i in range(5)])
    write_lmdb(tmp_path / "b", [(encoded(5), "")])
    write_lmdb(tmp_path / "c", [(encoded(i), f"c{i}") for i in range(6, 13)])
    return open_lmdbs(tmp_path, CHARSET_94, 25)


def plainly(raw: bytes, seed: list[int], normalisation: str) -> np.ndarray:
    """Decoded, augmented, resized by Pillow and normalised in float64, H W 3."""
    image = AUGMENT(Image.open(io.BytesIO(raw)).convert("RGB"), seed)
    resized = np.asarray(image.resize(SIZE[::-1], Image.Resampling.BICUBIC), dtype=np.float64)
    mean, std = (np.array(values) for values in NORMALISATIONS[normalisation])
    return (resized / 255 - mean) / std


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_a_batch_is_what_pillow_makes_of_each_image(lmdbs, normalisation):
    words = Words(lmdbs, ToTensor(SIZE, normalisation), AUGMENT, seed=3)
    batch = collate([words[2, position] for position in range(12)])
    assert batch.images.dtype == torch.uint8 and batch.images.shape == (12, 3, *SIZE)
    found = batch.normalised("cpu")
    numbers = [*range(5), *range(6, 13)]
    assert batch.labels == [f"{'a' if i < 5 else 'c'}{i}" for i in numbers]
    for place, number in enumerate(numbers):
        expected = plainly(encoded(number), [3, 2, place], normalisation)
        np.testing.assert_allclose(found[place].permute(1, 2, 0).numpy(), expected, atol=2e-6)
    assert found.is_contiguous() and found.dtype == torch.float32


def test_one_image_and_a_batch_are_normalised_alike(lmdbs):
    words, transform = Words(lmdbs, ToTensor(SIZE, "half")), ToTensor(SIZE, "half")
    batch = collate([words[0, position] for position in range(5)])
    single = torch.stack([transform(lmdbs[0].image(index)) for index in batch.indices])
    assert torch.equal(batch.normalised("cpu"), single)
    assert torch.equal(normalise(batch.images.contiguous(), "half"), single)


def test_normalising_leaves_the_pixels_alone(lmdbs):
    words = Words(lmdbs, ToTensor(SIZE, "clip"))
    batch = collate([words[0, 0]])
    before = batch.images.clone()
    assert torch.equal(batch.normalised("cpu"), batch.normalised("cpu")) and torch.equal(batch.images, before)


def test_the_reference_loader_makes_the_same_image(lmdbs):
    words = Words(lmdbs, ToTensor(SIZE, "clip"))
    released = Released(words, SIZE, None)
    for position in range(12):
        image, label = released[0, position]
        ours = collate([words[0, position]])
        torch.testing.assert_close(ours.normalised("cpu")[0], image, rtol=0, atol=2e-6)
        assert ours.labels == [label]


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_normalises_as_the_processor_does(lmdbs, normalisation):
    words = Words(lmdbs, ToTensor(SIZE, normalisation))
    batch = collate([words[0, position] for position in range(12)])
    torch.testing.assert_close(batch.normalised("cuda").cpu(), batch.normalised("cpu"), rtol=1e-6, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_batches_are_copied_to_a_gpu_ahead_and_whole(lmdbs):
    words = Words(lmdbs, ToTensor(SIZE, "clip"))
    order = ShuffledBatches(len(words), batch=4, seed=1, first=0, last=6, micro_batch=2)
    plain, ahead = (list(batches_of(words, order, 0, torch.device(device))) for device in ("cpu", "cuda"))
    for one, other in zip(plain, ahead, strict=True):
        assert other.images.device.type == "cuda" and torch.equal(other.images.cpu(), one.images)
        assert other.labels == one.labels


def loaded(words: Words, first: int, workers: int) -> list[Batch]:
    order = ShuffledBatches(len(words), batch=4, seed=1, first=first, last=6, micro_batch=2)
    return list(batches_of(words, order, workers, torch.device("cpu")))


def test_a_seed_gives_the_same_pixels_in_any_process_and_after_a_restart(lmdbs):
    words = Words(lmdbs, ToTensor(SIZE, "clip"), AUGMENT, seed=5)
    whole = loaded(words, 0, 0)
    for others, start in ((loaded(words, 0, 2), 0), (loaded(words, 4, 1), 8)):
        for one, other in zip(whole[start:], others, strict=True):
            assert one.labels == other.labels and one.normalisation == other.normalisation == "clip"
            assert torch.equal(one.images, other.images)
    other_seed = loaded(Words(lmdbs, ToTensor(SIZE, "clip"), AUGMENT, seed=6), 0, 0)
    assert not all(torch.equal(one.images, other.images) for one, other in zip(whole, other_seed, strict=True))


def test_images_keep_their_places_beside_those_that_cannot_be_decoded(tmp_path):
    """By which they get their reading orders, whatever the number of images in a pass."""
    write_lmdb(tmp_path, [(b"damaged", "a"), (encoded(1), "b"), (encoded(2), "c"), (b"damaged", "d"), (encoded(3), "e")])
    words = Words(open_lmdbs(tmp_path, CHARSET_94, 25), ToTensor(SIZE, "clip"))
    batch = collate([words[0, position] for position in range(5)])
    assert batch.places == [1, 2, 4] and batch.labels == ["b", "c", "e"] and len(batch.skipped) == 2


def test_without_a_transform_images_keep_their_size(lmdbs):
    words = Words(lmdbs, None)
    for position in (0, 11):
        example = words[0, position]
        stored = Image.open(io.BytesIO(encoded(position if position < 5 else position + 1))).convert("RGB")
        assert np.array_equal(example.image.permute(1, 2, 0).numpy(), np.asarray(stored))


def test_a_batch_of_nothing_names_what_it_lacks(tmp_path):
    write_lmdb(tmp_path / "a", [(b"junk", "x"), (b"", "y")])
    words = Words(open_lmdbs(tmp_path, CHARSET_94, 25), ToTensor(SIZE, "clip"))
    batch = collate([words[0, 0], words[0, 1]])
    assert not batch.labels and not len(batch.images) and len(batch.skipped) == 2
    assert len(Words([], None)) == 0


@pytest.mark.parametrize(("samples", "batch", "processes"), [(10, 4, 1), (10, 4, 2), (11, 2, 3), (3, 4, 2), (8, 2, 2)])
def test_processes_read_batches_in_turn(samples, batch, processes):
    shares = [list(InOrder(samples, batch, process, processes)) for process in range(processes)]
    assert [len(InOrder(samples, batch, process, processes)) for process in range(processes)] == [*map(len, shares)]
    in_turn = [own for turn in itertools.zip_longest(*shares, fillvalue=[]) for own in turn if own]
    assert [position for own in in_turn for _, position in own] == list(range(samples))
    assert all(len(own) == batch for own in in_turn[:-1])
