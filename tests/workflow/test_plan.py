"""What a plan puts down for the workflow, which tables a command makes, and names that are refused."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

from ablations import plan as planning
from ablations import rows
from ablations.page import same_as_baseline
from ablations.plan.targets import tables_made, usual_seeds
from ablations.plan.write import write_plan
from ablations.progress import fewer_seeds
from core.errors import ConfigError
from core.experiment.experiment import load
from core.files import ROOT
from reports.layout import read_layout
from tests.support.formats import put
from tests.support.plans import SETTINGS, TABLE


def test_a_second_plan_is_the_same_and_needs_no_torch(plan, results):
    script = (
        "import sys; from ablations import plan; "
        f"made = plan.make({SETTINGS | {'results': str(results)}!r}, [{TABLE!r}]); "
        "print(*(row.run for row in made.tables['table_VII'])); assert 'torch' not in sys.modules, 'torch is imported'"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [row.run for row in plan.tables[TABLE]]


def test_a_training_waits_for_the_words_it_reads_and_no_others(results):
    made = planning.make({**SETTINGS, "results": str(results)}, ["table_III"])
    reads = {tuple(path.relative_to(made.data).as_posix() for path in made.trained_on(run)) for run in made.rows_by_run}
    assert reads == {("train/real", "val"), ("train/synth", "val"), ("train/real", "train/more", "val")}
    assert made.trained_on("micro-00000000") == made.data_inputs.all_inputs
    assert [path.name for path in made.data_inputs.all_inputs] == ["real", "more", "synth", "val", "test", "labels"]


def test_rows_json_says_who_asks_for_a_run(plan, results, run):
    path = results / "runs" / run / "rows.json"
    row = plan.tables[TABLE][0]
    asking = [{"table": TABLE, "row": row.name, "evaluation": row.evaluation}]
    assert json.loads(path.read_text()) == {"rows": asking, "name": f"{TABLE}/{row.name}"}
    before = path.stat().st_mtime_ns
    write_plan(plan)
    assert path.stat().st_mtime_ns == before


def test_rows_that_share_a_training_validate_it_as_the_baseline_reads(tmp_path):
    """One training of Table IX is read in many ways; while it is trained it is read as its row without a way of its own."""
    made = planning.make({**SETTINGS, "results": str(tmp_path)}, ["table_IX"])
    write_plan(made)
    shared = [run for run, asking in made.rows_by_run.items() if len(asking) > 3]
    assert shared
    for run in shared:
        protocol = load(tmp_path / "runs" / run / "train.gin", "smoke").protocol
        assert (protocol.decode, protocol.fast_cross, protocol.refine_steps) == ("ar", False, 1)


def seeds_listed(folder):
    return {path.name.split(".")[0]: pd.read_csv(path, dtype=str).seeds[0] for path in folder.glob("tables/smoke/*.runs.csv")}


def test_a_command_changes_the_lists_of_the_tables_that_it_makes(tmp_path):
    def planned(*targets, shared=False):
        made = planning.make({**SETTINGS, "results": str(tmp_path), "seeds": usual_seeds(targets)}, ["table_VI", TABLE])
        notes = list(fewer_seeds(made, targets))
        write_plan(made, targets, shared)
        return notes

    assert planned("report") == []
    reported = {path: path.read_text() for path in tmp_path.rglob("*.*")}
    planned("table_VI", shared=True)  # as a dry run
    planned("doctor")
    assert {path: path.read_text() for path in tmp_path.rglob("*.*")} == reported
    (note,) = planned("results/figures/smoke/forest_table_VI.png")
    assert "table_VI was planned with seeds 0, 1, 2, and is planned now with 0" in note and "--config seeds='[0,1,2]'" in note
    assert seeds_listed(tmp_path) == {"table_VI": "0", TABLE: "0 1 2"}
    (tmp_path / "tables/smoke/table_VI.runs.csv").unlink()
    planned("table_VI", shared=True)
    assert seeds_listed(tmp_path)["table_VI"] == "0"  # what is missing is written even so
    planned()
    assert set(seeds_listed(tmp_path).values()) == {"0"}


def test_targets_are_made_of_tables():
    tables = ("table_III", "table_VI", "finetune")
    assert tables_made(["figure_6"], tables) == ["table_III"]
    assert tables_made(["doctor", "results/tables/table_VI.wide.csv"], tables) == ["table_VI"]
    assert tables_made(["my_table_VI"], (*tables, "my_table_VI")) == ["my_table_VI"]
    assert tables_made(["results/figures/forest_table_VI.svg"], tables) == ["table_VI"]
    for targets in ([], ["all"], ["figures"], ["table_VI", "claims"]):
        assert tables_made(targets, tables) == [*tables]


def test_the_file_of_an_evaluation_says_what_its_row_says(tmp_path):
    """One of an older version lacks a value that the code reads, or has another batch; others are left alone."""
    settings = {**SETTINGS, "results": str(tmp_path)}
    write_plan(planning.make(settings, ["table_IX"]))
    kept, old = sorted(tmp_path.glob("runs/*/*[0-9a-f].gin"))[:2]
    text = old.read_text()
    lines = [line for line in text.splitlines(keepends=True) if "ALGORITHM" not in line]
    old.write_text("".join(lines).replace("protocol.Protocol.batch = 256", "protocol.Protocol.batch = 64"))
    before = kept.stat().st_mtime_ns
    write_plan(planning.make(settings, ["table_IX"]))
    assert old.read_text() == text and "optim.Optimisation.algorithm = %ALGORITHM" in text
    assert kept.stat().st_mtime_ns == before


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A function that makes a table of a name with a row of a name, and plans it."""
    like = read_layout(TABLE)
    for module in ("ablations.rows", "reports.layout"):
        monkeypatch.setattr(f"{module}.ABLATIONS", tmp_path)

    def make(name: str = "mine", row: str = "idea", text: str = "") -> planning.Plan:
        put(tmp_path / name / "table.yaml", "title: t\nabout: a\nbaseline: base\ncolumns: [{name: SVT, paper: SVT}]\n")
        for file, content in (("base", ""), (row, text)):
            put(tmp_path / name / f"{file}.gin", f"include 'ablations/base.gin'\n{content}")
        layout = replace(like, table=name, path=tmp_path / name / "table.yaml", baseline="base", order=())
        monkeypatch.setattr(planning, "read_layout", lambda _: replace(layout, not_at_micro={}))
        return planning.make({**SETTINGS, "results": str(tmp_path / "results")}, [name])

    return make


