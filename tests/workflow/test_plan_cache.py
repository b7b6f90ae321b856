"""What a plan keeps of rows between two calls: read again when anything that it says may have changed."""

import json
from dataclasses import asdict

import pytest

from ablations.row_config import Counts, PlanCache, RowConfig, content_of
from core.files import ROOT


def made_up(text: str, named: list[str], files: str) -> RowConfig:
    return RowConfig(
        training=text,
        operative=text,
        named=named,
        files=files,
        start_row="",
        start_problem="",
        train_data=["real"],
        train_images=None,
        protocol="{}",
        protocol_digest="0",
        output="cross",
        counts=Counts(3, 2, 1, 2, 4, 4),
        steps=6,
        epochs=None,
        batch=8,
        device_batch=4,
        precision="no",
        test_precision="no",
        validate_every=3,
        kept_bytes=12,
        state_bytes=28,
        machine={"device_batch": 4},
    )


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A repository of one row, its include and its weights file; what reads it counts how often it had to."""
    from ablations import row_config

    monkeypatch.setattr(row_config, "ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(row_config, "code_digest", lambda: "code")
    (tmp_path / "base.gin").write_text("DROPOUT = 0.1\n")
    (tmp_path / "row.gin").write_text("# A question.\ninclude 'base.gin'\nBATCH = 8\n")
    (tmp_path / "weights.bin").write_text("weights")
    read = []

    def reader(gin, scale):
        read.append(gin)
        return made_up((tmp_path / gin).read_text(), ["weights.bin"], row_config.weights_digest(["weights.bin"]))

    def ask():
        cache = PlanCache(tmp_path / "kept.json", reader)
        cache.row(tmp_path / "row.gin", "smoke")
        cache.write()
        return len(read)

    return tmp_path, ask


def test_a_row_is_kept_by_content(study, monkeypatch):
    folder, ask = study
    assert ask() == ask() == 1
    (folder / "row.gin").write_text("# Another question.\ninclude 'base.gin'\nBATCH = 8\n")
    assert ask() == 1  # a comment
    (folder / "row.gin").write_text("include 'base.gin'\nBATCH = 16\n")
    assert ask() == ask() == 2
    (folder / "base.gin").write_text("DROPOUT = 0.2\n")
    assert ask() == ask() == 3
    (folder / "weights.bin").write_text("others")
    assert ask() == ask() == 4
    (folder / "kept.json").write_text('{"code": "code", "rows": 3, ')
    assert ask() == ask() == 5
    (folder / "kept.json").unlink()
    assert ask() == 6
    kept = json.loads((folder / "kept.json").read_text())
    (entry,) = kept["rows"].values()
    del entry["batch"]
    (folder / "kept.json").write_text(json.dumps(kept))
    assert ask() == ask() == 7
    monkeypatch.setattr("ablations.row_config.code_digest", lambda: "new code")
    assert ask() == ask() == 8


@pytest.mark.parametrize("line", ["from mine import tower", "import elsewhere", "include 'gone.gin'", "include NAME"])
def test_what_cannot_be_told_from_the_text_is_read_every_time(study, line):
    folder, ask = study
    (folder / "row.gin").write_text(f"{line}\nBATCH = 8\n")
    assert content_of(folder / "row.gin", "smoke") is None
    assert ask() == 1 and ask() == 2


def test_included_files_of_the_scale_count(study):
    folder, _ = study
    (folder / "row.gin").write_text("from core import optim\ninclude 'scale/{scale}.gin'\n")
    (folder / "scale").mkdir()
    (folder / "scale" / "micro.gin").write_text("BATCH = 64\n")
    micro = content_of(folder / "row.gin", "smoke")  # smoke shrinks what micro says
    assert micro == content_of(folder / "row.gin", "micro") and micro[1] == ["BATCH = 64"]
    (folder / "scale" / "smoke.gin").write_text("BATCH = 8\n")
    assert content_of(folder / "row.gin", "smoke") != micro


def test_a_row_comes_back_as_it_was(tmp_path):
    before = made_up("A = 1", [], "")
    cache = PlanCache(tmp_path / "kept.json", lambda gin, scale: before)
    assert cache.row(ROOT / "ablations/table_VI/image0-text6.gin", "smoke") == before
    cache.write()
    again = PlanCache(tmp_path / "kept.json", lambda gin, scale: pytest.fail("read again"))
    assert asdict(again.row(ROOT / "ablations/table_VI/image0-text6.gin", "smoke")) == asdict(before)


def test_a_row_is_read_again_when_the_row_that_it_starts_from_changes(tmp_path):
    first, second = tmp_path / "first.gin", tmp_path / "second.gin"
    first.write_text("include 'ablations/base.gin'\n")
    second.write_text(f"include 'ablations/base.gin'\nSTART = '{first}'\n")
    before = content_of(second, "smoke")
    first.write_text("include 'ablations/base.gin'\n# no change\n")
    assert content_of(second, "smoke") == before
    first.write_text("include 'ablations/base.gin'\nDECODER_DEPTH = 2\n")
    assert content_of(second, "smoke") != before
    first.write_text(f"include 'ablations/base.gin'\nSTART = '{second}'\n")  # refused where it is planned
    assert content_of(second, "smoke") != before
