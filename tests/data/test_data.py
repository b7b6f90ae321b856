import io
import itertools
import subprocess
import sys

import lmdb
import numpy as np
import pytest
import torch
from PIL import Image

from core import config
from core.charset import CHARSET_94
from core.data.benchmarks import FAMILIES, MICRO_WORLD
from core.data.lmdb import WordLmdb, environment, write_lmdb
from core.data.loading import InOrder, ShuffledBatches, Words, collate, in_order, open_lmdbs
from core.data.micro import PARTS, STAGES, World, render_world
from core.data.render.lexicon import lexicon, split_unseen
from core.data.render.word import render
from core.data.sets import find_lmdbs, fingerprint
from core.data.transforms import ToTensor
from core.errors import DataError, UnreadableImage
from tests.support.checkout import small_world

TRANSFORM = ToTensor((16, 64), "clip")


def encoded(mode="RGB", form="PNG", size=(40, 20)) -> bytes:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    if mode == "I;16":
        image = Image.fromarray(rng.integers(0, 65536, size[::-1], dtype=np.uint16))
    else:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


def test_written_lmdbs_read_back(tmp_path):
    pairs = [(encoded(), "Hello"), (encoded("L"), "w o"), (encoded("CMYK", "JPEG"), "x")]
    assert write_lmdb(tmp_path / "a", pairs) == 3
    words = WordLmdb(tmp_path / "a")
    assert [sample.label for sample in words.samples] == ["Hello", "wo", "x"]
    assert all(words.image(i).mode == "RGB" for i in (1, 2, 3))


def test_sixteen_bit_images_keep_their_range(tmp_path):
    write_lmdb(tmp_path / "a", [(encoded("I;16"), "x")])
    pixels = np.asarray(WordLmdb(tmp_path / "a").image(1))
    assert pixels.min() < 20 and pixels.max() > 235


def test_a_full_map_grows(tmp_path):
    big = encoded(size=(3000, 3000))
    assert write_lmdb(tmp_path / "a", ((big, str(i)) for i in range(4))) == 4
    assert len(WordLmdb(tmp_path / "a")) == 4


