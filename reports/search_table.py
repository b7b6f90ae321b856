"""The table and the figure of a learning-rate search, from its search.json."""

import json
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from core.errors import ReportError
from core.files import atomic_file, write_json
from reports.figures import style
from reports.stats import intervals as stats

KEYS = ("row", "macro", "share", "scale", "data", "own", "low", "high", "output", "seed", "chosen", "trials")
COLUMNS = ("value", "accuracy", "low", "high", "n", "loss", "steps", "seconds", "own", "chosen", "reason")


def read_search(path: Path) -> dict:
    """What `core.search` wrote.

    Raises:
        ReportError: the file is not there, no JSON, or lacks a key.
    """
    try:
        content = json.loads(path.read_text())
        missing = [key for key in KEYS if key not in content]
    except (OSError, ValueError, TypeError) as error:
        raise ReportError(f"{path} cannot be read ({error}); make it with python -m core.search") from error
    if missing or not content["trials"]:
        raise ReportError(f"{path}: key {(missing or ['trials'])[0]!r} is missing or empty; make it with python -m core.search")
    return content


def tidy(found: dict) -> pd.DataFrame:
    """One line a value, rising: accuracy with Wilson's 95 % interval over the images of val/, loss, cost."""
    lines = []
    for trial in found["trials"]:
        interval = (None, None)
        if trial["accuracy"] is not None:
            _, *interval = stats.accuracy(trial["accuracy"] / 100 * trial["n"], trial["n"])
        known = {**trial, "low": interval[0], "high": interval[1]}
        lines.append({**known, "own": trial["value"] == found["own"], "chosen": trial["value"] == found["chosen"]})
    return pd.DataFrame(lines, columns=list(COLUMNS)).sort_values("value", ignore_index=True)


def verdict(found: dict, frame: pd.DataFrame) -> str:
    """What the search says about the row's own value, in a sentence or two."""
    own, chosen = frame[frame.own].iloc[0], frame[frame.chosen].iloc[0]
    said = f"Chosen: {found['macro']} = {chosen.value:g} ({chosen.accuracy:.1f} %)."
    if (frame.accuracy == chosen.accuracy).sum() > 1:
        said += " Others reached the same; the lowest training loss decided, which is weak evidence: raise Search.share."
    edge = [side for side, end in (("lowest", frame.value.iloc[0]), ("highest", frame.value.iloc[-1])) if end == chosen.value]
    if edge:
        said += f" It is the {edge[0]} value tried: widen Search.span."
    if own.value == chosen.value:
        return f"{said} It is the row's own value."
    if pd.isna(own.accuracy):
        return f"{said} The row's own, {own.value:g}, did not train: {own.reason}."
    apart = "the intervals overlap, so val/ does not tell them apart" if chosen.low <= own.high else "the intervals are apart"
    return f"{said} The row's own, {own.value:g}, reached {own.accuracy:.1f} %; {apart}."


def markdown(found: dict, frame: pd.DataFrame) -> str:
    """The table with what it rests on."""
    cells = pd.DataFrame(
        {
            found["macro"]: [
                f"**{line.value:g}**" if line.chosen else f"{line.value:g}" + " (the row's own)" * line.own
                for line in frame.itertuples()
            ],
            f"word accuracy on val/ ({found['output']}), %": [
                line.reason or f"{line.accuracy:.1f} [{line.low:.1f}, {line.high:.1f}]" for line in frame.itertuples()
            ],
            "n": frame.n.map(lambda n: f"{n:.0f}" if pd.notna(n) else ""),
            "training loss": frame.loss.map(lambda loss: f"{loss:.3f}" if pd.notna(loss) else ""),
            "steps": frame.steps,
            "seconds": frame.seconds.map("{:.0f}".format),
        }
    )
    about = (
        f"Row {found['row']} at scale {found['scale']} on {found['data']}, seed {found['seed']}; each trial has "
        f"{100 * found['share']:g} % of the row's training, its schedule ended. Values are drawn log-uniformly from "
        f"{found['low']:.3g} to {found['high']:.3g} by Ray Tune; intervals are Wilson's, 95 %, over the images of val/. One "
        "seed: the seeds' own spread is not in the intervals. A short schedule may favour a higher rate than the whole one."
    )
    grid = cells.to_markdown(index=False, disable_numparse=True)
    return f"# Learning-rate search\n\n{grid}\n\n{verdict(found, frame)}\n\n{about}\n"


def draw(found: dict, frame: pd.DataFrame) -> Figure:
    """Accuracy on val/ against the value, with its intervals; values that diverged are crosses on the axis."""
    with matplotlib.rc_context(style.RC):
        figure = Figure((style.COLUMN, 2.2), layout="constrained")
        axes = figure.add_subplot()
        ended, lost = frame[frame.accuracy.notna()], frame[frame.accuracy.isna()]
        bars = [(ended.accuracy - ended.low).clip(lower=0), (ended.high - ended.accuracy).clip(lower=0)]  # 0 % is rounded
        axes.errorbar(ended.value, ended.accuracy, bars, fmt="o-", color=style.BLUE, markersize=3, capsize=2)
        if len(lost):
            axes.plot(lost.value, [0] * len(lost), "x", color=style.RED, clip_on=False, label="diverged")
        chosen, own = frame[frame.chosen].iloc[0], found["own"]
        axes.plot([chosen.value], [chosen.accuracy], "o", color=style.VERMILLION, markersize=5, label="chosen", zorder=3)
        axes.axvline(own, color=style.GREY, linewidth=0.8, linestyle="--", label="the row's own")
        axes.set(xscale="log", xlabel=found["macro"], ylabel="word accuracy on val/, %", ylim=(0, None))
        axes.legend()
    return figure


def write(path: Path, stem: Path) -> Path:
    """All renderings of a search; returns the Markdown file."""
    found = read_search(path)
    frame = tidy(found)
    with atomic_file(stem.with_name(f"{stem.name}.csv")) as partial:
        frame.to_csv(partial, index=False)
    said = {key: found[key] for key in KEYS if key != "trials"}
    lines = json.loads(frame.to_json(orient="records"))
    write_json(stem.with_name(f"{stem.name}.json"), {**said, "verdict": verdict(found, frame), "trials": lines})
    style.save(draw(found, frame), stem)
    with atomic_file(stem.with_name(f"{stem.name}.md")) as partial:
        partial.write_text(markdown(found, frame))
    return stem.with_name(f"{stem.name}.md")
