"""The table and the figure of a learning-rate search, from its search.json."""

import json
from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from core.errors import ReportError
from core.files import atomic_file, write_json
from core.run_files import BAD_STEP, TRAINING_LOG, seed_folder
from reports.figures import style
from reports.stats import intervals as stats

KEYS = ("row", "knob", "share", "scale", "data", "own", "output", "seed", "trials")
COLUMNS = ("value", "accuracy", "low", "high", "n", "loss", "steps", "seconds", "own", "chosen", "reason")
LAST = 0.1  # of the steps: the training loss is their mean


def read_search(path: Path) -> tuple[dict, pd.DataFrame]:
    """A search's search.json (see `ablations.lr_search`), and its trials: one line per value, rising.

    Accuracy is that on val/ after the last step, with Wilson's 95 % interval over its images; the most accurate trial is
    chosen, of equal ones the one with the lowest training loss.

    Raises:
        ReportError: the file is not there, is not valid JSON, or lacks a key; a trial has no validation; every trial diverged.
    """
    try:
        content = json.loads(path.read_text())
        missing = [key for key in KEYS if key not in content]
    except (OSError, ValueError, TypeError) as error:
        raise ReportError(f"{path} cannot be read ({error}); make it with snakemake lr_search") from error
    if missing or not content["trials"]:
        raise ReportError(f"{path}: key {(missing or ['trials'])[0]!r} is missing or empty; make it with snakemake lr_search")
    lines = [
        {"value": t["value"], **outcome(seed_folder(path.parent / t["run"], content["seed"]), content["output"])}
        for t in content["trials"]
    ]
    frame = pd.DataFrame(lines, columns=list(COLUMNS)).sort_values("value", ignore_index=True)
    ended = frame[frame.accuracy.notna()].sort_values(["accuracy", "loss"], ascending=[False, True])
    if ended.empty:
        raise ReportError(f"{path}: every trial diverged; give lower values in ablations/lr_search.yaml")
    frame["own"], frame["chosen"] = frame.value == content["own"], frame.index == ended.index[0]
    return content, frame


def outcome(folder: Path, output: str) -> dict:
    """The result of a training: accuracy and loss or, if it diverged, a reason.

    Raises:
        ReportError: there is no validation in its metrics.jsonl.
    """
    log = folder / TRAINING_LOG
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    logged = [line for line in lines if "loss" in line]
    steps, seconds = max((line["step"] for line in lines), default=0), sum(line["seconds"] for line in logged)
    if (folder / BAD_STEP).is_file():
        bad = json.loads((folder / BAD_STEP).read_text())
        return {"steps": steps, "seconds": seconds, "reason": f"stopped at step {bad['step']}: {bad['reason']}"}
    validations = [line for line in lines if f"val_{output}" in line]
    if not validations:
        raise ReportError(f"{log}: no validation; the data root needs val/**/data.mdb to search by")
    last = [line["loss"] for line in logged if line["step"] > (1 - LAST) * steps] or [logged[-1]["loss"]]
    accuracy, n = validations[-1][f"val_{output}"], validations[-1]["val_n"]
    _, low, high = stats.accuracy(accuracy / 100 * n, n)
    known = {"accuracy": accuracy, "low": low, "high": high, "n": n, "loss": sum(last) / len(last)}
    return {**known, "steps": steps, "seconds": seconds, "reason": ""}


def verdict(found: dict, frame: pd.DataFrame) -> str:
    """The search's conclusion about the row's own value, in a sentence or two."""
    own, chosen = frame[frame.own].iloc[0], frame[frame.chosen].iloc[0]
    text = f"Chosen: {found['knob']} = {chosen.value:g} ({chosen.accuracy:.1f} %)."
    if (frame.accuracy == chosen.accuracy).sum() > 1:
        text += " Others reached the same; the lowest training loss decided, which is weak evidence: raise `share`."
    edge = [side for side, end in (("lowest", frame.value.iloc[0]), ("highest", frame.value.iloc[-1])) if end == chosen.value]
    if edge:
        text += f" It is the {edge[0]} value tried: try values beyond it."
    if own.value == chosen.value:
        return f"{text} It is the row's own value."
    if pd.isna(own.accuracy):
        return f"{text} The row's own, {own.value:g}, did not train: {own.reason}."
    apart = "the intervals overlap, so val/ does not tell them apart" if chosen.low <= own.high else "the intervals are apart"
    return f"{text} The row's own, {own.value:g}, reached {own.accuracy:.1f} %; {apart}."


def markdown(found: dict, frame: pd.DataFrame) -> str:
    """The table with what it rests on."""
    cells = pd.DataFrame(
        {
            found["knob"]: [
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
        f"{100 * found['share']:g} % of the row's training, its schedule ended. Values are those of "
        "ablations/lr_search.yaml; intervals are Wilson's, 95 %, over the images of val/. One "
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
        axes.set(xscale="log", xlabel=found["knob"], ylabel="word accuracy on val/, %", ylim=(0, None))
        axes.legend()
    return figure


def write(path: Path, stem: Path) -> Path:
    """All renderings of a search; returns the Markdown file."""
    found, frame = read_search(path)
    with atomic_file(stem.with_name(f"{stem.name}.csv")) as partial:
        frame.to_csv(partial, index=False)
    summary = {**found, "chosen": float(frame.value[frame.chosen].iloc[0]), "verdict": verdict(found, frame)}
    write_json(stem.with_name(f"{stem.name}.json"), {**summary, "trials": json.loads(frame.to_json(orient="records"))})
    style.save(draw(found, frame), stem)
    with atomic_file(stem.with_name(f"{stem.name}.md")) as partial:
        partial.write_text(markdown(found, frame))
    return stem.with_name(f"{stem.name}.md")
