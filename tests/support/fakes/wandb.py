"""A wandb that notes its calls in $FAKE_CALLS and fails, or never returns, in the one that $FAKE_FAILS names."""

import json
import os
import time
from pathlib import Path

MODES = ("online", "offline", "shared", "disabled", "dryrun", "run")
CALLS, FAILS = Path(os.environ["FAKE_CALLS"]), os.environ.get("FAKE_FAILS", "")


def note(call, **said):
    with CALLS.open("a") as lines:
        print(json.dumps({"call": call, **said}), file=lines)
    if f"{call} hangs" == FAILS:
        time.sleep(600)
    if f"{call} exits" == FAILS:
        raise SystemExit("credentials, please")
    if call == FAILS or f"{call} {said.get('mode')}" == FAILS:
        raise RuntimeError(f"{call} is broken")


class Run:
    """What wandb.init returns; $FAKE_STEP is the next step of a run that is resumed online."""

    url, disabled = "https://tracker.invalid/run", False

    def __init__(self, folder, mode):
        self.dir, self.summary, self.offline = str(folder / "files"), self, mode == "offline"
        self.step = 0 if self.offline else int(os.environ.get("FAKE_STEP", 0))

    def log(self, entry, step):
        note("log", step=step, keys=sorted(entry))

    def update(self, entry):
        note("summary", keys=sorted(entry))

    def finish(self, exit_code):
        note("finish", exit_code=exit_code)


def Settings(**given):
    note("Settings", **given)
    return given


class errors:
    class UsageError(Exception):
        pass


def init(**given):
    if (told := os.environ.get("WANDB_MODE", "online")) not in MODES:  # the real one reads it whatever mode it is given
        raise ValueError(f"mode: Input should be {MODES}, input_value={told!r}")
    given["mode"] = given["mode"] or os.environ.get("WANDB_MODE", "online")
    note("init", **given)
    kind = "offline-run" if given["mode"] == "offline" else "run"
    folder = Path(given["dir"]) / "wandb" / f"{kind}-{time.time_ns()}-{given['id']}"
    (folder / "files").mkdir(parents=True)
    return Run(folder, given["mode"])


def teardown():
    note("teardown")


note("import")
