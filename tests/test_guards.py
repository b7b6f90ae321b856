"""Conventions of the house, held by tests."""

import ast
import importlib
import itertools
import re
import tomllib
from graphlib import TopologicalSorter

import pytest
import yaml

from core.files import ROOT

PACKAGES = ("core", "adapters", "ablations", "reports")
LONGEST_FUNCTION = 60  # lines, docstring included
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_are_ours(package):
    module = importlib.import_module(package)
    assert list(module.__path__)[0] == str(ROOT / package)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_down(path):
    inside = path.relative_to(ROOT).as_posix()
    tops = {name.split(".")[0] for name in imported(path)}
    if inside.startswith("core/"):
        assert not tops & {"adapters", "reports", "ablations"}
    if inside.startswith(("adapters/", "reports/")):
        assert not tops & {"ablations"}
    assert "gin" not in tops or inside.startswith("core/config/")
    assert path.name != "utils.py"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_functions_are_read_at_one_sight(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    lengths = {function.name: function.end_lineno - function.lineno + 1 for function in functions}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION}


def dotted(path):
    """The name under which a file is imported."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def test_nothing_in_ablations_imports_what_imports_it():
    graph = {dotted(path): set(imported(path)) for path in SOURCES if path.is_relative_to(ROOT / "ablations")}
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_keyword_swallows_misspelt_names(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert not [function.name for function in functions if function.args.kwarg]


def test_every_package_is_listed():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    found = {path.parent.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")}
    assert {name.replace(".", "/") for name in listed} == found


def test_every_row_opens_with_its_question_and_cost():
    for row in sorted((ROOT / "ablations").glob("table_*/*.gin")):
        first, second, *rest = row.read_text().splitlines()
        head = [second, *itertools.takewhile(lambda line: line.startswith("# "), rest)]
        assert first.startswith("# ") and second.startswith("# Paper") and any("Cost:" in line for line in head), row


def test_the_readme_names_what_exists():
    text = (ROOT / "README.md").read_text()
    for module in re.findall(r"python -m ((?:core|reports|ablations)[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module
    for path in re.findall(r"`((?:core|ablations|adapters|reports|tests)/[\w/.-]*)`", text):
        assert (ROOT / path).exists(), path
    for target in re.findall(r"^make (\w+)", text, re.MULTILINE):
        makefile = (ROOT / "Makefile").read_text()
        assert re.search(rf"^{target}:", makefile, re.MULTILINE) or target.startswith("table_"), target


def test_the_conda_environment_pins_what_the_requirements_pin():
    pinned = set((ROOT / "requirements.txt").read_text().split("\n"))
    environment = yaml.safe_load((ROOT / "ablations" / "environment.yaml").read_text())
    packages = environment["dependencies"][-1]["pip"]
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert len(packages) == len(direct) and set(packages) <= pinned
