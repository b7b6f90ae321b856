"""model.json is untrusted: its gin text may reference only this project's classes.

gin calls whatever a file imports. A row's gin file is the user's own program, but model.json is data: it may hold only what
`core.weights.checkpoint.save_model` writes, that is, classes of the model and of its training by their own names.
"""

import importlib
import inspect
from collections.abc import Iterable

REGISTRATION = "__gin__.dynamic_registration"
PACKAGES = ("core.model", "adapters")
MODULES = ("core.experiment.experiment", "core.experiment.optim", "core.experiment.protocol", "core.data.augment")
FUNCTIONS = "core.model.memory"  # which a model is given uncalled


def check_allowlist(imports: Iterable[tuple[str, str]], names: Iterable[str]) -> str | None:
    """The first import or name in a gin text that is not allowed; None where all are.

    Args:
        imports: modules in full, and the name each is given (empty where it is the package's).
        names: everything configured or referred to, as `<name of the module>.<name in it>`.
    """
    known: dict[str, str] = {}
    for module, bound in imports:
        if module == REGISTRATION:
            continue
        known_module = module in MODULES or module.startswith(tuple(f"{package}." for package in PACKAGES))
        if not bound or known.setdefault(bound, module) != module or not known_module:
            return f"import {module}"
    for name in names:
        bound, _, inner = name.rpartition("/")[2].partition(".")
        if bound not in known or not is_allowed(known[bound], inner):
            return name
    return None


def is_allowed(module: str, name: str) -> bool:
    """Whether `name` is a class that this module defines (or one of the functions that pick tokens)."""
    member = getattr(importlib.import_module(module), name, None) if "." not in name else None
    allowed = inspect.isclass(member) or (inspect.isfunction(member) and module == FUNCTIONS)
    return allowed and member.__module__ == module
