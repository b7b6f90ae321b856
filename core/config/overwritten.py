"""A value that a gin file sets and that the file or one of its includes sets to something else below it is an error."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from gin import config_parser

from core.choices import SCALES
from core.config.gin_files import find_include, scales_read, sections_of, text_at
from core.config.gin_text import Paths
from core.errors import ConfigError
from core.files import ABLATIONS

BASE = ABLATIONS / "base.gin"  # with what it includes, defaults that rows start from


class Setting(NamedTuple):
    """A line of a gin file that gives a name a value.

    Args:
        default: whether BASE sets it, or a file that BASE includes.
    """

    name: str  # as written
    value: str
    file: Path
    line: int
    section: tuple[str, ...]
    default: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def refuse_overwritten(path: Path, scale: str) -> None:
    """Raise ConfigError if a value of a gin file does not survive: the file itself, or an include below it, sets another one.

    Two values are meant to be replaced: what BASE sets before it includes the scale's file, and at smoke scale what stands
    below [micro]. Nothing may be set before BASE, in whatever file, since BASE sets nearly everything.
    """
    last_settings(path, scale)


def last_settings(path: Path, scale: str, default: bool = False) -> dict[str, Setting]:
    """The last setting of every name in a gin file and its includes, by full dotted name.

    Args:
        default: whether BASE includes the file.

    Raises:
        ConfigError: see `refuse_overwritten`.
    """
    default = default or path.resolve() == BASE
    names, sections = Paths({}), [section for section, _ in sections_of(path)]
    last: dict[str, Setting] = {}
    for statement in config_parser.ConfigParser(text_at(path, scale), names):
        line, section = statement.location.line_num, sections[statement.location.line_num - 1]
        if isinstance(statement, config_parser.ImportStatement):
            names.learn(statement)
        elif isinstance(statement, config_parser.IncludeStatement):
            included = last_settings(find_include(statement.filename, scale), scale, default)
            if not (default and "{scale}" in statement.filename):
                for key in last.keys() & included.keys():
                    refuse_second(last[key], included[key], path, section, f"put include {statement.filename!r} above it")
            last |= included
        elif isinstance(statement, config_parser.BindingStatement):
            written = "/".join(filter(None, (statement.scope, statement.selector)))
            key = "/".join(filter(None, (statement.scope, names.path(statement.selector)))) if statement.arg_name else written
            key, written = (".".join(filter(None, (name, statement.arg_name))) for name in (key, written))
            new = Setting(written, repr(statement.value), path, line, section, default)
            if key in last:
                apart = section and not last[key].section
                refuse_second(last[key], new, path, section, move(section) if apart else "keep one of them")
            last[key] = new
    return last


def move(section: Collection[str]) -> str:
    """Where a value belongs that a section replaces: below the scales that do not read the section."""
    others = [name for name in SCALES if not {*scales_read(name)} & {*section} and name != "smoke"]
    return f"move the first below {' and '.join(f'[{name}]' for name in others)}"


def refuse_second(first: Setting, second: Setting, path: Path, section: tuple[str, ...], fix: str) -> None:
    """Raise ConfigError if `second` replaces a value that `path` itself sets, or if a default replaces what is not one.

    Args:
        section: of the line of `path` that sets or includes the second.
        fix: what to do.
    """
    protected = first.file == path or (second.default and not first.default)
    smaller = "micro" in first.section and section == ("smoke",)
    if protected and not smaller and first.value != second.value:
        raise ConfigError(
            f"{first}: {first.name} = {first.value} has no effect, as {second} sets {second.name} = {second.value} after it; "
            f"{fix}"
        )