@pytest.mark.parametrize("name", ["x+", "a|b", "a b", "a.b", "é", "-x"])
def test_a_table_that_cannot_be_named_so_is_refused(table, name):
    with pytest.raises(ConfigError, match=f"{re.escape(repr(name))} cannot name a table; rename the folder"):
        table(name)
    with pytest.raises(ConfigError, match="cannot name a table"):
        rows.table_names()


@pytest.mark.parametrize("name", ["a|b", "a<b>", "a{b}", "_a_", "a*b", "a b", "ä", "a\nb", "$x$", "a&b", "-a"])
def test_a_row_that_cannot_be_named_so_is_refused(table, name):
    with pytest.raises(ConfigError, match=f"{re.escape(repr(name))} cannot name a row, .*; rename the file"):
        table(row=name)


def test_hidden_files_are_no_rows_and_a_row_that_is_the_baseline_is_told(table, tmp_path):
    put(tmp_path / "mine" / "._idea.gin", b"\x00\x05\x16\x07")
    plan = table(text="DROPOUT = 0.0\n")  # as at micro scale
    assert [row.name for row in plan.tables["mine"]] == ["base", "idea"]
    assert same_as_baseline(plan) == [
        "mine/idea trains and is scored exactly as the baseline base: its file changes nothing here"
    ]
    assert same_as_baseline(table(text="DROPOUT = 0.2\n")) == []


def test_a_training_set_that_does_not_exist_is_the_row_s_problem_alone(table):
    made = table("mine", "misspelt", "TRAIN_DATA = ('reel',)")
    (row,) = [row for row in made.tables["mine"] if row.name == "misspelt"]
    assert row.skip_reason.startswith(
        "not run: TRAIN_DATA names 'reel', of which nothing is known; known are real, synth, more"
    )


def test_a_figure_is_made_again_when_its_gin_file_says_something_else(plan, tmp_path):
    gin = tmp_path / "figure.gin"
    gin.write_text("include 'ablations/figures/zero_shot.gin'\n")
    before = plan.figure_identity(str(gin))
    gin.write_text("# A comment.\ninclude 'ablations/figures/zero_shot.gin'\n")
    assert plan.figure_identity(str(gin)) == before
    gin.write_text("include 'ablations/figures/zero_shot.gin'\nSEED = 1\n")
    assert plan.figure_identity(str(gin)) != before
