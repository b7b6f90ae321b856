"""A wandb that notes its calls in $FAKE_CALLS and fails, or never returns, in the one that $FAKE_FAILS names."""

import json
import os
import time
from pathlib import Path

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

    url = "https://tracker.invalid/run"

    def __init__(self, folder, step):
        self.dir, self.step, self.summary = str(folder / "files"), step, self

    def log(self, entry, step):
        note("log", step=step, keys=sorted(entry))

    def update(self, entry):
        note("summary", keys=sorted(entry))

    def finish(self, exit_code):
        note("finish", exit_code=exit_code)


def Settings(**given):
    note("Settings", **given)
    return given


def init(**given):
    note("init", **given)
    kind = "offline-run" if given["mode"] == "offline" else "run"
    folder = Path(given["dir"]) / "wandb" / f"{kind}-{time.time_ns()}-{given['id']}"
    (folder / "files").mkdir(parents=True)
    return Run(folder, int(os.environ.get("FAKE_STEP", 0)) if given["mode"] == "online" else 0)


def teardown():
    note("teardown")


note("import")
