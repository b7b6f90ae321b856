"""The shipped profile and the rules agree; needs no Slurm."""

import re
import tomllib

import yaml

from core.files import ROOT

PROFILE = "ablations/profiles/slurm/config.yaml"


def test_rules_and_groups_of_the_profile_are_the_workflows():
    profile = yaml.safe_load((ROOT / PROFILE).read_text())
    text = "\n".join(path.read_text() for path in sorted(ROOT.glob("ablations/rules/*.smk")))
    rules = re.findall(r"^rule (\w+):", text, re.MULTILINE)
    groups = re.findall(r'^ +group:\n +"(\w+)"', text, re.MULTILINE)
    assert set(profile["set-resources"]) <= set(rules)
    assert set(profile["group-components"]) == set(groups)
    trains = re.findall(r"^rule (\w+):(?:(?!^rule ).)*?core\.(?:train|pretrain)\b", text, re.MULTILINE | re.DOTALL)
    assert {"train", "trial", "towers"} <= set(trains) and {"train", "trial", "towers"} == set(profile["set-resources"])
    assert len({str(resources) for resources in profile["set-resources"].values()}) == 1  # all are stopped in time to save


def test_the_plugin_is_pinned():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(re.fullmatch(r"snakemake-executor-plugin-slurm==[\d.]+", line) for line in extras["slurm"])
