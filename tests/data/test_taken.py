"""What is read of a data folder and what is not: hidden folders, copies, keys of other forms, and what messages say of them."""

import lmdb
import pytest

from core.data.benchmarks import benchmarks_of, count
from core.data.environments import close_all
from core.data.folders import files_below, lmdbs_below
from core.data.labels import PUBLISHED_RULES
from core.data.lmdb import ImageLmdb, write_lmdb
from core.data.loading import Words, open_lmdbs
from core.data.samples import left_out_text
from core.data.sets import copies_among, say_copies
from core.errors import DataError
from tests.support.formats import picture, put


def write_keys(folder, keys: dict[str, bytes]):
    folder.mkdir(parents=True)
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        for key, value in keys.items():
            transaction.put(key.encode(), value)
    return folder


def test_hidden_folders_and_files_are_skipped(tmp_path):
    write_lmdb(tmp_path / "test" / "SVT", [(picture(0), "word")])
    for hidden in ("test/.Trash-1000", "test/SVT/.Trash-1000/files", "test/SVT/.hidden"):
        write_lmdb(tmp_path / hidden, [(picture(0), "word")])
    put(tmp_path / "labels" / "cleaned" / "SVT.csv", "x")
    put(tmp_path / "labels" / "cleaned" / "._SVT.csv", "x")
    put(tmp_path / "labels" / ".old" / "SVT.csv", "x")
    assert lmdbs_below(tmp_path / "test") == [tmp_path / "test" / "SVT"] and list(benchmarks_of(tmp_path)) == ["SVT"]
    assert count(tmp_path / "test" / "SVT").stored == 1
    assert files_below(tmp_path / "labels", (".csv",)) == (str(tmp_path / "labels" / "cleaned" / "SVT.csv"),)
    assert lmdbs_below(tmp_path / "test" / ".Trash-1000") == [tmp_path / "test" / ".Trash-1000"]  # asked for by name


def test_copies_inside_a_set_are_told(tmp_path):
    for name, label in (("a", "word"), ("b", "other")):
        write_lmdb(tmp_path / name, [(picture(0), label)])
    put(tmp_path / "c" / "data.mdb", (tmp_path / "a" / "data.mdb").read_bytes())
    assert copies_among(lmdbs_below(tmp_path)) == [(tmp_path / "c", tmp_path / "a")]
    assert copies_among([tmp_path / "a", tmp_path / "a"]) == [(tmp_path / "a", tmp_path / "a")]
    assert say_copies([tmp_path / "a", tmp_path / "a"])[0].endswith("counts twice: name it once in TRAIN_DATA")
    assert say_copies(lmdbs_below(tmp_path)) == [
        f"{tmp_path / 'c'} holds the same as {tmp_path / 'a'}, so that each of its images counts twice: move one of them away"
    ]


@pytest.mark.parametrize(
    ("form", "looks"),
    [
        ("{kind}-{number:08d}", "no such key: image-000000001; keys here look like image-00000001, label-00000001"),
        ("{kind}-{number}", "no such key: image-000000001; keys here look like image-1, image-10, label-1, label-10"),
        ("{kind}_{number:09d}", "no such key: image-000000001; keys here look like image_000000001, label_000000001"),
        ("{number:09d}.{kind}", "no such key: image-000000001; keys here look like num-samples, 000000001.image"),
    ],
)
def test_keys_of_another_form_are_named(tmp_path, form, looks):
    keys = {form.format(kind=kind, number=number): b"x" for kind in ("image", "label") for number in range(1, 13)}
    folder = write_keys(tmp_path / "set", keys | {"num-samples": b"12"})
    with pytest.raises(DataError, match=f"set/data.mdb: {looks}"):
        ImageLmdb(folder)


def test_labels_of_another_form_are_named_behind_many_images(tmp_path):
    keys = {f"image-{number:09d}": b"x" for number in range(1, 10_050)}
    keys |= {f"label-{number:08d}": b"x" for number in range(1, 10_050)}
    folder = write_keys(tmp_path / "set", keys | {"num-samples": b"10049"})
    with pytest.raises(DataError, match="no such key: label-000000001; keys here look like label-00000001, "):
        ImageLmdb(folder)


def test_keys_that_count_from_0_are_named(tmp_path):
    keys = {f"{kind}-{number:09d}": b"x" for kind in ("image", "label") for number in range(3)}
    folder = write_keys(tmp_path / "set", keys | {"num-samples": b"3"})
    with pytest.raises(DataError, match="no such key: image-000000003; keys here look like image-000000000.*counted from 1"):
        ImageLmdb(folder)
    close_all()
    with lmdb.open(str(folder)) as database, database.begin(write=True) as transaction:
        for kind in ("image", "label"):
            transaction.put(f"{kind}-000000003".encode(), b"x")
    assert ImageLmdb(folder).stored == 3  # a stray key 0 does no harm


def test_what_is_left_out_has_a_number_and_a_reason(tmp_path):
    write_lmdb(tmp_path, [(picture(0), label) for label in ("word", "a" * 26, "b" * 26, " ")])
    words = Words(open_lmdbs(tmp_path, *PUBLISHED_RULES), None)
    assert left_out_text(words.stored, words.ledger().as_dict()) == (
        f"3 of 4 stored are left out, 2 of them: longer than 25 characters (e.g. {tmp_path}: label-000000002)"
    )
    assert left_out_text(4, {}) == ""
    with pytest.raises(
        DataError, match=r"no label here passes the label rules: 4 of 4 stored are left out, 3 of them: longer than 0"
    ):
        open_lmdbs(tmp_path, PUBLISHED_RULES.charset, 0)
