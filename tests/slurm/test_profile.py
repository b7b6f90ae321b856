"""The shipped profile and the Snakefile agree; needs no Slurm."""

import re
import tomllib

import yaml

from core.files import ROOT

PROFILE = "ablations/profiles/slurm/config.yaml"


def test_rules_and_groups_of_the_profile_are_the_snakefiles():
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    snakefile = (ROOT / "Snakefile").read_text()
    rules = re.findall(r"^rule (\w+):", snakefile, re.MULTILINE)
    groups = re.findall(r'^ +group:\n +"(\w+)"', snakefile, re.MULTILINE)
    assert set(profile["set-resources"]) <= set(rules)
    assert set(profile["group-components"]) == set(groups)


def test_the_plugin_is_pinned():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(re.fullmatch(r"snakemake-executor-plugin-slurm==[\d.]+", line) for line in extras["slurm"])
