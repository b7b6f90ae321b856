"""gin, and nothing else in the repository touches it: parse files, build objects, refuse what nothing read.

Library code knows no gin. Files bind constructor arguments by their Python names; `include` paths count from the
repository root, and `{scale}` in one stands for the scale in use (paper, micro, smoke). Lines below `[paper]` or another
scale in brackets count at that scale alone, lines above the first such line at every scale; smoke shrinks micro, so it reads
what is below `[micro]` too.
"""

import hashlib
import importlib
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import gin
from gin import config_parser

from core.choices import SCALES
from core.errors import ConfigError
from core.files import ROOT
from core.moved import with_new_names
from core.weights.allowlist import check_allowlist

Built = TypeVar("Built")
SECTION = re.compile(r"\[(\w+)\]\s*(?:#.*)?$")


def parse(path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> None:
    """Forget any earlier configuration and read `path`, then single bindings like "TRAIN_STEPS = 10".

    Raises:
        ConfigError: the file does not exist or does not parse, a required value is missing, or the scale is unknown.
    """
    if scale not in SCALES:
        raise ConfigError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    path = Path(path)
    if not path.is_file() and not (ROOT / path).is_file():
        raise ConfigError(f"{path}: no such gin file")
    gin.clear_config()
    resolve_includes(scale)
    try:
        gin.parse_config_files_and_bindings([str(path)], list(bindings), finalize_config=False)
    except (SyntaxError, NameError, AttributeError, ImportError, ValueError, OSError) as error:
        raise ConfigError(f"{path}: {first_line(error)}") from error
    for (scope, selector), bound in gin.config._CONFIG.items():
        for name, value in bound.items():
            if value is gin.REQUIRED or repr(value) == "%gin.REQUIRED":
                key = scope if selector == "gin.macro" else f"{selector}.{name}"
                raise ConfigError(f"{path}: {key} is required here and has no value; add a line like `{key} = ...`")


def scales_read(scale: str) -> tuple[str, ...]:
    """The scales whose lines and files count, later ones last: smoke shrinks what micro says."""
    return ("micro", "smoke") if scale == "smoke" else (scale,)


def find_include(name: str, scale: str) -> Path | None:
    """The file that gin reads for a name: as it stands or counted from the repository root, {scale} filled in."""
    filled = [name, *(name.replace("{scale}", read) for read in reversed(scales_read(scale)))]
    return next((prefix / path for prefix in (Path(), ROOT) for path in filled if (prefix / path).is_file()), None)


def text_at(path: Path, scale: str) -> str:
    """A gin file's text at a scale: lines of other scales are empty, so that line numbers in messages stay.

    Raises:
        ConfigError: a line in brackets names no scale.
    """
    section, lines = "", []
    for line in path.read_text().splitlines(keepends=True):
        if header := SECTION.match(line):
            section = header[1]
            if section not in SCALES:
                raise ConfigError(f"{path}: [{section}]: expected one of {', '.join(f'[{name}]' for name in SCALES)}")
        lines.append(line if not header and section in ("", *scales_read(scale)) else "\n")
    return "".join(lines)


def resolve_includes(scale: str) -> None:
    """Let gin read files as `find_include` and `text_at` do."""
    gin.config._LOCATION_PREFIXES[:] = [""]
    gin.config._FILE_READERS[:] = [
        (
            lambda name: io.StringIO(text_at(find_include(name, scale), scale)),
            lambda name: find_include(name, scale) is not None,
        )
    ]


def construct(cls: type[Built], path: Path | str) -> Built:
    """An instance of `cls` from the parsed configuration; `path` is for the message.

    Raises:
        ConfigError: an argument has no value, or its class refuses it.
    """
    return construct_with(gin.get_configurable(importable(cls)), path)


def importable(cls: type[Built]) -> type[Built]:
    """The class as gin files import it, when its module is the one being run (`python -m`)."""
    if cls.__module__ != "__main__":
        return cls
    return getattr(importlib.import_module(sys.modules["__main__"].__spec__.name), cls.__qualname__)


def construct_with(make: Callable[[], Built], path: Path | str) -> Built:
    """`make()`, its errors told as ConfigError."""
    try:
        return make()
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """gin's error as a sentence: what is wrong, and which class was being built."""
    text = str(error)
    unset = re.search(r"(\w+)\(\) missing \d+ required \S+ arguments?: ([^\n]+)", text)
    if unset:
        return f"{unset[1].removesuffix('.__init__')} needs a value for {unset[2]}"
    return first_line(error)


def first_line(error: Exception) -> str:
    """An exception's message up to gin's trace of configurables."""
    text = str(error).strip()
    return " ".join(re.split(r"\n\s+In call to|\n\n", text)[0].split())


def refuse_unread(path: Path | str, bindings: Sequence[str] = ()) -> None:
    """Fail on every binding and macro that building the objects did not read (a misspelt name, mostly).

    What an included file binds may go unread where the row has put another class in the place of the one it is for
    (an image tower instead of both, say); what the row itself or the command line binds may not.

    Raises:
        ConfigError: naming them all.
    """
    read = gin.config._OPERATIVE_CONFIG
    built = {selector for _, selector in read}
    own = own_names(path, bindings)
    replaced_macros, unread, unread_macros = set(), [], []
    for (scope, selector), bound in gin.config._CONFIG.items():
        used = [values for (s, sel), values in read.items() if sel == selector and (s == scope or s.endswith("/" + scope))]
        if not scope:
            used = [values for (_, sel), values in read.items() if sel == selector]
        for name, value in bound.items():
            if any(name in values for values in used):
                continue
            key = f"{scope + '/' if scope else ''}{selector}.{name}"
            if selector == "gin.macro":
                unread_macros.append(scope)
            elif selector in built or any(key == mine or key.endswith("." + mine) for mine in own):
                unread.append(key)
            else:
                replaced_macros.add(repr(value))
    unread += [name for name in unread_macros if name in own or f"%{name}" not in replaced_macros]
    if unread:
        known = sorted(scope for scope, selector in read if selector == "gin.macro")
        raise ConfigError(
            f"{path}: nothing reads {', '.join(sorted(unread))}. Check the spelling; macros in use: {', '.join(known)}"
        )


def own_names(path: Path | str, bindings: Sequence[str]) -> set[str]:
    """What a gin file itself binds, and the command line: macros and parameters as they are written there."""
    path = Path(path)
    text = (path if path.is_file() else ROOT / path).read_text()
    return set(re.findall(r"^\s*([\w./]+)\s*=", "\n".join([text, *bindings]), re.MULTILINE))


def build(cls: type[Built], path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> Built:
    """Parse, construct one object, refuse what it did not read."""
    parse(path, scale, bindings)
    built = construct(cls, path)
    refuse_unread(path, bindings)
    return built


def maker_from_text(cls: type[Built], text: str, source: Path) -> Callable[..., Built]:
    """What makes instances of `cls` from gin text kept in a file (`source`, for messages): how a saved model is rebuilt."""
    gin.clear_config()
    text = with_new_names(text)
    try:
        refuse_foreign(text, source)
        gin.parse_config(text)
    except ConfigError:
        raise
    except (SyntaxError, NameError, AttributeError, ImportError, ValueError) as error:
        raise ConfigError(f"{source}: {first_line(error)}") from error
    return gin.get_configurable(importable(cls))


def operative() -> str:
    """Everything read so far, defaults included, as a gin file that parses back."""
    return gin.operative_config_str(max_line_length=120)


class Names(config_parser.ParserDelegate):
    """Reads gin text without importing what it names: references stay words, macros become the values known so far."""

    def __init__(self, macros: dict[str, object]):
        self.macros = macros
        self.references: list[str] = []

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        self.references.append(scoped_configurable_name)
        return f"@{scoped_configurable_name}{'()' * evaluate}"

    def macro(self, macro_name: str) -> object:
        return self.macros.get(macro_name, f"%{macro_name}")


class Paths(Names):
    """As `Names`, with references by the paths of the modules that the text imported so far."""

    def __init__(self, macros: dict[str, object]):
        super().__init__(macros)
        self.modules: dict[str, str] = {}

    def path(self, selector: str) -> str:
        """The full dotted name of something imported."""
        bound, _, inner = selector.partition(".")
        return f"{self.modules.get(bound, bound)}.{inner}" if inner else selector

    def configurable_reference(self, scoped_configurable_name: str, evaluate: bool) -> str:
        scope, _, selector = scoped_configurable_name.rpartition("/")
        return super().configurable_reference("/".join(filter(None, (scope, self.path(selector)))), evaluate)


def bindings_of(text: str) -> dict[str, object]:
    """What gin text binds, by the names it uses; imports nothing and leaves the parsed configuration alone.

    Raises:
        SyntaxError: it is not valid gin text.
    """
    found: dict[str, object] = {}
    for statement in config_parser.ConfigParser(text, Names(found)):
        if isinstance(statement, config_parser.BindingStatement):
            scoped = "/".join(filter(None, (statement.scope, statement.selector)))
            found[".".join(filter(None, (scoped, statement.arg_name)))] = statement.value
    return found


def values_by_path(text: str) -> dict[str, object]:
    """What gin text gives to whom: values by full dotted names (`core.experiment.optim.Optimisation.eps`), macros filled in.

    References are written `@core.model.decoder.Decoder`, with the path in place of what the text imported it as.

    Raises:
        SyntaxError: it is not valid gin text.
    """
    macros: dict[str, object] = {}
    found: dict[str, object] = {}
    names = Paths(macros)
    for statement in config_parser.ConfigParser(text, names):
        if isinstance(statement, config_parser.ImportStatement):
            names.modules[statement.bound_name()] = statement.module
        elif isinstance(statement, config_parser.BindingStatement):
            if statement.arg_name:
                scope = "" if statement.scope in macros else statement.scope  # gin writes what a macro refers to so
                scoped = "/".join(filter(None, (scope, names.path(statement.selector))))
                found[f"{scoped}.{statement.arg_name}"] = statement.value
            else:
                macros["/".join(filter(None, (statement.scope, statement.selector)))] = statement.value
    return found


def refuse_foreign(text: str, source: Path) -> None:
    """Fail on gin text that came with a file and names anything but our own classes (gin would call it).

    Raises:
        ConfigError: naming the file and what it asks for.
    """
    names, imports, selectors, bad = Names({}), [], [], None
    for statement in config_parser.ConfigParser(text, names):
        if isinstance(statement, config_parser.ImportStatement):
            imports.append((statement.module, statement.bound_name() if statement.is_from or statement.alias else ""))
        elif isinstance(statement, config_parser.IncludeStatement):
            bad = f"include {statement.filename!r}"
        elif isinstance(statement, config_parser.BlockDeclaration) or statement.arg_name:
            selectors.append(statement.selector)
    bad = bad or check_allowlist(imports, [*selectors, *names.references])
    if bad:
        raise ConfigError(f"{source} is refused: its gin text says `{bad}`; a model needs our own classes only")


def values_of(text: str) -> str:
    """A gin text without comments and blank lines: what decides whether two configurations are the same."""
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))


def digest(text: str) -> str:
    """Eight hex digits of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def macro(name: str) -> object:
    """The value of a macro of the parsed configuration."""
    return gin.query_parameter(f"{name}/gin.macro.value")
