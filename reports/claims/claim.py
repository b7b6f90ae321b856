"""Claims as read from ablations/claims.yaml: sentences, and the contrasts of rows that express them.

Everything here raises ReportError for a file that cannot be used: one line with file, place, value and fix.
"""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match

from core.errors import ReportError
from core.files import ABLATIONS, ROOT
from reports.columns import Column, columns_of, mean_columns
from reports.layout import Layout, read_layout

SCHEMA = ABLATIONS / "claims.schema.yaml"
TIME = "milliseconds"  # the only fact that claims are made about


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of rows, and whether the claim says that it is positive, negative or about zero.

    Args:
        weights: by (table, row); they add up to zero, and rows that cancel are left out.
        columns: names of the columns whose mean is compared; empty for the mean that the table prints.
        kind: more, less or same.
        margin: points that count as nothing; None where the claim gives none.
        margin_percent: the margin of a time, in per cent of the subtracted rows' time.
        published: the difference of the printed numbers as the ledger gives it; None where there is none.
    """

    weights: dict[tuple[str, str], int]
    columns: tuple[str, ...]
    kind: str
    margin: float | None = None
    margin_percent: float | None = None
    published: float | None = None

    @property
    def tables(self) -> list[str]:
        return list(dict.fromkeys(table for table, _ in self.weights))

    @property
    def layout(self) -> Layout:
        """The layout of the first table, whose columns and baseline are used."""
        return layout_of(self.tables[0])

    @property
    def of_time(self) -> bool:
        facts = {entry["name"] for entry in self.layout.columns if entry.get("fact") == TIME}
        return bool(self.columns) and set(self.columns) <= facts

    def compared(self, columns: list[Column], measured: set[str] | None = None) -> list[Column]:
        """The columns that the difference is a mean over.

        Args:
            columns: the columns of the table.
            measured: see `mean_columns`.
        """
        if self.columns:
            return [column for column in columns if column.name in self.columns]
        return mean_columns(columns, measured)

    def __str__(self) -> str:
        """The contrast as text, a sum of rows; a single table is named once."""
        terms = []
        for (table, row), weight in self.weights.items():
            name = row if len(self.tables) == 1 else f"{table}/{row}"
            times = f"{abs(weight)} x " if abs(weight) > 1 else ""
            terms.append(f"{'-' if weight < 0 else '+'} {times}{name}")
        columns = f" on {', '.join(self.columns)}" if self.columns else ""
        return " ".join(terms).removeprefix("+ ").replace("- ", "\N{MINUS SIGN} ") + columns


@dataclass(frozen=True)
class Claim:
    """A sentence, where it is made, and the contrasts that each must hold for it to hold."""

    id: str
    where: str
    sentence: str
    contrasts: tuple[Contrast, ...]


@dataclass(frozen=True)
class ClaimLedger:
    """One claims.yaml; `notes` are oddities of the numbers that it rests on."""

    path: Path
    title: str
    notes: tuple[str, ...]
    claims: tuple[Claim, ...]

    @property
    def rows(self) -> set[tuple[str, str]]:
        """Every (table, row) that a claim rests on."""
        return {key for claim in self.claims for contrast in claim.contrasts for key in contrast.weights}


@cache
def layout_of(table: str) -> Layout:
    """`read_layout`, once per table: a ledger asks for every table many times."""
    return read_layout(table)


def ledger_paths() -> list[Path]:
    """The paper's ledger, then those that studies keep beside their table.yaml."""
    return [path for path in (ABLATIONS / "claims.yaml", *sorted(ABLATIONS.glob("*/claims.yaml"))) if path.is_file()]


def read_ledger(path: Path) -> ClaimLedger:
    """A ledger whose claims are of rows and columns that exist."""
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ReportError(f"{path} cannot be read ({' '.join(str(error).split())}); see ablations/claims.yaml") from error
    if error := best_match(schema().iter_errors(content)):
        raise ReportError(f"{path}: {place(error)}{explained(error)}")
    twice = [name for name, count in Counter(str(entry["id"]) for entry in content["claims"]).items() if count > 1]
    if twice:
        raise ReportError(f"{path}: two claims have the id {twice[0]!r}; give one another id")
    claims = tuple(one_claim(path, entry) for entry in content["claims"])
    return ClaimLedger(path, content["title"], tuple(content.get("notes", [])), claims)


@cache
def schema() -> Draft202012Validator:
    return Draft202012Validator(yaml.safe_load(SCHEMA.read_text()))


def place(error: ValidationError) -> str:
    """Where in the file: claims and contrasts count from 1."""
    parts: list[str] = []
    for step in error.absolute_path:
        if isinstance(step, int):
            parts[-1] = f"{parts[-1].removesuffix('s')} {step + 1}"
        else:
            parts.append(step)
    return ", ".join(parts) + ": " if parts else ""


