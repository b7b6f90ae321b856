"""The label index beside an LMDB: never of another database or other rules, never needed, safe to write at once."""

import multiprocessing
import os
import pickle
from pathlib import Path

import lmdb
import numpy as np
import pytest

from core.charset import CHARSET_36, CHARSET_94, RejectedLabel, read_charset, read_label
from core.data import index
from core.data.environments import close
from core.data.labels import Rules
from core.data.lmdb import WordLmdb
from core.data.samples import Ledger, Sample
from core.files import ROOT

CYRILLIC = read_charset(ROOT / "ablations/charsets/cyrillic.txt")
CYRILLIC_LABELS = ["Москва", "и\u0306ог", "дом 5", "Ж" * 26, "№7"]
ODD = [
    *CYRILLIC_LABELS,
    "",
    " ",
    "two words",
    "naïve",
    "ﬁne",
    "日本",
    "é",
    "x" * 25,
    "y" * 26,
    "z\0",
    "a\u2003b",
    "A-B",
    "-",
    "١٢",
    "\u0301",
]
STORED = 10_050  # enough for an index


def labels_of(count: int) -> list[bytes]:
    """Plain labels with an odd one here and there."""
    rng = np.random.default_rng(0)
    labels = [bytes(rng.choice(list(b"abcXYZ019"), rng.integers(1, 12)).tolist()) for _ in range(count)]
    for i, odd in enumerate([*map(str.encode, ODD), b"\xff\xfe", b"\xc3"]):
        labels[7 * i : 7 * i + 1] = [odd]
    return labels


def write(folder: Path, labels: list[bytes], stored: int | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with lmdb.open(str(folder), map_size=64 << 20) as database, database.begin(write=True) as transaction:
        for i, label in enumerate(labels, start=1):
            transaction.put(b"label-%09d" % i, label)
        transaction.put(b"image-000000001", b"")
        transaction.put(b"num-samples", b"%d" % (len(labels) if stored is None else stored))
    return folder


def put(folder: Path, **entries: bytes) -> None:
    close(folder)
    with lmdb.open(str(folder), map_size=64 << 20) as database, database.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.replace("_", "-").encode(), value)


def one_by_one(labels: dict[int, bytes], stored: int, rules: Rules) -> tuple[list[Sample], dict]:
    """Samples and ledger as the rules' own function makes them, label after label."""
    samples, ledger = [], Ledger()
    for i in range(1, stored + 1):
        try:
            if i not in labels:
                raise RejectedLabel("no such key")
            samples.append(Sample(i, read_label(labels[i].decode(), *rules)))
        except UnicodeDecodeError:
            ledger.add("not UTF-8", f"label-{i:09d}")
        except RejectedLabel as reason:
            ledger.add(str(reason), f"label-{i:09d}")
    beyond = stored + 1
    while beyond in labels:
        ledger.add("beyond num-samples", f"label-{beyond:09d}")
        beyond += 1
    return samples, ledger.as_dict()


def indices(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name not in ("data.mdb", "lock.mdb")]


@pytest.fixture
def big(tmp_path) -> Path:
    return write(tmp_path / "big", labels_of(STORED))


@pytest.fixture
def no_scan(monkeypatch):
    """After calling it, a scan is an error."""

    def refuse(*_):
        raise AssertionError("the labels were scanned")

    return lambda: monkeypatch.setattr("core.data.lmdb.scan", refuse)


@pytest.mark.parametrize(
    "rules", [Rules(CHARSET_94, 25), Rules(CHARSET_36, 25), Rules(CHARSET_36, 5), Rules("ABC", 25), Rules(CYRILLIC, 25)]
)
def test_labels_at_once_are_as_one_by_one(tmp_path, rules):
    labels = labels_of(400)
    folder = write(tmp_path / "set", labels, stored=380)
    with lmdb.open(str(folder), map_size=64 << 20) as database, database.begin(write=True) as transaction:
        for key in (b"label-000000050", b"label-000000051", b"label-000000390"):
            transaction.delete(key)
        for key in (b"label-1", b"label-0000000020", b"label-00000000x", b"label-000000000", b"mask-000000001"):
            transaction.put(key, b"stray")
    known = {i: label for i, label in enumerate(labels, start=1) if i not in (50, 51, 390)}
    words = WordLmdb(folder, *rules)
    samples, ledger = one_by_one(known, 380, rules)
    assert words.samples == samples and words.ledger.as_dict() == ledger
    assert ledger["no such key"]["count"] == 2 and ledger["beyond num-samples"]["count"] == 9


def test_an_index_says_what_the_scan_said(big, no_scan):
    first = WordLmdb(big)
    samples, ledger = one_by_one(dict(enumerate(labels_of(STORED), start=1)), STORED, Rules(CHARSET_94, 25))
    assert len(indices(big)) == 1
    no_scan()
    second = WordLmdb(big)
    assert second.samples == first.samples == samples and second.stored == STORED
    assert second.ledger.as_dict() == first.ledger.as_dict() == ledger


