"""One run or evaluation shared by several processes: the same as by one."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from core.evaluate.readings import Stopped, read_images_of
from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.model.permutations import sample_permutations
from core.runtime.distributed import SINGLE, DistEnv, init_distributed
from core.train.__main__ import main
from core.train.run import train
from core.train.step import target_tokens
from core.train.validation import validation_words
from core.weights.checkpoint import load_model, save_model
from tests.support.checkout import BASELINE
from tests.support.processes import finish, start_team

EXACT = [
    "TRAIN_STEPS = 4",
    "EPOCHS = None",
    "DROPOUT = 0.0",
    "PERMUTATIONS = 6",
    "AUGMENT_OPS = 3",
    "augment.RandAugment.magnitude = 5",
    "optim.Optimisation.block = 3",  # images 0-2, 3-5 and 6-7 are read in orders of their own, whoever has them
]
NOTHING_FROZEN = "ablations/table_VI/image0-text0.gin"  # the towers' temperature is trainable, and no loss depends on it
VISUAL = "ablations/table_V/base.gin"


def trained(row, world, out, device_batch, processes=1):
    """(losses of every step, final weights) of a smoke run."""
    bindings = [*EXACT, f"DEVICE_BATCH = {device_batch}"]
    if processes == 1:
        train(load(row, "smoke", bindings), world, out, 0, log_every=1)
    else:
        settings = [word for line in bindings for word in ("--set", line)]
        arguments = [row, "--scale", "smoke", "--data", str(world), "--out", str(out), "--log-every", "1", *settings]
        team = start_team(processes, main, [*arguments, "--tracking", "off", "--threads", "2"], log=out.with_suffix(".log"))
        assert finish(team) == [0] * processes, out.with_suffix(".0.log").read_text()
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    found = [[line[key] for key in ("loss", "loss_visual", "loss_cross", "grad_norm", "lr")] for line in lines if "of" in line]
    return found, load_file(out / "model.safetensors")


@pytest.fixture(autouse=True)
def one_thread():
    """As the processes of a team have: more would wait for each other on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def learned(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Weights without the biases of attention's keys, which change no attention weight, so that rounding alone moves them."""
    if name.endswith("attn.kv.bias"):
        return tensor.chunk(2)[1]
    if name.endswith("in_proj_bias"):
        queries, _, values = tensor.chunk(3)
        return torch.cat([queries, values])
    return tensor


@pytest.mark.parametrize(
    ("row", "divisions"),
    [(BASELINE, [(1, 2), (2, 8), (2, 2)]), (VISUAL, [(2, 2)]), (NOTHING_FROZEN, [(2, 2)])],
    ids=["both branches", "visual branch, weights averaged", "nothing frozen"],
)
def test_a_step_is_the_same_however_it_is_divided(row, divisions, world_folder, tmp_path):
    """1 x 8 against 1 x 2 x 4 passes, 2 x 4, and 2 x 2 x 2 passes: losses, gradients, learning rates and weights."""
    losses, weights = trained(row, world_folder, tmp_path / "whole", 8)
    assert len(losses) == 4
    for processes, device_batch in divisions:
        others, other_weights = trained(row, world_folder, tmp_path / f"{processes}-{device_batch}", device_batch, processes)
        for step, other in zip(losses, others, strict=True):
            for here, there in zip(step, other, strict=True):
                assert (here is there is None) or there == pytest.approx(here, abs=1e-5, rel=1e-5)
        for name, tensor in weights.items():
            torch.testing.assert_close(learned(name, other_weights[name]), learned(name, tensor), rtol=0, atol=1e-5, msg=name)


def test_a_run_goes_on_with_another_number_of_processes(world_folder, tmp_path):
    out = tmp_path / "run"
    _, weights = trained(BASELINE, world_folder, tmp_path / "whole", 8)
    arguments = [BASELINE, "--scale", "smoke", "--data", str(world_folder), "--out", str(out), "--tracking", "off"]
    arguments += [word for line in [*EXACT, "DEVICE_BATCH = 8"] for word in ("--set", line)]
    team = start_team(2, stopped_after_three, arguments, log=tmp_path / "first.log")
    assert finish(team) == [143, 143], (tmp_path / "first.0.log").read_text()
    assert [path.name for path in (out / "state").iterdir()] == ["step-000000003"]
    main(arguments)
    again = load_file(out / "model.safetensors")
    assert all(torch.allclose(again[name], weights[name], rtol=0, atol=1e-5) for name in weights)


def stopped_after_three(arguments):
    """A run of which one process alone gets a signal in its third step."""
    import os
    import signal

    from core.train.loop import Run

    step = Run.step

    def counted(run, number, batches, starts):
        if number == 3 and run.team.index == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(run, number, batches, starts)

    Run.step = counted
    main(arguments)


def evaluate_shared(saved, world, out, protocol):
    evaluate(load_model(saved), world, {out: protocol}, team=init_distributed())


def test_processes_write_the_predictions_of_one(world_folder, tmp_path, smoke):
    """Batches of 3 of 8 words: three of them, the last one short, for two processes."""
    torch.manual_seed(0)
    model = smoke.experiment.model(load_weights=True)
    save_model(model, smoke.training, {}, tmp_path)
    protocol = replace(smoke.protocol, batch=3)
    alone = evaluate(load_model(tmp_path), world_folder, {tmp_path / "alone": protocol})[tmp_path / "alone"]
    team = start_team(2, evaluate_shared, tmp_path, world_folder, tmp_path / "shared", protocol, log=tmp_path / "team.log")
    assert finish(team) == [0, 0], (tmp_path / "team.0.log").read_text()
    files = [(tmp_path / name / "predictions.parquet").read_bytes() for name in ("alone", "shared")]
    assert files[0] == files[1]
    shared = json.loads((tmp_path / "shared" / "metrics.json").read_text())
    assert shared["processes"] == 2 and alone["processes"] == 1
    for name, metrics in alone["benchmarks"].items():
        for key in ("n", "visual", "cross", "stored", "left_out", "fingerprint"):
            assert shared["benchmarks"][name][key] == metrics[key]


def test_reading_stops_between_batches(world_folder, smoke, model):
    words = validation_words(world_folder, model, smoke.protocol)
    with pytest.raises(Stopped):
        read_images_of(model, words, [smoke.protocol], "val", asked=lambda: 15)


@pytest.mark.parametrize("orders", [1, 2, 6])
def test_target_tokens_are_those_of_the_loss(model, orders, monkeypatch):
    """Words of 1, 3 and 5 letters: counted where the loss is taken."""
    counted = []
    cross_entropy = model.cross_entropy
    monkeypatch.setattr(
        model, "cross_entropy", lambda logits, ids: (counted.append((ids != 97 - 1).sum()), cross_entropy(logits, ids))[1]
    )
    assert model.tokenizer.pad == 96
    permutations = sample_permutations(5, orders, True, torch.Generator().manual_seed(0))
    model.losses(torch.randn(3, 3, *model.towers.image_size), ["a", "the", "early"], permutations)
    assert [int(count) for count in counted] == [target_tokens(3, 9, orders)] * 2


def test_alone_every_answer_is_ones_own():
    assert SINGLE.is_main and SINGLE.gather("x") == ["x"] and init_distributed() is SINGLE
    assert not DistEnv(1, 2).is_main
