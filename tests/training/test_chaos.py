"""Runs that are killed again and again end where undisturbed ones do."""

import json
import random
import time

import pytest
from safetensors.torch import load_file

from core.evaluate.run import evaluate
from core.run_files import saved_states
from core.train.__main__ import main
from core.weights.checkpoint import load_model
from tests.support.checkout import BASELINE
from tests.support.processes import finish, start

KILLS, STEPS, SAVE_EVERY = 20, 24, 2  # ablations/scale/smoke.gin saves so often
ROWS = {  # what is drawn at random is on; the second run's images come from a loader process
    BASELINE: ["DROPOUT = 0.1", "PERMUTATIONS = 6", "AUGMENT_OPS = 3", "augment.RandAugment.magnitude = 5"],
    "ablations/table_V/base.gin": ["DROPOUT = 0.1", "optim.Optimisation.workers = 1"],
}
KILLED, TERMINATED, STOPPED = -9, -15, 128 + 15


def run(row, world, out):
    settings = [word for line in [*ROWS[row], f"TRAIN_STEPS = {STEPS}", "EPOCHS = None"] for word in ("--set", line)]
    arguments = [row, "--scale", "smoke", "--data", str(world), "--out", str(out), "--threads", "1", "--log-every", "1"]
    return start(main, [*arguments, "--tracking", "off", *settings], log=out.with_suffix(".log"))


@pytest.fixture(scope="module")
def undisturbed(world_folder, tmp_path_factory):
    """Each row trained in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    outs = {row: folder / str(number) for number, row in enumerate(ROWS)}
    for row, out in outs.items():
        assert finish([run(row, world_folder, out)]) == [0], out.with_suffix(".log").read_text()
    return outs


def last(out, kind):
    """The newest step that was saved, or logged."""
    if kind == "saved":
        states = saved_states(out)
        return int(states[-1].name.removeprefix("step-")) if states else 0
    return max((line["step"] for line in lines(out)), default=0)


def lines(out):
    """metrics.jsonl without what a clock says; a line that a kill cut off is none."""
    log = out / "metrics.jsonl"
    found = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")] if log.is_file() else []
    return [{key: line[key] for key in line if key not in ("seconds", "images_per_s")} for line in found]


def disturb(process, out, chance, gently):
    """One signal after up to four more steps, and a little later than that: while it opens, learns, saves or validates."""
    goal = last(out, "saved") + chance.randrange(5)
    while process.is_alive() and last(out, "logged") < goal:
        time.sleep(0.002)
    time.sleep(chance.random() * 0.1)
    if not process.is_alive():
        return 0
    process.terminate() if gently else process.kill()
    return 1


def test_killed_20_times_runs_end_in_the_same_weights_and_predictions(undisturbed, world_folder, tmp_path, smoke):
    """SIGKILL and SIGTERM in turn over runs of two rows: bit for bit the same; SIGKILL costs no more than SAVE_EVERY steps."""
    chance, kills, ends, disturbed = random.Random(0), 0, [], []
    while kills < KILLS:
        row = list(ROWS)[len(disturbed) % len(ROWS)]
        out = tmp_path / str(len(disturbed))
        disturbed.append((row, out))
        while not (out / "model.safetensors").exists():
            process = run(row, world_folder, out)
            struck = kills < KILLS and disturb(process, out, chance, gently=kills % 2)
            kills += struck
            (end,) = finish([process])
            ends.append(end)
            assert end in ((KILLED, TERMINATED, STOPPED, 0) if struck else (0,)), out.with_suffix(".log").read_text()
            if end != 0:
                lost = last(out, "logged") - last(out, "saved")
                assert lost <= (0 if end == STOPPED else SAVE_EVERY), (end, out)
    assert ends.count(KILLED) and ends.count(STOPPED) and len(disturbed) >= len(ROWS)
    print(f"{kills} kills over {len(disturbed)} runs; exits { ({end: ends.count(end) for end in set(ends)}) }")
    for row, out in disturbed:
        expected, found = (load_file(folder / "model.safetensors") for folder in (undisturbed[row], out))
        assert all(expected[name].equal(found[name]) for name in expected)
        assert lines(out) == lines(undisturbed[row])
        predictions = []
        for number, folder in enumerate((undisturbed[row], out)):
            evaluation = tmp_path / f"{out.name}-evaluation{number}"
            evaluate(load_model(folder), world_folder, {evaluation: smoke.protocol})
            predictions.append((evaluation / "predictions.parquet").read_bytes())
        assert predictions[0] == predictions[1]