def test_bad_samples_are_counted_and_skipped(tmp_path):
    whole = encoded(form="JPEG", size=(200, 80))
    samples = [(whole, "good"), (whole[: len(whole) // 2], "cut"), (b"no image", "junk"), (whole, ""), (whole, "y" * 30)]
    write_lmdb(tmp_path / "a", samples)
    words = Words(open_lmdbs(tmp_path, "abcdefghijklmnopqrstuvwxyz", 25), TRANSFORM)
    assert words.ledger().as_dict().keys() == {"empty label", "longer than 25 characters"}
    (batch,) = in_order(words, 8, 0)
    assert batch.labels == ["good"] and batch.images.shape == (1, 3, 16, 64)
    assert len(batch.skipped) == 2 and "image-000000002" in batch.skipped[0][1] and str(tmp_path) in batch.skipped[0][1]


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_read_what_the_parent_has_open(tmp_path, context):
    write_lmdb(tmp_path / "a", [(encoded(), f"w{i}") for i in range(6)])
    words = Words(open_lmdbs(tmp_path, "abcdefghijklmnopqrstuvwxyz0123456789", 25), TRANSFORM)
    assert words[0, 0].label == "w0"
    loader = torch.utils.data.DataLoader(
        words, batch_sampler=InOrder(6, 2), num_workers=2, collate_fn=collate, multiprocessing_context=context
    )
    assert [label for batch in loader for label in batch.labels] == [f"w{i}" for i in range(6)]
    assert words[0, 1].label == "w1"


def test_missing_keys(tmp_path):
    write_lmdb(tmp_path / "a", [(encoded(), "a"), (encoded(), "b")])
    with lmdb.open(str(tmp_path / "a")) as database, database.begin(write=True) as transaction:
        transaction.delete(b"image-000000001")
        transaction.delete(b"label-000000002")
    words = WordLmdb(tmp_path / "a")
    assert len(words) == 1 and words.ledger.counts["no such key"] == 1
    with pytest.raises(UnreadableImage, match="no such key"):
        words.image(1)


def test_no_num_samples_names_file_and_key(tmp_path):
    write_lmdb(tmp_path / "a", [(encoded(), "a")])
    with lmdb.open(str(tmp_path / "a")) as database, database.begin(write=True) as transaction:
        transaction.delete(b"num-samples")
    with pytest.raises(DataError, match="a/data.mdb: key 'num-samples' is missing; write"):
        WordLmdb(tmp_path / "a")


def test_no_lmdb_and_damaged_lmdb(tmp_path):
    with pytest.raises(DataError, match="no data.mdb at or below this folder"):
        find_lmdbs(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "data.mdb").write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match="bad/data.mdb cannot be opened"):
        environment(tmp_path / "bad")


def test_order_is_sorted_and_fingerprint_follows_content(tmp_path):
    for name in ("b", "a/c", "a/b"):
        write_lmdb(tmp_path / name, [(encoded(), name)])
    assert [p.relative_to(tmp_path).as_posix() for p in find_lmdbs(tmp_path)] == ["a/b", "a/c", "b"]
    before = fingerprint(tmp_path)
    assert fingerprint(tmp_path) == before
    write_lmdb(tmp_path / "b", [(encoded(), "other")])
    assert fingerprint(tmp_path) != before


def test_linked_folders_are_followed(tmp_path):
    write_lmdb(tmp_path / "elsewhere" / "a", [(encoded(), "a")])
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "real").symlink_to(tmp_path / "elsewhere")
    assert [path.name for path in find_lmdbs(tmp_path / "train")] == ["a"]


def test_a_failed_write_leaves_nothing(tmp_path):
    def samples():
        yield encoded(), "a"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lmdb(tmp_path / "a", samples())
    assert not list(tmp_path.iterdir())


def test_normalisations():
    white = Image.new("RGB", (64, 16), "white")
    assert ToTensor((16, 64), "half")(white).unique().item() == pytest.approx(1.0)
    assert ToTensor((16, 64), "clip")(white)[0, 0, 0].item() == pytest.approx((1 - 0.48145466) / 0.26862954)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 64), dtype=np.uint8)
    torch.testing.assert_close(TRANSFORM.batch(pixels[None])[0], TRANSFORM(Image.fromarray(pixels).convert("RGB")))
    with pytest.raises(ValueError, match="normalisation 'other'"):
        ToTensor((16, 64), "other")


def batches(first, last, **sharing):
    return list(ShuffledBatches(samples=10, batch=4, seed=5, first=first, last=last, **{"micro_batch": 4, **sharing}))


def test_batches_start_anywhere_and_share_evenly():
    whole = batches(0, 6)
    assert batches(3, 6) == whole[3:]
    assert {epoch for batch in whole for epoch, _ in batch} == {0, 1, 2}
    assert sorted(position for batch in whole[:2] for _, position in batch) != list(range(8))
    shares = [batches(0, 6, micro_batch=1, process=p, processes=2) for p in (0, 1)]
    assert len(shares[0]) == 12
    for step in range(6):
        both = [x for i in (0, 1) for share in shares for x in share[2 * step + i]]
        assert both == whole[step]


def test_renderer_repeats_in_another_process():
    program = (
        "import hashlib, numpy as np; from core import config; from core.data.benchmarks import MICRO_WORLD\n"
        "from core.data.micro import World\n"
        "from core.data.render.word import render\nworld = config.build(World, MICRO_WORLD)\n"
        "print(*[hashlib.sha256(render('table', f, world.page, np.random.default_rng([1, i])).tobytes()).hexdigest()"
        " for i, f in enumerate(world.families)])"
    )
    runs = [subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True) for _ in range(2)]
    assert runs[0].stdout == runs[1].stdout and len(runs[0].stdout.split()) == len(FAMILIES)