def explained(error: ValidationError) -> str:
    """A schema error as a message: what is wrong, and what is expected."""
    value, wanted = error.instance, error.validator_value
    match error.validator:
        case "enum":
            return f"{value!r}; give one of {', '.join(wanted)}"
        case "exclusiveMinimum":
            return f"{value!r}; give a number above {wanted}"
        case "additionalProperties":
            known = error.schema["properties"]
            return f"unknown key {min(set(value) - set(known))!r}; the keys are {', '.join(known)}"
        case "required":
            missing = next(key for key in wanted if key not in value)
            return f"key {missing!r} is missing; claims.schema.yaml says what belongs there"
        case "anyOf":
            return "kind 'same' has no margin; give one in points (margin: 0.5), or for a time margin_percent: 20"
        case "pattern" if error.absolute_path and "rows" in error.absolute_path:
            return f"{value!r}; write a row with its sign, like +table_VI/image0-text6"
    return f"{error.message}; see {SCHEMA.relative_to(ROOT)}"


def one_claim(path: Path, entry: dict) -> Claim:
    contrasts = []
    for number, given in enumerate(entry["contrasts"], 1):
        where = f"{path}: claim {entry['id']}, contrast {number}"
        contrast = one_contrast(where, given)
        refuse_rows(where, contrast)
        refuse_columns(where, contrast)
        contrasts.append(contrast)
    return Claim(str(entry["id"]), entry["where"], " ".join(entry["claim"].split()), tuple(contrasts))


def one_contrast(where: str, given: dict) -> Contrast:
    """A contrast whose rows add up to a difference."""
    weights: Counter[tuple[str, str]] = Counter()
    for term in given["rows"]:
        table, row = term[1:].split("/")
        weights[table, row] += 1 if term[0] == "+" else -1
    if sum(weights.values()) or not any(weights.values()):
        raise ReportError(
            f"{where}: rows {', '.join(given['rows'])} are not a difference; give as many with + as with -, and not the same "
            "ones"
        )
    for key in ("margin", "margin_percent", "published"):
        if key in given and not math.isfinite(given[key]):
            raise ReportError(f"{where}: {key} is {given[key]}; give a finite number")
    numbers = {key: given.get(key) for key in ("margin", "margin_percent", "published")}
    used = {key: weight for key, weight in weights.items() if weight}
    return Contrast(used, tuple(given.get("columns", ())), given["kind"], **numbers)


def refuse_rows(where: str, contrast: Contrast) -> None:
    """Raises ReportError for a row that has no gin file."""
    for table, row in contrast.weights:
        if not (ABLATIONS / table / "table.yaml").is_file():
            known = ", ".join(sorted(path.parent.name for path in ABLATIONS.glob("*/table.yaml")))
            raise ReportError(f"{where}: unknown table {table!r} in {table}/{row}; there are {known}")
        if row not in (known := layout_of(table).rows):
            raise ReportError(f"{where}: unknown row {row!r} of {table}; there are {', '.join(known)}")


def refuse_columns(where: str, contrast: Contrast) -> None:
    """Raises ReportError for columns that are not in every table, or that the margin does not suit."""
    if len(contrast.tables) > 1 and not contrast.columns:
        raise ReportError(f"{where}: rows of {' and '.join(contrast.tables)} have no common mean; name the columns")
    for table, name in named_columns(contrast):
        entries = {entry["name"]: entry for entry in layout_of(table).columns}
        if name not in entries:
            raise ReportError(f"{where}: unknown column {name!r} of {table}; there are {', '.join(entries)}")
        if (fact := entries[name].get("fact", TIME)) != TIME:
            raise ReportError(f"{where}: column {name!r} is {fact}; claims are made of accuracies and of times")
    columns = columns_of(contrast.layout, False, [])
    if not contrast.compared(columns):
        raise ReportError(
            f"{where}: {contrast.tables[0]} prints no accuracies; name a column of times, or rows of another table"
        )
    if not contrast.of_time and any(column.fact for column in contrast.compared(columns)):
        raise ReportError(f"{where}: columns {', '.join(contrast.columns)} are accuracies and times; make two contrasts of it")
    wrong, right = ("margin", "margin_percent") if contrast.of_time else ("margin_percent", "margin")
    if getattr(contrast, wrong) is not None:
        raise ReportError(f"{where}: {wrong} does not suit {'a time' if contrast.of_time else 'an accuracy'}; give {right}")


def named_columns(contrast: Contrast) -> Iterator[tuple[str, str]]:
    return ((table, name) for table in contrast.tables for name in contrast.columns)
