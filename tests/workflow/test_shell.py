"""No shell reads a name that a user chose: every path in a rule's command is quoted, every process of ours gets a list."""

import ast
import re
import shlex
from pathlib import Path

import pytest
from snakemake.iocontainers import Namedlist
from snakemake.utils import format as snakemake_format

from tests.support.checkout import ROOT

FOLDERS = ("core", "adapters", "reports", "ablations")
SHELL = re.compile(r"^( +)shell:\n((?:\1 +.*\n)+)", re.MULTILINE)
QUOTED = re.compile(
    r"^(threads|resources.attempt|LEASE|TOGETHER|ROOT|TESTED|(input|output|log|params|wildcards)[\w.]*(\[\d+\])?:q)$"
)
UNSAFE = {
    "eval",
    "exec",
    "os.popen",
    "os.system",
    "pickle.load",
    "pickle.loads",
    "subprocess.getoutput",
    "torch.jit.load",
    "yaml.load",
}


def commands() -> list[str]:
    """What stands below `shell:` in the rules."""
    files = [ROOT / "Snakefile", *sorted(ROOT.glob("ablations/rules/*.smk"))]
    return [block for path in files for _, block in SHELL.findall(path.read_text())]


def test_every_name_in_a_rules_command_is_quoted():
    assert len(commands()) > 10
    for block in commands():
        bare = [field for field in re.findall(r"(?<!\{)\{([^{}]+)\}(?!\})", block) if not QUOTED.match(field)]
        assert not bare, f"{block}: write {{{bare[0]}:q}}"


@pytest.mark.parametrize("source", sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")), ids=str)
def test_no_module_runs_text_or_unpickles(source):
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call):
            name, named = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert name not in UNSAFE, f"{source}:{node.lineno}: {name}"
            assert "shell" not in named and named.get("allow_pickle", "False") == "False", f"{source}:{node.lineno}"
            assert name != "torch.load" or named.get("weights_only") == "True", f"{source}:{node.lineno}: weights_only"


def test_a_quoted_path_stays_one_word():
    paths = [Path("a b; touch pwned"), Path("$(touch pwned)"), Path('it\'s `touch pwned` & "so"')]
    formatted = snakemake_format("{inputs:q} {one:q}", inputs=Namedlist(toclone=paths), one=paths[0])
    assert shlex.split(formatted) == [str(path) for path in (*paths, paths[0])]
