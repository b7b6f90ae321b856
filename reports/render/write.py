"""Files of tables and documents: every format of one thing, written whole or not at all."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from core.files import atomic_file
from reports.render import FORMATS
from reports.table import Table


def write_texts(stem: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write <stem>.<suffix> for each suffix; returns the paths."""
    paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        with atomic_file(path) as partial:
            partial.write_text(text)
    return paths


def rendered(table: Table) -> dict[str, str]:
    """A table in every format, by suffix."""
    texts = {}
    for suffix, place in FORMATS.items():
        module, function = place.split(".")
        texts[suffix] = getattr(import_module(f"reports.render.{module}"), function)(table)
    return texts
