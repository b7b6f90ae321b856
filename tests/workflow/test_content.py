"""Identity is content: real data that is moved, linked or spelled otherwise makes nothing again, replaced data everything."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from ablations import plan as planning
from ablations.plan.write import write_plan
from ablations.progress import Missing, missing, run_needs
from core.data.lmdb import WordLmdb, write_lmdb
from core.files import ROOT

TABLES = ("table_III", "table_IX")
TARGETS = (*TABLES, "figure_2", "lr_search", "doctor")
TRAINING = {"train", "trial"}
TESTING = {"peer", "attention"}
JOBS = {*TRAINING, *TESTING, "draw_figure_2", "evaluate", "reading_time", "doctor", "table", "lr_search"}
SETTINGS = {"scale": "smoke", "seeds": [0], "threads": 1, "peers": ["rapidocr"]}  # as `snakemake` below has them


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to work in, elsewhere than the checkout."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def data(place, world_folder):
    folder = place / "first" / "words"
    shutil.copytree(world_folder, folder)
    (folder / "labels" / "cleaned").mkdir(parents=True, exist_ok=True)
    (folder / "labels" / "cleaned" / "SVT.csv").write_text("index,label\n1,word\n")
    return folder


def snakemake(place: Path, data: Path | str, *arguments: str) -> str:
    command = [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-d", str(place), "-c2", *arguments, *TARGETS]
    settings = ["--config", "scale=smoke", f"data={data}", "peers=[rapidocr]"]
    done = subprocess.run([*command, *settings], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def jobs_of(output: str) -> dict[str, int]:
    return {name: int(count) for name, count in re.findall(r"^(\w+) +(\d+)$", output, re.MULTILINE)}


def plan_of(place: Path, data: Path | str) -> planning.Plan:
    return planning.make({**SETTINGS, "data": str(data), "results": str(place / "results")})


def lacking(plan: planning.Plan) -> list[Missing]:
    """What the plan would still make for the targets, run by run."""
    runs = {row.run for table in TABLES for row in plan.tables[table] if row.runnable}
    found = [missing(plan.seed_folder(run, 0), asked) for run, asked in run_needs(plan).items() if run in runs]
    return [lacked for lacked in found if not lacked.nothing]


@pytest.fixture(scope="module")
def finished(place, data):
    """Everything the targets need, made of empty files, as Snakemake leaves them behind."""
    plan = plan_of(place, data)
    for run, evaluations in plan.evaluations.items():
        for evaluation in evaluations:
            path = plan.seed_folder(run, 0) / "evaluations" / evaluation / "predictions.parquet"
            path.parent.mkdir(parents=True)
            path.write_text("read")
    write_plan(plan)  # with the lists of evaluations: a summary changes none
    for line in snakemake(place, data, "--summary").splitlines():
        path, *rest = line.split("\t")
        if rest and path.startswith("results/"):
            target = place / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():  # lists of evaluations are there: the plan found predictions
                target.write_text("made") if target.suffix else target.mkdir()
    for run, evaluations in plan.timed.items():
        (plan.seed_folder(run, 0) / "reading_time.json").write_text(json.dumps({"readings": dict.fromkeys(evaluations)}))
    for path in place.glob("results/runs/*/seed0/evaluations/*/predictions.parquet"):
        path.touch()  # read after the training
    snakemake(place, data, "--touch", "--forceall")  # all of it, so that it is recorded what each file was made from
    output = snakemake(place, data, "-n")
    assert "Nothing to be done" in output and "missing provenance" not in output and lacking(plan) == []
    return plan


def elsewhere(place: Path, data: Path, how: str) -> Path | str:
    """The same words at another place, under another name or in another spelling."""
    if how == "copy":
        shutil.copytree(data, place / "second" / "words")
        return place / "second" / "words"
    if how == "another name":
        shutil.copytree(data, place / "third" / "letters")
        return place / "third" / "letters"
    if how == "link":
        (place / "linked words").symlink_to(data)
        return place / "linked words"
    return f"../{place.name}/first/words"


@pytest.mark.parametrize("how", ["copy", "link", "../", "another name"])
def test_the_same_words_elsewhere_make_nothing_again(place, data, finished, how, monkeypatch):
    monkeypatch.chdir(place)
    where = elsewhere(place, data, how)
    assert "Nothing to be done" in snakemake(place, where, "-n")
    plan = plan_of(place, where)
    plan.data_inputs.write(set(), shared=False)  # as a workflow that makes something does
    assert (
        lacking(plan) == []
        and plan.study == finished.study
        and plan.study.startswith(f"smoke-words-{plan.source.test_digest[:4]}-")
    )
    assert (place / "results" / "data" / plan.data_inputs.study).samefile(where)


def replace_words(root: Path) -> None:
    """Put other images into the first LMDB below a folder."""
    folder = next(root.rglob("data.mdb")).parent
    labels = [sample.label for sample in WordLmdb(folder).samples]
    shutil.rmtree(folder)
    write_lmdb(folder, ((b"no picture", label) for label in labels))


@pytest.mark.parametrize(("part", "spared"), [("test", TRAINING), ("train/real", TESTING)])
def test_replaced_words_make_everything_again_that_read_them(place, data, finished, part, spared):
    """In place, so that nothing but the content differs."""
    kept = place / f"before-{Path(part).name}"
    shutil.copytree(data, kept)
    replace_words(data / part)
    jobs = jobs_of(snakemake(place, data, "-n"))
    assert JOBS - spared <= jobs.keys() and not spared & jobs.keys()
    lacked = lacking(plan_of(place, data))
    assert sum(bool(found.train) for found in lacked) == jobs.get("train", 0)
    assert sum(bool(found.evaluations) for found in lacked) == jobs["evaluate"]
    assert sum(found.timed for found in lacked) == jobs["reading_time"]
    shutil.rmtree(data)
    kept.rename(data)
    assert "Nothing to be done" in snakemake(place, data, "-n")


@pytest.mark.parametrize("part", ["test", "train", "labels"])
def test_folders_of_one_name_share_no_tables(place, data, finished, part):
    other = place / part / "words"
    shutil.copytree(data, other)
    if part == "labels":
        (other / "labels" / "cleaned" / "SVT.csv").write_text("index,label\n1,world\n")
    else:
        replace_words(other / part)
    plan = plan_of(place, other)
    write_plan(plan)
    assert plan.tables_folder != finished.tables_folder and plan.report_stem != finished.report_stem
    assert (plan.peers_folder == finished.peers_folder) == (part != "test")  # peer readers see test words alone
    runs = pd.read_csv(plan.tables_folder / "table_III.runs.csv")
    assert Path(runs.data_root[0]).samefile(other)
