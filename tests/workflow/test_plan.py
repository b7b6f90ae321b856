"""What a plan keeps between calls, what it puts down, and why a run would be made again."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, replace

import pandas as pd
import pytest

from ablations import plan as planning
from ablations import rows
from ablations.page import same_as_baseline
from ablations.plan.targets import tables_made, usual_seeds
from ablations.plan.write import runs_frame, write_plan
from ablations.progress import fewer_seeds
from ablations.row_config import Counts, PlanCache, RowConfig, content_of
from ablations.why import why
from core.data.sets import fingerprint
from core.errors import ConfigError
from core.experiment.experiment import load
from core.files import ROOT, write_json
from reports.layout import read_layout
from tests.support.formats import put

SETTINGS = {"scale": "smoke", "data": None, "seeds": [0], "threads": 1, "peers": []}
TABLE = "table_VII"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def plan(results):
    made = planning.make({**SETTINGS, "results": str(results)}, [TABLE])
    write_plan(made)
    return made


@pytest.fixture
def run(plan):
    return plan.tables[TABLE][0].run


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


def test_why_says_what_is_missing(plan, run):
    row = plan.tables[TABLE][0]
    folder = plan.seed_folder(run, 0)
    said = "\n".join(why(plan, f"{TABLE}/{row.name}"))
    assert f"needed by {TABLE}/{row.name}" in said and "would be trained: its model is missing" in said
    (folder / "state" / "step-000000004").mkdir(parents=True)
    assert "interrupted; it will resume from its state at step 4" in "\n".join(why(plan, run))
    for name in ("model.safetensors", "model.json"):
        (folder / name).write_text("made")
    said = "\n".join(why(plan, run[-8:]))
    assert "would be trained" not in said
    assert f"evaluation {row.evaluation} would be made (predictions.parquet is missing)" in said
    for name in ("predictions.parquet", "metrics.json"):
        (folder / "evaluations" / row.evaluation).mkdir(parents=True, exist_ok=True)
        (folder / "evaluations" / row.evaluation / name).write_text("{}")
    assert "nothing to do" in "\n".join(why(plan, run))


def test_why_names_what_changed_since_an_earlier_run(plan, results, run):
    """The row asked for another run while its DROPOUT was another."""
    row = plan.tables[TABLE][0]
    former = results / "runs" / "smoke-00000000"
    former.mkdir()
    assert "DROPOUT = 0.0" in row.config.operative
    (former / "train.gin").write_text(row.config.operative.replace("DROPOUT = 0.0", "DROPOUT = 0.3"))
    (former / "rows.json").write_text(json.dumps({"rows": [{"table": TABLE, "row": row.name}]}))
    change = "changed: - DROPOUT = 0.3; + DROPOUT = 0.0"
    assert f"{TABLE}/{row.name} led to smoke-00000000 before; {change}" in "\n".join(why(plan, run))
    said = "\n".join(why(plan, "smoke-00000000"))
    assert "no row needs it" in said and f"leads to {run} now; {change}" in said


def test_why_compares_the_data(plan, world_folder):
    real = planning.make({**SETTINGS, "results": str(plan.results), "data": str(world_folder)}, [TABLE])
    run = real.tables[TABLE][0].run
    folder = real.seed_folder(run, 0)
    folder.mkdir(parents=True)
    (folder / "provenance.json").write_text(json.dumps({"data": str(world_folder), "data_fingerprint": "0"}))
    (folder / "operative.gin").write_text("TRAIN_DATA = ('real',)\n")
    assert "seed 0: stale: training data changed since" in "\n".join(why(real, run))
    (folder / "provenance.json").write_text("{")
    said = "\n".join(why(real, run))
    assert "cannot be compared" in said and "delete" not in said
    now = fingerprint(world_folder / "train/real")
    (folder / "provenance.json").write_text(json.dumps({"data": str(world_folder), "data_fingerprint": now}))
    old = {"benchmarks": {"regular": {"fingerprint": "of other words"}}}  # evaluations are named by their test words
    write_json(folder / "evaluations/01234567/metrics.json", old)
    assert "delete" not in "\n".join(why(real, run))


@pytest.mark.parametrize("name", ["smoke-ffffffff", "table_VII/nothing", ""])
def test_why_of_nothing_is_an_error(plan, name):
    with pytest.raises(ConfigError, match="say a run's name, or a row as table_VI/image0-text6"):
        why(plan, name)


def with_replicates(results, replicates, tables=("table_VII",), seeds=(0,)):
    return planning.make({**SETTINGS, "results": str(results), "seeds": list(seeds), "replicates": replicates}, list(tables))


def test_replicates_are_further_seeds_of_the_baseline_alone(plan, results):
    made = with_replicates(results, 3)
    baseline = next(row for row in made.tables[TABLE] if row.name == made.layouts[TABLE].baseline)
    more = set(made.inputs(TABLE)) - set(plan.inputs(TABLE))
    assert more == {made.seed_folder(baseline.run, seed) / "evaluations.json" for seed in (1, 2)}
    assert set(plan.inputs(TABLE)) < set(made.inputs(TABLE))
    assert made.models(TABLE) == plan.models(TABLE) and [row.run for row in made.rows] == [row.run for row in plan.rows]
    seeds = {run: [0, 1, 2] if run == baseline.run else [0] for run in made.rows_by_run}
    assert {run: made.seeds_of(run) for run in made.rows_by_run} == seeds
    listed = runs_frame(made, TABLE).set_index("row")
    assert listed.replicates[baseline.name] == "0 1 2" and set(listed.replicates.drop(baseline.name)) == {""}
    assert set(listed.seeds) == {"0"} and set(runs_frame(plan, TABLE).replicates) == {""}


def test_a_table_lists_each_count_of_its_rows(results):
    made = planning.make({**SETTINGS, "results": str(results)}, ["table_II"])
    listed = runs_frame(made, "table_II").set_index("row")
    for row in made.tables["table_II"]:
        found, here, paper = listed.loc[row.name], row.counts, row.counts_paper
        assert (found.params, found.total, found.frozen) == (here.encoders_trainable, here.total, here.frozen)
        assert (found.params_paper, found.total_paper, found.frozen_paper) == (
            *(paper.encoders_trainable, paper.total, paper.frozen),
        )
    base = listed.loc["clip4str-b"]
    assert len({base.params, base.total, base.frozen, base.params_paper, base.total_paper, base.frozen_paper}) == 6


def test_rows_that_share_a_training_validate_it_as_the_baseline_reads(tmp_path):
    """One training of Table IX is read in many ways; while it is trained it is read as its row without a way of its own."""
    made = planning.make({**SETTINGS, "results": str(tmp_path)}, ["table_IX"])
    write_plan(made)
    shared = [run for run, asking in made.rows_by_run.items() if len(asking) > 3]
    assert shared
    for run in shared:
        protocol = load(tmp_path / "runs" / run / "train.gin", "smoke").protocol
        assert (protocol.decode, protocol.fast_cross, protocol.refine_steps) == ("ar", False, 1)


def test_replicates_count_the_seed_of_all_rows(results):
    assert with_replicates(results, 4, seeds=[7]).replicates == [0, 1, 2, 7]


@pytest.mark.parametrize(
    ("replicates", "tables", "message"),
    [
        (5, ["table_VII"], "workflow.yaml: replicates is 5, and every row has 2 seeds, whose own spread is used: leave it out"),
        (5, ["table_II"], "workflow.yaml: replicates is 5, but .*table_II/table.yaml has no 'baseline' to train again"),
    ],
)
def test_replicates_that_change_nothing_are_refused(results, replicates, tables, message):
    with pytest.raises(ConfigError, match=message):
        with_replicates(results, replicates, tables, seeds=[0, 1] if tables == ["table_VII"] else [0])
    assert with_replicates(results, 5, ["table_II", "table_VII"]).replicates == [0, 1, 2, 3, 4]


def test_one_seed_at_micro_scale_comes_with_replicates_and_the_report_with_three_seeds(results):
    """Without noise of its own a table of single trainings could call nothing significant; stated noise is of paper scale."""
    micro = {**SETTINGS, "scale": "micro", "results": str(results), "seeds": None}
    alone = planning.make(micro, ["table_VII"])
    assert (alone.seeds, alone.replicates) == ([0], [0, 1, 2]) and planning.make(micro, ["table_II"]).replicates == []
    assert planning.make({**micro, "replicates": 1}, ["table_VII"]).replicates == []
    assert planning.make({**micro, "seeds": [0, 1]}, ["table_VII"]).replicates == []
    assert with_replicates(results, None).replicates == []
    assert usual_seeds(["report"]) == usual_seeds(["claims"]) == [0, 1, 2]
    assert usual_seeds(["table_VI"]) == usual_seeds(["results/tables/table_VI.md"]) == [0]
    for target in ("results/report.md", "results/report-small.html", "results/tables/claims.html"):
        assert usual_seeds([target]) == [0, 1, 2]


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
    monkeypatch.setattr(planning, "ABLATIONS", tmp_path)
    monkeypatch.setattr(rows, "ABLATIONS", tmp_path)

    def make(name: str = "mine", row: str = "idea", text: str = "") -> planning.Plan:
        put(tmp_path / name / "table.yaml", "title: t\nabout: a\nbaseline: base\ncolumns: [{name: SVT, paper: SVT}]\n")
        for file, content in (("base", ""), (row, text)):
            put(tmp_path / name / f"{file}.gin", f"include 'ablations/base.gin'\n{content}")
        layout = replace(read_layout(TABLE), table=name, path=tmp_path / name / "table.yaml", baseline="base", order=())
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


def test_a_figure_is_made_again_when_its_gin_file_says_something_else(plan, tmp_path):
    gin = tmp_path / "figure.gin"
    gin.write_text("include 'ablations/figures/zero_shot.gin'\n")
    before = plan.figure_identity(str(gin))
    gin.write_text("# A comment.\ninclude 'ablations/figures/zero_shot.gin'\n")
    assert plan.figure_identity(str(gin)) == before
    gin.write_text("include 'ablations/figures/zero_shot.gin'\nSEED = 1\n")
    assert plan.figure_identity(str(gin)) != before