def test_small_sets_need_no_index(tmp_path):
    folder = write(tmp_path / "small", labels_of(300))
    assert len(WordLmdb(folder)) > 250 and not indices(folder)


def test_a_changed_label_and_a_new_sample_are_seen(big):
    WordLmdb(big)
    before = (big / "data.mdb").stat()
    put(big, label_000005000=b"changed")
    os.utime(big / "data.mdb", ns=(before.st_atime_ns, before.st_mtime_ns))  # the clock alone does not tell
    assert Sample(5000, "changed") in list(WordLmdb(big).samples)
    put(big, **{f"label_{STORED + 1:09d}": b"new", "num_samples": b"%d" % (STORED + 1)})
    assert WordLmdb(big).samples[-1] == Sample(STORED + 1, "new")
    assert len(indices(big)) == 1


def test_another_database_in_its_place_is_seen(big, tmp_path):
    labels = labels_of(STORED)
    WordLmdb(big)
    labels[5000] = b"q" * len(labels[5000])
    other = write(tmp_path / "other", labels)
    assert (other / "data.mdb").stat().st_size == (big / "data.mdb").stat().st_size
    (other / "data.mdb").replace(big / "data.mdb")  # while it is open
    assert WordLmdb(big).samples == one_by_one(dict(enumerate(labels, start=1)), STORED, Rules(CHARSET_94, 25))[0]


def test_each_set_of_rules_has_its_own(big, no_scan):
    counts = [len(WordLmdb(big, *rules)) for rules in ((CHARSET_94, 25), (CHARSET_36, 25), (CHARSET_94, 5))]
    assert len(indices(big)) == 3 and len(set(counts)) == 3
    no_scan()
    assert [len(WordLmdb(big, *rules)) for rules in ((CHARSET_94, 25), (CHARSET_36, 25), (CHARSET_94, 5))] == counts


def test_other_code_is_another_key(big, monkeypatch, tmp_path):
    before = index.content_key(big, Rules("ab", 25))
    other = tmp_path / "charset.py"
    other.write_text(Path(index.charset_module.__file__).read_text() + "\n")
    monkeypatch.setattr(index.charset_module, "__file__", str(other))
    assert index.content_key(big, Rules("ab", 25)) != before


DAMAGE = {
    "cut off": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "other bytes": lambda content: b"\0" * len(content),
    "one bit of a label": lambda content: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
    "one bit of a key number": lambda content: content[:20_000] + bytes([content[20_000] ^ 1]) + content[20_001:],
    "longer": lambda content: content + b"x",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_index_counts_as_none_and_is_written_again(big, damage):
    first = WordLmdb(big)
    (file,) = indices(big)
    whole = file.read_bytes()
    file.write_bytes(DAMAGE[damage](whole))
    again = WordLmdb(big)
    assert again.samples == first.samples and again.ledger == first.ledger and file.read_bytes() == whole


def test_a_folder_in_its_place_and_a_deleted_index_do_no_harm(big):
    first = WordLmdb(big)
    (file,) = indices(big)
    file.unlink()
    file.mkdir()
    assert WordLmdb(big).samples == first.samples and indices(big) == [file]
    file.rmdir()
    assert WordLmdb(big).samples == first.samples and file.is_file()


def test_a_read_only_folder_is_left_as_it_is(big):
    big.chmod(0o555)
    try:
        assert len(WordLmdb(big)) > 10_000 and not indices(big)
    finally:
        big.chmod(0o755)


def test_a_full_disk_only_means_no_index(big, monkeypatch):
    def full(path, _):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(Path, "replace", full)
    assert len(WordLmdb(big)) > 10_000 and not indices(big)


def open_often(folder: Path, start, answers) -> None:
    start.wait()
    for _ in range(5):
        for file in folder.glob("*.index"):
            file.unlink(missing_ok=True)
        answers.put(hash(WordLmdb(folder).samples.text))


def test_several_writers_at_once(big, no_scan):
    context = multiprocessing.get_context("fork")
    start, answers = context.Barrier(3), context.Queue()
    others = [context.Process(target=open_often, args=(big, start, answers)) for _ in range(3)]
    for other in others:
        other.start()
    found = {answers.get(timeout=120) for _ in range(15)}
    for other in others:
        other.join()
    assert len(found) == 1 and [other.exitcode for other in others] == [0, 0, 0]
    whole = WordLmdb(big)
    assert [path.suffix for path in indices(big)] == [".index"] and found == {hash(whole.samples.text)}
    no_scan()
    assert WordLmdb(big).samples == whole.samples


def test_samples_are_as_a_list(big):
    samples = WordLmdb(big).samples
    plain = list(samples)
    assert (len(plain), plain[0], plain[-1]) == (len(samples), samples[0], samples[-1])
    assert samples[3:9] == plain[3:9] and samples[::-1000] == plain[::-1000] and samples[-3] == plain[-3]
    assert pickle.loads(pickle.dumps(samples)) == samples != plain[1:]
    with pytest.raises(IndexError):
        samples[len(plain)]
