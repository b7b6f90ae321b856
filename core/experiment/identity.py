"""What makes two trainings the same: the values that decide their result, by the dotted names of what they configure."""

from core import config
from core.moved import with_first_names

UNDECISIVE = frozenset(  # how a machine gets there: recorded with a run, no part of what the run is
    f"core.experiment.optim.Optimisation.{name}"
    for name in (
        "compile",
        "device_batch",
        "explosion",
        "most_skipped",
        "save_every",
        "validate_every",
        "workers",
    )
)


def training_identity(text: str, files: str) -> str:
    """One line per value that decides what is trained, data and seed aside.

    Import lines, macros' names, comments and order do not count, only what each argument is given in the end.

    Args:
        text: the gin text of everything that training reads, defaults included.
        files: digests of the architecture and weights files.
    """
    values = config.values_by_path(text)
    lines = sorted(with_first_names(f"{name} = {values[name]!r}") for name in values.keys() - UNDECISIVE)
    return "\n".join([*lines, files])
