"""Track runs with wandb without a step that waits for it: another program, `recorder`, follows what a run writes.

Whatever happens to that program (no wandb, no network, a full disk, a call that never returns) costs a warning and the
recording; the training does not notice, and metrics.jsonl holds everything. wandb's own background process does not give
that: importing it, wandb.init and finish can block or end the process that calls them. Nothing here imports wandb.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.choices import SCALES
from core.files import ROOT, from_command_line
from core.run_files import PROVENANCE, TRACKING

MODES = ("auto", "offline", "online", "off")
PATIENCE = 60.0
MARGIN = 5.0  # seconds more for the recorder to end by itself
STOPPED_PATIENCE = 10.0  # a run that was asked to stop has half a minute for everything


def warn(text: str) -> None:
    print(f"warning: tracking: {text}; results do not depend on it", file=sys.stderr, flush=True)


def is_off(mode: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether nothing is recorded; auto follows wandb's own switches, which the recorder would have to import wandb for."""
    disabled = environment.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes")
    return mode == "off" or (mode == "auto" and (disabled or environment.get("WANDB_MODE") == "disabled"))


@dataclass(frozen=True)
class Tracking:
    """Whether and how runs are recorded.

    Args:
        mode: one of MODES; auto is online if wandb is logged in and not switched to offline, else offline.
        row: table/row of a run started by hand; the workflow's rows.json comes first.
        patience: seconds that any call of wandb may take before the recording is given up.
    """

    mode: str = "off"
    row: str = ""
    patience: float = PATIENCE

    @contextlib.contextmanager
    def following(self, run: Path) -> Iterator[None]:
        """Record what the block adds to the run's metrics.jsonl; its operative.gin and provenance.json are there already."""
        process = self.start(run, "--follow")
        outcome = "stopped"
        try:
            yield
            outcome = "finished"
        finally:
            if process is not None:
                end(process, outcome, self.patience + MARGIN if outcome == "finished" else STOPPED_PATIENCE)

    def evaluated(self, run: Path, folders: Sequence[Path]) -> None:
        """Record finished evaluations of a run directory."""
        if not (run / PROVENANCE).is_file():
            return
        process = self.start(run, "--evaluations", *(str(folder.resolve()) for folder in folders))
        if process is not None:
            end(process, "finished", self.patience * len(folders) + MARGIN)

    def start(self, run: Path, *more: str) -> subprocess.Popen | None:
        """The recorder, out of reach of the terminal (no prompt, no Ctrl-C); None if off or, with a warning, if it fails."""
        if is_off(self.mode):
            return None
        paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
        try:
            return subprocess.Popen(self.command(run, *more), env=environment, start_new_session=True, **pipes)
        except Exception as error:  # nothing about tracking may reach a training
            warn(f"the recorder could not start ({error})")
            return None

    def command(self, run: Path, *more: str) -> list[str]:
        options = ["--mode", self.mode, "--patience", str(self.patience), *(["--row", self.row] if self.row else [])]
        return [sys.executable, "-m", "core.runtime.tracking.recorder", str(run.resolve()), *options, *more]


OFF = Tracking()


def tracking_for(mode: str, gin: Path | str) -> Tracking:
    """The tracking of a run of this gin file; `mode` is the value of --tracking.

    The file's place names table and row: <row>.gin beside a table.yaml, or sweeps/<scale>/<table>/<row>.gin.
    """
    gin = from_command_line(gin).absolute()
    sweeps, scale = gin.parts[-4:-2] if len(gin.parts) > 4 else ("", "")
    swept = sweeps == "sweeps" and scale in SCALES
    named = swept or (gin.parent / "table.yaml").is_file()
    return Tracking(mode, f"{gin.parent.name}/{gin.stem}" if named else "")


def end(process: subprocess.Popen, outcome: str, patience: float) -> None:
    """Tell the recorder how the run ended and wait until that is recorded, but no longer than `patience`."""
    try:
        process.communicate(outcome + "\n", timeout=patience)
    except subprocess.TimeoutExpired:
        warn(f"the recorder was not done {patience:g} s after the run and is stopped")
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # the group: wandb's own processes too
        process.wait()
    except (OSError, ValueError):  # it gave up before, and warned itself
        process.wait()
    if process.returncode not in (0, 1, -signal.SIGKILL):
        warn(f"the recorder ended with status {process.returncode}")


def recorded(folder: Path, run: Path) -> str:
    """Address or offline folder under which a run (or its evaluation in `folder`) was recorded; empty if it was not."""
    try:
        record = json.loads((folder / TRACKING).read_text())
        return record["url"] or (run / record["folder"]).as_posix()
    except (OSError, ValueError, KeyError, TypeError):
        return ""
