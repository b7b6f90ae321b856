"""Why a run would be trained or read again, in words: `python -m ablations.plan --why RUN`."""

import json
from collections.abc import Iterator
from difflib import SequenceMatcher
from pathlib import Path

from ablations.plan.plan import Plan
from ablations.progress import missing, run_needs
from core.config.gin_text import without_comments
from core.errors import ConfigError, DataError
from core.evaluate.staleness import compare_training
from core.files import read_json_object
from core.run_files import EVALUATIONS, MODEL, PREDICTIONS, PROVENANCE, ROWS, RUNS, TRAIN_GIN, TRAINING_LOG, saved_states
from reports.layout import layout_names, read_layout

MOST_CHANGES = 12  # differing values that are listed
LONGEST = 160  # characters shown of one of them: a charset may have thousands


def why(plan: Plan, name: str) -> list[str]:
    """Why a run would be made again, or not: named by itself, by the start of its name, or by a row (`table_VI/image0-text6`).

    Raises:
        ConfigError: no run is called so.
    """
    run = find(plan, name)
    asking = plan.rows_by_run.get(run, [])
    lines = [f"{run}: {plan.results / 'runs' / run}"]
    if not asking:
        return lines + list(no_longer(plan, run))
    lines.append(f"needed by {', '.join(f'{table}/{row.name}' for table, row in asking)}")
    lines += earlier(plan, run)
    asked = run_needs(plan)[run]
    for seed in plan.seeds_of(run):
        folder = plan.seed_folder(run, seed)
        lacking = missing(folder, asked, seed == plan.seeds[0])
        notes = list(reasons(folder, lacking.train, plan.data))
        notes += [f"evaluation {name} would be made ({lack(folder, name)})" for name in lacking.evaluations]
        if lacking.timed:
            notes.append(
                "its reading would be timed: reading_time.json is missing, older than the model, or of other ways of decoding"
            )
        lines += [f"seed {seed}: {line}" for line in notes or ["nothing to do: trained and evaluated"]]
    return lines


def tables_asked(name: str, results: Path) -> list[str]:
    """The tables to plan for a question: a row's own; of a run, those of its rows that are planned only alone.

    Returns:
        No table where all that are planned together are meant.
    """
    tables = layout_names()
    if "/" in name:
        return [table for table in tables if table == name.partition("/")[0]]
    folders = [path for path in (results / RUNS).glob("*") if path.name.startswith(name) or path.name.endswith(f"-{name}")]
    of_rows = {row["table"] for folder in folders for row in rows_of(folder / ROWS)}
    return [table for table in tables if table in of_rows and read_layout(table).alone]


def find(plan: Plan, name: str) -> str:
    rows = {f"{table}/{row.name}": row for table, found in plan.tables.items() for row in found}
    if name in rows:
        if rows[name].skip_reason:
            raise ConfigError(f"{name} has no run here: {rows[name].skip_reason}")
        return rows[name].run
    known = sorted({*plan.rows_by_run, *(path.name for path in (plan.results / RUNS).glob("*") if path.is_dir())})
    matching = [run for run in known if run.startswith(name) or run.endswith(f"-{name}")]
    if len(matching) != 1:
        several = f"may be {', '.join(matching)}" if matching else f"is neither a run below {plan.results / 'runs'} nor a row"
        raise ConfigError(f"{name!r} {several}; say a run's name, or a row as table_VI/image0-text6")
    return matching[0]


def reasons(folder: Path, untrained: str, data: Path) -> Iterator[str]:
    """Reasons from the folder of one seed: whether its model is there, whole, and current."""
    states = saved_states(folder)
    if untrained:
        yield f"would be trained: {untrained}"
        if states:
            yield f"interrupted; it will resume from its state at step {int(states[-1].name.removeprefix('step-')):,}"
        elif (folder / TRAINING_LOG).is_file():
            yield "it was started and has no state: it starts over"
    elif not (folder / MODEL).is_file():
        yield "its model is gone, and no missing output needs it"
    if (folder / PROVENANCE).is_file() and data.is_dir():
        try:  # test sets aside: evaluations are named by their content
            if changed := compare_training(folder, read_json_object(folder / PROVENANCE), data):
                yield f"stale: {changed}; delete {folder} to make it again"
        except DataError as error:
            yield f"what it was trained on cannot be compared: {error}"


def lack(folder: Path, evaluation: str) -> str:
    """Why an evaluation is to be made."""
    if not (folder / EVALUATIONS / evaluation / PREDICTIONS).is_file():
        return f"{PREDICTIONS} is missing"
    if not (folder / MODEL).is_file():
        return "its model is trained again"
    return "it is older than the model"


def earlier(plan: Plan, run: str) -> Iterator[str]:
    """Other runs that the same rows asked for before, and what has changed since."""
    ours = {(table, row.name) for table, row in plan.rows_by_run[run]}
    for path in sorted((plan.results / RUNS).glob(f"*/{ROWS}")):
        other = path.parent.name
        if other not in plan.rows_by_run and other.split("-")[0] == run.split("-")[0]:
            shared = [row for row in rows_of(path) if (row["table"], row["row"]) in ours]
            if shared:
                yield f"{named(shared)} led to {other} before; {changes(plan, other, run)}"


def no_longer(plan: Plan, run: str) -> Iterator[str]:
    """What happened to the rows of a run that no row needs any more."""
    yield f"no row of {', '.join(plan.tables)} needs it under these settings: it is left alone, and none of them reads it"
    before = rows_of(plan.run_folder(run) / ROWS)
    for entry in before:
        now = next((row for row in plan.tables.get(entry["table"], []) if row.name == entry["row"]), None)
        if now is None:
            yield f"{named([entry])} led to it, but is no longer a row of these tables"
        elif now.run:
            yield f"{named([entry])} led to it and leads to {now.run} now; {changes(plan, run, now.run)}"


def changes(plan: Plan, before: str, now: str) -> str:
    """Which values of two runs' gin text differ."""
    path = plan.run_folder(before) / TRAIN_GIN
    if not path.is_file():
        return "what changed is not known (its train.gin is gone)"
    old = without_comments(path.read_text()).splitlines()
    new = without_comments(plan.first_rows[now].config.operative).splitlines()
    found = []
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            found += [f"- {line}" for line in old[a:b]] + [f"+ {line}" for line in new[c:d]]
    if not found:
        return "no value of it changed: the data, an architecture, a weights file or a START did"
    lines = [" ".join(line.split()) for line in found[:MOST_CHANGES]]
    lines = [line if len(line) <= LONGEST else f"{line[:LONGEST]}... ({len(line):,} characters)" for line in lines]
    rest = f" and {len(found) - MOST_CHANGES} more" if len(found) > MOST_CHANGES else ""
    return f"changed: {'; '.join(lines)}{rest}"


def rows_of(path: Path) -> list[dict]:
    try:
        rows = json.loads(path.read_text())["rows"]
        return [{"table": str(row["table"]), "row": str(row["row"])} for row in rows]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def named(entries: list[dict]) -> str:
    return ", ".join(f"{entry['table']}/{entry['row']}" for entry in entries)
