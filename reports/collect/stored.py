"""Reads the files that runs wrote; a damaged one raises ReportError with its name and what to do about it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import ReportError, UserError

AGAIN = "delete it and run the command again"
DAMAGE = (ValueError, KeyError, TypeError, AttributeError, IndexError)  # of JSON, parquet, CSV, or of keys that are not there


@contextlib.contextmanager
def damaged(path: Path, fix: str = AGAIN) -> Iterator[None]:
    """A context for reading `path` and picking values from it: whatever a damaged file raises becomes a ReportError."""
    try:
        yield
    except UserError:
        raise
    except KeyError as error:
        raise ReportError(f"{path}: key {error} is missing; {fix}") from error
    except DAMAGE as error:
        raise ReportError(f"{path} cannot be read ({' '.join(str(error).split())}); {fix}") from error


def read_json(path: Path, fix: str = AGAIN) -> dict[str, Any]:
    """A JSON object."""
    with damaged(path, fix):
        content = json.loads(path.read_text())
        if not isinstance(content, dict):
            raise ValueError("expected a JSON object")
    return content
