"""One trial: a training by `core.train` in a process of its own, and what came of it."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from core.errors import TrialError
from core.files import ROOT, write_json

OUTCOME = "outcome.json"
LAST = 0.1  # of the steps: the training loss is their mean


@dataclass(frozen=True)
class Outcome:
    """What a trial found; `accuracy` and `loss` are None where the training diverged, and `reason` says so.

    Args:
        value: of what is searched.
        accuracy: word accuracy on val/ after the last step, in per cent.
        n: images of val/.
        loss: mean training loss over the last tenth of the steps.
        steps: that were trained.
        seconds: of training, validation not counted.
    """

    value: float
    accuracy: float | None
    n: int | None
    loss: float | None
    steps: int
    seconds: float
    reason: str = ""


@dataclass(frozen=True)
class Training:
    """How a trial trains: `core.train`'s arguments, but the value that is searched.

    Args:
        out: folder of all trials; each has its own below.
        bindings: as `--set` takes them, the same for every trial.
        fingerprint: of the training data; a trial on other data is another trial.
        output: the branch that is scored.
    """

    row: str
    data: str
    out: str
    scale: str
    macro: str
    bindings: tuple[str, ...]
    seed: int
    threads: int
    fingerprint: str
    output: str

    def folder(self, value: float) -> Path:
        return Path(self.out) / f"{self.macro.lower()}-{value:g}"

    def command(self, value: float) -> list[str]:
        """What a person would type for this trial."""
        places = [self.row, "--data", self.data, "--out", str(self.folder(value)), "--scale", self.scale]
        said = [word for binding in (*self.bindings, f"{self.macro} = {value!r}") for word in ("--set", binding)]
        how = ["--seed", str(self.seed), "--threads", str(self.threads), "--tracking", "off"]
        return [sys.executable, "-m", "core.train", *places, *said, *how]


def run_trial(training: Training, value: float) -> dict:
    """Train with one value, or the rest of it, unless that was done already; the outcome as a dictionary.

    Raises:
        TrialError: the training ended for another reason than a diverging loss; its last words are in the message.
    """
    folder = training.folder(value)
    known = finished(folder, identity(training))
    if known is not None:
        return known
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train.log").open("w") as log:
        process = subprocess.Popen(training.command(value), cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        try:
            status = process.wait()
        finally:
            process.terminate()
    diverged = (folder / "bad-step.json").is_file()
    if status and not diverged:
        words = (folder / "train.log").read_text().strip().splitlines()[-1:] or ["it said nothing"]
        raise TrialError(f"{training.macro} = {value:g} ended with status {status} ({folder / 'train.log'}): {words[0]}")
    outcome = asdict(outcome_of(folder, value, training.output, diverged))
    write_json(folder / OUTCOME, {"training": identity(training), "outcome": outcome})
    return outcome


def identity(training: Training) -> dict:
    """What decides a trial's outcome beside its value, as JSON holds it."""
    known = {**asdict(training), "bindings": list(training.bindings)}
    return {name: value for name, value in known.items() if name not in ("out", "data", "threads")}


def finished(folder: Path, expected: dict) -> dict | None:
    """The outcome that an earlier search left of this very training; None where there is none."""
    path = folder / OUTCOME
    if not path.is_file():
        return None
    content = json.loads(path.read_text())
    return content["outcome"] if content["training"] == expected else None


def outcome_of(folder: Path, value: float, output: str, diverged: bool) -> Outcome:
    """What metrics.jsonl says of a training.

    Raises:
        TrialError: there is no validation in it.
    """
    log = folder / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    logged = [line for line in lines if "loss" in line]
    steps, seconds = max((line["step"] for line in lines), default=0), sum(line["seconds"] for line in logged)
    if diverged:
        reason = json.loads((folder / "bad-step.json").read_text())
        return Outcome(value, None, None, None, steps, seconds, f"stopped at step {reason['step']}: {reason['reason']}")
    validations = [line for line in lines if f"val_{output}" in line]
    if not validations:
        raise TrialError(f"{log}: no validation; the data root needs val/**/data.mdb to search by")
    last = [line["loss"] for line in logged if line["step"] > (1 - LAST) * steps] or [logged[-1]["loss"]]
    found = validations[-1]
    return Outcome(value, found[f"val_{output}"], found["val_n"], sum(last) / len(last), steps, seconds)