def test_families_show_the_word():
    world = config.build(World, MICRO_WORLD)
    for family in world.families:
        for i in range(30):
            image = render("gypsum", family, world.page, np.random.default_rng(i))
            assert image.size == (world.page.width, world.page.height) and np.asarray(image).std() > 5, family.name


def test_lexicon_and_unseen_words():
    words = lexicon(500, 3, 6)
    assert len(set(words)) == 500 and all(3 <= len(word) <= 6 and word.isalpha() for word in words)
    seen, unseen = split_unseen(words, 0.1, 0)
    assert len(unseen) == 50 and not set(seen) & set(unseen) and set(seen) | set(unseen) == set(words)
    with pytest.raises(ValueError, match="only"):
        lexicon(100_000, 3, 6)


def test_world_keeps_its_unseen_words_out_of_training(world_folder):
    world = config.build(World, MICRO_WORLD)
    _, unseen = world.words()
    for part in ("train", "val"):
        labels = {
            sample.label
            for lmdb in open_lmdbs(world_folder / part, "abcdefghijklmnopqrstuvwxyz", 25)
            for sample in lmdb.samples
        }
        assert labels and not labels & set(unseen)
    assert sorted(path.name for path in (world_folder / "test").iterdir()) == sorted(world.names)


def test_no_image_is_in_two_parts_of_the_world(world_folder):
    """Each has random numbers of its own, and test words include those that training never shows."""
    assert len(set(STAGES.values())) == len(STAGES)
    pixels = {}
    for part in ("train/real", "train/more", "val"):
        (lmdb,) = open_lmdbs(world_folder / part, CHARSET_94, 25)
        pixels[part] = {lmdb.image(sample.index).tobytes() for sample in lmdb.samples}
    assert all(len(images) > 7 for images in pixels.values())
    assert all(not pixels[one] & pixels[other] for one, other in itertools.combinations(pixels, 2))
    tests = open_lmdbs(world_folder / "test", CHARSET_94, 25)
    shown = {sample.label.lower() for lmdb in tests for sample in lmdb.samples}
    assert shown & set(small_world().words()[1])


def test_parts_of_the_world_are_the_same_alone(world_folder, tmp_path):
    world = small_world()
    for part in PARTS:
        render_world(world, tmp_path / "apart", 1, [part])
    assert sorted(path.name for path in (tmp_path / "apart").iterdir()) == ["labels", "test", "train", "val"]
    files = {path.relative_to(world_folder) for path in world_folder.rglob("*") if path.suffix in (".mdb", ".csv")}
    assert {
        path.relative_to(tmp_path / "apart") for path in (tmp_path / "apart").rglob("*") if path.suffix in (".mdb", ".csv")
    } == files
    for path in files:
        if path.name != "lock.mdb":
            assert (tmp_path / "apart" / path).read_bytes() == (world_folder / path).read_bytes()


@pytest.mark.parametrize("part", [*PARTS, "labels"])
def test_a_world_replaces_no_data(part, tmp_path):
    theirs = tmp_path / "data" / part / "theirs" / "data.mdb"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    with pytest.raises(DataError, match=f"{part} exists and is not an empty folder, it holds theirs"):
        render_world(small_world(), tmp_path / "data", 1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


def test_an_interrupted_part_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr("core.data.micro.write_labels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        render_world(small_world(), tmp_path / "world", 1)
    left = {path.relative_to(tmp_path / "world").as_posix() for path in (tmp_path / "world").rglob("data.mdb")}
    assert left == {"train/real/data.mdb", "train/more/data.mdb", "train/synth/data.mdb", "val/micro/data.mdb"}
    assert not list(tmp_path.rglob("*.partial"))


def test_real_lmdbs_open(realdata):
    sizes = {path.relative_to(realdata).as_posix(): len(WordLmdb(path)) for path in find_lmdbs(realdata)}
    assert sizes["test/IIIT5k"] > 0 and sizes["test/SVT"] == 647
    assert len(sizes) == 8
