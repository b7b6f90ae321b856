"""Track runs with wandb without ever waiting for it: another program, `recorder`, follows what a run writes.

Whatever happens to it (no wandb, no network, a full disk, a call that never returns) costs a warning and the recording;
the training does not notice, and metrics.jsonl holds everything. Nothing here imports wandb.
"""

import configparser
import contextlib
import json
import netrc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from core.files import ROOT

RECORD = "tracking.json"  # in the folder of a run, and of an evaluation
MODES = ("auto", "offline", "online", "off")
PATIENCE = 60.0
MARGIN = 5.0  # seconds more for the tracker to end by itself
STOPPED_PATIENCE = 10.0  # a run that was asked to stop has half a minute for everything
WANDB_MODES = {"online": "online", "run": "online", "shared": "online", "offline": "offline", "dryrun": "offline"}
WANDB_MODES |= {"disabled": "off"}
SERVER = "https://api.wandb.ai"


def warn(text: str) -> None:
    print(f"warning: tracking: {text}; results do not depend on it", file=sys.stderr, flush=True)


def resolve(asked: str, environment: Mapping[str, str] = os.environ) -> str:
    """Online, offline or off: auto follows WANDB_MODE and `wandb offline`, else it is online where one is logged in.

    Online without credentials would ask for them, so it is offline, with a warning.
    """
    settings = wandb_settings(environment)
    wanted = asked
    if asked == "auto":
        said = environment.get("WANDB_MODE") or settings.get("mode", "")
        if environment.get("WANDB_DISABLED", "").lower() in ("true", "1", "yes"):
            said = "disabled"
        if said and said not in WANDB_MODES:
            warn(f"WANDB_MODE {said!r} is none of {', '.join(WANDB_MODES)}, so it is offline")
        wanted = WANDB_MODES.get(said, "offline") if said else "auto"
    if wanted in ("offline", "off"):
        return wanted
    if logged_in(environment, settings):
        return "online"
    if wanted == "online":
        warn("online was asked for and wandb is not logged in (`wandb login`), so it is offline")
    return "offline"


def home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or Path.home())


def wandb_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What `wandb login --host` and `wandb offline` keep, for the user and for this folder."""
    folder = Path(environment.get("WANDB_CONFIG_DIR") or home(environment) / ".config" / "wandb")
    found = configparser.ConfigParser(interpolation=None)
    try:
        found.read([folder / "settings", Path("wandb") / "settings"])
    except (configparser.Error, OSError, UnicodeDecodeError):
        return {}
    return dict(found["default"]) if found.has_section("default") else {}


def logged_in(environment: Mapping[str, str], settings: Mapping[str, str]) -> bool:
    """Whether wandb finds credentials without asking."""
    if environment.get("WANDB_API_KEY") or environment.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(environment.get("WANDB_BASE_URL") or settings.get("base_url") or SERVER).hostname or ""
    named = environment.get("NETRC")
    for path in [Path(named)] if named else [home(environment) / ".netrc", home(environment) / "_netrc"]:
        try:
            if netrc.netrc(path).authenticators(host):
                return True
        except (OSError, netrc.NetrcParseError, UnicodeDecodeError):
            continue
    return False


@dataclass(frozen=True)
class Tracking:
    """Whether and how runs are recorded.

    Args:
        mode: one of MODES (see `resolve`).
        row: table/row that a run started by hand is for; the workflow's rows.json comes first.
        patience: seconds any call of wandb may take before the recording is given up.
    """

    mode: str = "off"
    row: str = ""
    patience: float = PATIENCE

    @contextlib.contextmanager
    def following(self, run: Path) -> Iterator[None]:
        """Record what the block adds to the run's metrics.jsonl; its operative.gin and provenance.json are there already."""
        process = self.start(run, "--follow")
        said = "stopped"
        try:
            yield
            said = "finished"
        finally:
            if process is not None:
                end(process, said, self.patience + MARGIN if said == "finished" else STOPPED_PATIENCE)

    def evaluated(self, run: Path, folders: Sequence[Path]) -> None:
        """Record finished evaluations of a run directory."""
        if not (run / "provenance.json").is_file():
            return
        process = self.start(run, "--evaluations", *(str(folder.resolve()) for folder in folders))
        if process is not None:
            end(process, "finished", self.patience * len(folders) + MARGIN)

    def start(self, run: Path, *more: str) -> subprocess.Popen | None:
        """The tracker; None where none is wanted or, with a warning, where it cannot start."""
        try:
            mode = resolve(self.mode)
            return None if mode == "off" else launch(self.command(run, mode, *more))
        except Exception as error:  # nothing about tracking may reach a training
            warn(f"the tracker could not start ({error})")
            return None

    def command(self, run: Path, mode: str, *more: str) -> list[str]:
        told = ["--mode", mode, "--patience", str(self.patience), *(["--row", self.row] if self.row else [])]
        return [sys.executable, "-m", "core.runtime.tracking.recorder", str(run.resolve()), *told, *more]


OFF = Tracking()


def tracking_for(asked: str, gin: Path | str) -> Tracking:
    """What `--tracking` asks for, for a run of this gin file."""
    gin = Path(gin)
    row = f"{gin.parent.name}/{gin.stem}" if (gin.parent / "table.yaml").is_file() else ""
    return Tracking(asked, row)


def launch(command: Sequence[str]) -> subprocess.Popen:
    """A program out of reach of the terminal: no prompt, no Ctrl-C."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, env=environment, start_new_session=True, **pipes)


def end(process: subprocess.Popen, said: str, patience: float) -> None:
    """Say how the run ended and wait until that is recorded, but no longer than `patience`."""
    try:
        process.communicate(said + "\n", timeout=patience)
    except subprocess.TimeoutExpired:
        warn(f"the tracker was not done {patience:g} s after the run and is stopped")
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except (OSError, ValueError):  # it gave up before, and said so
        process.wait()
    if process.returncode not in (0, 1, -signal.SIGKILL):
        warn(f"the tracker ended with status {process.returncode}")


def recorded(folder: Path, run: Path) -> str:
    """Where a run (or its evaluation in `folder`) was recorded: its address or its offline folder; empty where it was not."""
    try:
        kept = json.loads((folder / RECORD).read_text())
        return kept["url"] or (run / kept["folder"]).as_posix()
    except (OSError, ValueError, KeyError, TypeError):
        return ""
