"""The settings of a workflow: ablations/workflow.yaml with what `--config` replaces, checked against workflow.schema.yaml."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from core.errors import ConfigError
from core.files import ABLATIONS

WORKFLOW_FILE = "ablations/workflow.yaml"
SCHEMA = yaml.safe_load((ABLATIONS / "workflow.schema.yaml").read_text())
PEERS = tuple(SCHEMA["properties"]["peers"]["items"]["enum"])  # those of core.peers, which needs torch to say so
SWITCH = {"yes": True, "true": True, "no": False, "false": False}
FOLDERS = ("data", "photos", "results")


def checked(settings: Mapping) -> dict:
    """The settings as they are meant: Snakemake gives `null`, `yes` and the items of a list of the command line as words.

    Raises:
        ConfigError: a key is unknown or missing, or its value is not allowed; naming the key, the value and what is allowed.
    """
    meant = {key: as_meant(key, value) for key, value in settings.items()}
    for key in meant.keys() - SCHEMA["properties"].keys():
        near = get_close_matches(key, SCHEMA["properties"], 1)
        fix = f"did you mean {near[0]}?" if near else f"there are {', '.join(SCHEMA['properties'])}"
        raise ConfigError(f"{WORKFLOW_FILE}, --config: {key} is not a setting; {fix}")
    if error := best_match(Draft202012Validator(SCHEMA).iter_errors(meant)):
        key = next(iter(error.absolute_path), None)
        about = SCHEMA["properties"].get(key, {}).get("description")
        raise ConfigError(
            f"{WORKFLOW_FILE}, --config: {f'{key}: ' if key else ''}{error.message}{f' ({about})' if about else ''}"
        )
    return meant


def as_meant(key: str, value: object) -> object:
    """A setting's value; one that is not understood stays, for the schema to refuse."""
    if value == "null" and key != "results":
        return None
    if key == "photos_train" and isinstance(value, str):
        return SWITCH.get(value.lower(), value)
    if key == "seeds" and isinstance(value, list):
        return [int(seed) if isinstance(seed, str) and seed.isdecimal() else seed for seed in value]
    if key in FOLDERS and isinstance(value, str):
        folder = home_filled(key, value)
        return str(Path.cwd() if key == "results" and folder == Path() else folder)  # Snakemake knows no file as ./runs/...
    return value


def home_filled(key: str, value: str) -> Path:
    """A folder with ~ replaced, which zsh does not do within `results=~/out`."""
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        raise ConfigError(
            f"{WORKFLOW_FILE}, --config: {key}: {value}: nobody of that name has a home here; give a path"
        ) from error
