"""Where a workflow runs: from any folder, with results anywhere, and never two at once in one folder of results."""

import os
import platform
import re
import shlex
import subprocess
import sys

import pytest

from ablations import claimed, place
from ablations import plan as planning
from ablations.__main__ import main
from core.files import ROOT
from tests.support.formats import put

HOLD = "import pathlib, sys; from ablations import place; place.hold(pathlib.Path(sys.argv[1])); print('held', flush=True)"


@pytest.fixture
def other(tmp_path):
    """Another process that holds a folder of results, until it is told to end."""
    command = [sys.executable, "-c", HOLD + "; input()", str(tmp_path / "results")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_workflow_is_told_who_works_there(other, tmp_path, monkeypatch):
    monkeypatch.setattr(place, "PATIENCE", 0.1)
    refused = place.hold(tmp_path / "results")
    message = f"{tmp_path / 'results'} is used by another workflow, of {place.user()} on {platform.node()}, pid {other.pid}"
    assert message in refused and "since 20" in refused and "--config results=DIR" in refused
    assert f"pid {other.pid}" in place.others(tmp_path / "results")
    other.kill()
    other.wait()
    assert place.others(tmp_path / "results") == ""  # what a killed one held is free
    done = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path / "results")], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "held\n" and done.returncode == 0, done.stderr


def test_who_cannot_lock_goes_on_with_a_warning(tmp_path, monkeypatch, capsys):
    def refuse(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(place, "try_lock", refuse)
    assert place.hold(tmp_path) == ""
    assert f"warning: {tmp_path} cannot be locked (Operation not supported)" in capsys.readouterr().err


def test_what_cannot_be_written_is_named_with_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert place.not_writable("results") == "" and not list(tmp_path.iterdir())
    (tmp_path / "file").write_text("")  # nobody can write below it, root neither
    assert place.not_writable("file/results").endswith("cannot be written: add --config results=DIR, a folder of yours")
    (tmp_path / "gone").symlink_to(tmp_path / "unmounted")
    assert f"gone is a link to {tmp_path / 'unmounted'}, which is not there" in place.not_writable("gone")
    (tmp_path / ".snakemake").write_text("")
    assert "add --directory DIR" in place.not_writable(tmp_path / "results")


def test_a_folder_below_one_that_may_not_be_entered_cannot_be_written(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(place.Path, "exists", refuse)  # as os.stat there, but for root
    assert not place.writable(tmp_path / "results")


@pytest.mark.parametrize(
    ("line", "runs"),
    [("-j2 report", True), ("-n report", False), ("--unlock", False), ("--dag", False), ("a --report a.html", False)],
)
def test_commands_that_only_look_are_known(line, runs, monkeypatch):
    monkeypatch.setattr("sys.argv", ["snakemake", *shlex.split(line)])
    assert place.runs_jobs() == runs


def test_jobs_import_the_checkout_and_nothing_of_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('another core')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    program = [sys.executable, "-m", "core.experiment.summary", "--help"]
    done = subprocess.run(program, cwd=tmp_path, env=os.environ | place.imports_from(ROOT), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_command_is_snakemake_with_this_checkouts_snakefile(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(os, "execv", lambda program, arguments: called.append(arguments))
    main(["-n", "table_VI", "--config", "scale=smoke"])
    assert called == [
        [sys.executable, "-m", "snakemake", "-s", str(ROOT / "Snakefile"), "-n", "table_VI", "--config", "scale=smoke"]
    ]
    monkeypatch.setattr("ablations.__main__.ROOT", tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["-n"])
    assert f"{tmp_path / 'Snakefile'} is missing" in stop.value.code and "pip install -e ." in stop.value.code


def test_jobs_learn_what_was_asked_for(monkeypatch):
    """A job's process has a command line of its own; which seeds the plan has follows from the workflow's."""
    monkeypatch.setenv("CLIP4STR_TARGETS", "")
    monkeypatch.setattr("sys.argv", ["snakemake", "-j2", "report", "my results/figures/a.png"])
    assert place.targets(True) == ["report", "my results/figures/a.png"]
    monkeypatch.setattr("sys.argv", ["snakemake", "--target-jobs", "table:table=table_VI"])
    assert place.targets(False) == ["report", "my results/figures/a.png"]


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("-j8 --config scale=paper data=/data/pretraining", []),
        ("table_VI --config scale=paper data=/data/cyrillic results=run_cyrillic", ["table_VI"]),
        ("table_VI -d claims --config results=/scratch/report", ["table_VI"]),
        ("table_VI --config 'results=my report'", ["table_VI"]),
        ("table_VI --report report.html", ["table_VI"]),
        ("-R claims -- table_VI", ["table_VI"]),
    ],
)
def test_a_value_of_an_option_is_not_a_target(line, asked, monkeypatch):
    monkeypatch.setenv("CLIP4STR_TARGETS", "")
    monkeypatch.setattr("sys.argv", ["snakemake", *shlex.split(line)])
    targets = place.targets(True)
    assert targets == asked and planning.usual_seeds(targets) == [0]
    assert planning.tables_for(targets) == planning.tables_for([])


def test_claims_are_made_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = {"scale": "smoke", "data": None, "seeds": [0], "results": str(tmp_path / "results")}
    needed = claimed.claimed_results(planning.make(settings, ["table_VI"]), place.checkout_prefix(ROOT))
    published = [path for path in needed if path.suffix == ".csv"]
    names = ("table_VI", "second_training", "table_III", "table_IV")  # with what training noise is told from
    assert published == [ROOT / f"reports/published/{name}.csv" for name in names] and all(path.is_file() for path in published)


def test_what_reports_make_is_made_again_when_their_code_changes():
    """Each rule that calls them has the digest of their code among its parameters."""
    rules = [text for path in ROOT.glob("ablations/rules/*.smk") for text in re.split(r"^ *rule", path.read_text(), flags=re.M)]
    reporting = [text for text in rules if "-m reports." in text]
    assert len(reporting) == 7 and all("code=CODE" in text for text in reporting)


def test_towers_that_cannot_be_made_where_they_belong_are_named(tmp_path):
    put(tmp_path / "file", "")
    there, missing = ROOT / "ablations/micro/clip.safetensors", tmp_path / "file/towers/clip.safetensors"
    assert place.towers_not_writable([str(there), str(tmp_path / "clip.safetensors")]) == ""
    assert f"{missing} is to be made, and {missing.parent} cannot be written" in place.towers_not_writable([str(missing)])


def test_a_node_with_other_fonts_is_refused(monkeypatch):
    monkeypatch.setenv("CLIP4STR_WORLD", "")
    assert place.world_mismatch("small-01234567", main=True) == place.world_mismatch("small-01234567", main=False) == ""
    assert "would render small-89abcdef, and the workflow has planned small-01234567" in place.world_mismatch(
        "small-89abcdef", False
    )
    monkeypatch.delenv("CLIP4STR_WORLD")
    assert place.world_mismatch("small-89abcdef", main=False) == ""  # a process that nobody told


def test_claims_are_judged_again_when_a_layout_changes():
    """Its baseline, columns and stated noise decide verdicts, and no code changes with them."""
    (rule,) = re.findall(r"^rule claims:.*?^    output:", (ROOT / "ablations/rules/tables.smk").read_text(), re.M | re.S)
    assert 'ablations/{{table}}/table.yaml", table=PLAN.tables' in rule
