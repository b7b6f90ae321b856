"""The only package that imports gin: parses gin files, builds objects from them, and raises an error for unused bindings.

gin files bind constructor arguments by their Python names. Scales and sections are not plain gin (`core.config.gin_files`),
nor are the errors for values that are overwritten (`core.config.overwritten`) or of another type (`core.config.mistyped`).
"""

import contextlib
import importlib
import io
import re
import sys
import tokenize
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import gin

from core.choices import SCALES
from core.config.gin_files import find_include, refuse_circle, text_at, titled
from core.config.gin_text import UNREADABLE, gin_message, problem_of, refuse_foreign
from core.config.mistyped import parameter_name, refuse_mistyped, value_place
from core.config.overwritten import refuse_overwritten
from core.config.unread import refuse_unread
from core.errors import ConfigError, UserError
from core.files import from_command_line
from core.moved import with_new_names

Built = TypeVar("Built")


def parse(path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> None:
    """Forget any earlier configuration and read `path`, then single bindings like "TRAIN_STEPS = 10".

    Raises:
        ConfigError: the file does not exist or does not parse, a required value is missing, a value of a file is set again
            below it, or the scale is unknown.
    """
    if scale not in SCALES:
        raise ConfigError(f"scale {scale!r}: expected one of {', '.join(SCALES)}")
    path, file = Path(path), from_command_line(path).absolute()
    if not file.is_file():
        raise ConfigError(f"{path}: no such gin file")
    refuse_circle(file, scale)
    gin.clear_config()
    resolve_includes(scale)
    try:
        gin.parse_config_files_and_bindings([str(file)], list(bindings), finalize_config=False)
    except (*UNREADABLE, OSError) as error:
        raise ConfigError(f"{titled(path, bindings)}: {problem_of(error)}") from error
    refuse_overwritten(file, scale)
    for (scope, selector), bound in gin.config._CONFIG.items():
        for name, value in bound.items():
            if value is gin.REQUIRED or repr(value) == "%gin.REQUIRED":
                key = scope if selector == "gin.macro" else f"{selector}.{name}"
                raise ConfigError(f"{path}: {key} is required here and has no value; add a line like `{key} = ...`")


def replace_values(arguments: Collection[str], replace: Callable[[str, object], object]) -> None:
    """Replace values of the parsed configuration before anything is built; where a macro carries one, the macro's.

    Args:
        arguments: like "CLIP4STR.charset".
        replace: from the name that has the value, a macro's or the argument's, and the value, to the new value.
    """
    bound = gin.config._CONFIG
    places = [(key, name) for key, values in bound.items() for name in values if parameter_name(key[1], name) in arguments]
    for place in places:
        key, name, called = value_place(*place)
        if not repr(bound[key][name]).startswith("%"):  # a macro that is not set: gin says so when it is used
            bound[key][name] = replace(called, bound[key][name])


def resolve_includes(scale: str) -> None:
    """Let gin read files as `find_include` and `text_at` do."""
    gin.config._LOCATION_PREFIXES[:] = [""]
    gin.config._FILE_READERS[:] = [
        (
            lambda name: io.StringIO(closed(find_include(name, scale), scale)),
            lambda name: find_include(name, scale) is not None,
        )
    ]


def closed(path: Path, scale: str) -> str:
    """`text_at`, refused where it ends within a bracket or a string: gin would not say in which file.

    Raises:
        ConfigError: naming the file.
    """
    text = text_at(path, scale)
    try:
        for _ in tokenize.generate_tokens(io.StringIO(text).readline):
            pass
    except tokenize.TokenError as error:
        raise ConfigError(f"{path}: {problem_of(error)}") from error
    except SyntaxError:  # gin says where
        pass
    return text


PARSED = (gin.config._CONFIG, gin.config._IMPORTS, gin.config._SINGLETONS)  # what gin keeps of what it has parsed


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Put what is parsed so far aside: whatever is parsed inside is forgotten afterwards, and the first is there again."""
    stores = (*PARSED, gin.config._OPERATIVE_CONFIG)
    before = [store.copy() for store in stores]
    try:
        yield
    finally:
        gin.clear_config()
        for store, content in zip(stores, before, strict=True):
            store.update(content)


@contextlib.contextmanager
def restored(content: Sequence[dict]) -> Iterator[None]:
    """The configuration that `kept` copied, in place of what is parsed now."""
    with set_aside():
        gin.clear_config()
        for store, own in zip(PARSED, content, strict=True):
            store.update(own)
        yield


def kept(make: Callable[..., Built]) -> Callable[..., Built]:
    """`make`, a reference of the parsed configuration, so that it reads this configuration whatever is parsed after it."""
    return restored([store.copy() for store in PARSED])(make)


def construct(cls: type[Built], path: Path | str) -> Built:
    """An instance of `cls` from the parsed configuration; `path` is for the message.

    Raises:
        ConfigError: an argument has no value, its class refuses it, or the configuration does not mention the class.
    """
    if not any(selector.rpartition(".")[2] == cls.__name__ for _, selector in gin.config._CONFIG):
        raise ConfigError(f"{path}: nothing here sets up {cls.__name__}; an include is missing (in rows 'ablations/base.gin')")
    return construct_with(gin.get_configurable(importable(cls)), path)


def importable(cls: type[Built]) -> type[Built]:
    """The class as gin files import it, when its module is the one being run (`python -m`)."""
    if cls.__module__ != "__main__":
        return cls
    return getattr(importlib.import_module(sys.modules["__main__"].__spec__.name), cls.__qualname__)


def construct_with(make: Callable[[], Built], path: Path | str) -> Built:
    """`make()`, with its errors raised as ConfigError."""
    try:
        return make()
    except (AttributeError, RuntimeError, TypeError, ValueError) as error:
        if not isinstance(error, UserError):  # the words of Python or of a library, which do not say whose value was wrong
            refuse_mistyped(path)
        raise ConfigError(f"{path}: {explain(error)}") from error


def explain(error: Exception) -> str:
    """gin's error as one sentence: the problem and the class that was being built."""
    text = str(error)
    unset = re.search(r"(\w+)\(\) missing \d+ required \S+ arguments?: ([^\n]+)", text)
    if unset:
        return f"{unset[1].removesuffix('.__init__')} needs a value for {unset[2]}"
    return gin_message(error)


def build(cls: type[Built], path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> Built:
    """Parse, construct one object, raise ConfigError for unused bindings."""
    parse(path, scale, bindings)
    built = construct(cls, titled(path, bindings))
    refuse_unread(path, bindings)
    refuse_mistyped(titled(path, bindings))
    return built


def maker_from_text(cls: type[Built], text: str, source: Path) -> Callable[..., Built]:
    """A factory of `cls` from the gin text of a saved model; `source` is the file that it came from, for messages."""
    gin.clear_config()
    text = with_new_names(text)
    try:
        refuse_foreign(text, source)
        gin.parse_config(text)
    except ConfigError:
        raise
    except UNREADABLE as error:
        raise ConfigError(f"{source}: {problem_of(error)}") from error
    return gin.get_configurable(importable(cls))


def operative() -> str:
    """Everything read so far, defaults included, as a gin file that parses back."""
    return gin.operative_config_str(max_line_length=120)


def macro(name: str) -> object:
    """The value of a macro of the parsed configuration."""
    return gin.query_parameter(f"{name}/gin.macro.value")
