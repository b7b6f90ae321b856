"""The settings of a workflow, as people write them on a command line, and how it ends where they cannot be used."""

from pathlib import Path

import pytest
import yaml

from ablations import plan as planning
from ablations.lr_search import Search
from ablations.plan.__main__ import main
from ablations.plan.settings import checked
from core.errors import ConfigError, user_errors
from core.files import ABLATIONS
from tests.support.checkout import snakemake
from tests.support.formats import put

SETTINGS = yaml.safe_load((ABLATIONS / "workflow.yaml").read_text())


def test_the_file_itself_is_as_it_is_meant():
    assert checked(SETTINGS) == SETTINGS


@pytest.mark.parametrize(
    ("key", "word", "meant"),
    [
        ("data", "null", None),
        ("threads", "null", None),
        ("photos_train", "true", True),
        ("photos_train", "no", False),
        ("seeds", ["0", "3"], [0, 3]),
        ("results", "~/out", str(Path.home() / "out")),
        ("results", ".", str(Path.cwd())),
        ("results", "./out/", "out"),
    ],
)
def test_words_of_a_command_line_are_what_they_stand_for(key, word, meant):
    assert checked({**SETTINGS, key: word})[key] == meant


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("sacle", "paper", "sacle is not a setting; did you mean scale"),
        ("batch", 3, "batch is not a setting; there are scale, data, "),
        ("scale", "huge", "scale: 'huge' is not one of"),
        ("seeds", ["0", "00"], r"seeds: \[0, 0\] has non-unique elements .as in --config seeds='\[0,1,2\]'"),
        ("seeds", [2**32], "seeds: 4294967296 is greater than the maximum of 4294967295"),
        ("seeds", 0, "seeds: 0 is not of type 'array', 'null' .as in"),
        ("photos_train", "maybe", "photos_train: 'maybe' is not of type 'boolean' .yes or no"),
        ("results", "~nobody-of-this-name/out", "results: ~nobody-of-this-name/out: nobody of that name"),
        ("results", "a{b}", "results: 'a{b}' does not match"),
    ],
)
def test_settings_that_cannot_be_used_are_named(key, value, message):
    with pytest.raises(ConfigError, match=message):
        checked({**SETTINGS, key: value})


@pytest.mark.parametrize(
    ("target", "setting", "message"),
    [
        ("table_VI", "sacle=paper", "sacle is not a setting"),
        ("table_VI", "scale=huge", "'huge' is not one of"),
        ("table_VI", "data=/no/such/folder", "/no/such/folder does not exist"),
    ],
)
def test_a_workflow_that_cannot_start_says_why_in_one_line(target, setting, message, tmp_path):
    done = snakemake(tmp_path, "-n", "-s", str(ABLATIONS.parent / "Snakefile"), target, "--config", setting)
    (error,) = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line or "Traceback" in line]
    assert done.returncode == 1 and error.startswith("error: ") and message in error


def test_a_function_of_a_rule_ends_in_one_line_too(tmp_path, capsys):
    """As the rules wrap it: Snakemake would print an error of such a function with its traceback."""
    plan = planning.make({**SETTINGS, "scale": "smoke", "results": str(tmp_path)}, ["table_VI"])
    search = Search(plan, put(tmp_path / "search.yaml", "from: ["))
    with pytest.raises(SystemExit) as stop:
        user_errors()(lambda wildcards: search.inputs)(None)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 1 and line.startswith(f"error: {tmp_path / 'search.yaml'} is not valid YAML")


@pytest.mark.parametrize("count", ["0", "-1"])
def test_a_plan_of_no_replicates_is_refused(count, capsys):
    with pytest.raises(SystemExit):
        main(["table_VI", "--replicates", count])
    assert f"expected a whole number of at least 1, got '{count}'" in capsys.readouterr().err
