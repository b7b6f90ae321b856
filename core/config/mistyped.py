"""Values of the parsed configuration, and the types that their parameters declare: one spelling of a value, no other type.

Without a check, DECOMPOSED = 'False' would train DoRA, as a text is true; and of BETAS = 1.5 Python would say that a float
cannot be iterated over, but not whose value that was.
"""

import functools
import inspect
import typing
from collections.abc import Iterator
from pathlib import Path

import gin

from core.errors import ConfigError


def refuse_mistyped(path: Path | str) -> None:
    """Raise ConfigError for the values that do not fit their parameters' annotations; `path` is for the message."""
    wrong = sorted(set(mistyped()))
    if wrong:
        raise ConfigError(f"{path}: {'; '.join(wrong)}")


def mistyped() -> Iterator[str]:
    """One sentence per value that does not fit its parameter's annotation: its name in gin, the value, what is expected."""
    for (scope, selector), values in gin.config._CONFIG.items():
        annotations = annotations_of(selector) if selector != "gin.macro" else {}
        for name in values.keys() & annotations.keys():
            key, carrier, called = value_place((scope, selector), name)
            value = gin.config._CONFIG[key][carrier]
            if not holds_references(value) and not fits(value, annotations[name]):
                parameter = parameter_name(selector, name)
                where = f" ({parameter})" if called != parameter else ""
                yield f"{called} = {value!r}{where}: expected {described(annotations[name])}"


def spell_alike() -> None:
    """Give equal values one spelling, which runs are named after: a list becomes a tuple, and 1 becomes 1.0 for a float.

    A macro that brings a whole number to several parameters stays one if any of them asks for a whole number.
    """
    bound = gin.config._CONFIG
    asked: dict[tuple, list] = {}  # by the place of a value, the annotations of the parameters that it goes to
    for (scope, selector), values in bound.items():
        annotations = annotations_of(selector) if selector != "gin.macro" else {}
        for name in values.keys() & annotations.keys():
            key, carrier, _ = value_place((scope, selector), name)
            asked.setdefault((key, carrier), []).append(annotations[name])
    for (key, carrier), annotations in asked.items():
        value = bound[key][carrier]
        if type(value) is list and all(accepts(annotation)(tuple(value)) for annotation in annotations):
            bound[key][carrier] = tuple(value)
        if type(value) is int and all(annotation in (float, float | None) for annotation in annotations):
            bound[key][carrier] = float(value)


def parameter_name(selector: str, name: str) -> str:
    """A parameter as gin files write it, like "CLIP4STR.charset"."""
    return f"{selector.rpartition('.')[2]}.{name}"


def value_place(key: tuple[str, str], name: str) -> tuple[tuple[str, str], str, str]:
    """Where the parsed configuration has a parameter's value, and what it is called there: by the macro that brings it, if any.

    Args:
        key: scope and selector of the parameter, as gin keeps them.
        name: the parameter.

    Returns:
        scope and selector of the value, its name there, and its name in gin files. A macro that is not set is its own value.
    """
    bound, called = gin.config._CONFIG, parameter_name(key[1], name)
    while repr(bound[key][name]).startswith("%") and (macro := (repr(bound[key][name])[1:], "gin.macro")) in bound:
        key, name, called = macro, "value", macro[0]  # a macro may name a macro
    return key, name, called


def holds_references(value: object) -> bool:
    """Whether a value is a reference, or has some in it: they are made into what they name later."""
    if isinstance(value, dict):
        return any(map(holds_references, [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return any(map(holds_references, value))
    return isinstance(value, gin.config.ConfigurableReference)


def annotations_of(selector: str) -> dict[str, object]:
    """The annotations of what a selector names; none where they name what cannot be found."""
    made = gin.config._REGISTRY[selector].wrapped
    try:
        return typing.get_type_hints(made.__init__ if inspect.isclass(made) else made)
    except NameError:
        return {}


def fits(value: object, annotation: object) -> bool:
    """Whether a value is of an annotated type; a list does for a tuple and a tuple for a list."""
    accepted = accepts(annotation)
    return accepted(value) or isinstance(value, list | tuple) and (accepted(tuple(value)) or accepted([*value]))


@functools.cache
def accepts(annotation: object) -> typing.Callable[[object], bool]:
    """Whether a value is exactly of an annotated type; whole numbers do for a float."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError  # here: it takes a tenth of a second

    try:
        validate = TypeAdapter(annotation, config=ConfigDict(strict=True, arbitrary_types_allowed=True)).validate_python
    except PydanticUserError:  # a dataclass does not take this configuration
        return lambda value: not inspect.isclass(annotation) or isinstance(value, annotation)

    def accepted(value: object) -> bool:
        try:
            validate(value)
        except (TypeError, ValidationError):  # TypeError: a protocol that isinstance() does not take, and no literal follows it
            return False
        return True

    return accepted


def described(annotation: object) -> str:
    """An annotation in the words of a gin file."""
    if inspect.isclass(annotation) and annotation.__module__ != "builtins" and not typing.get_args(annotation):
        return f"a reference (@...) to a {annotation.__qualname__}"
    return annotation.__name__ if annotation in (int, float, str, bool) else str(annotation)
