"""Learning rates, decay, schedule, averaging, and how a batch is shared out."""

import math

import pytest
import torch

from core.errors import UserError
from core.experiment.experiment import load
from core.experiment.optim import ALGORITHMS, Averaging, one_cycle, sgd
from tests.support.checkout import BASELINE


def test_optimiser_groups_and_schedule(smoke, model):
    optimisation = load(BASELINE, "paper").experiment.optimisation
    assert optimisation.lr == pytest.approx(8.4e-5 * 2)
    assert optimisation.total_steps(3_300_000) == 16 * (3_300_000 // 1024)
    groups = {group["name"]: group for group in optimisation.groups(model)}
    assert groups["scratch, decayed"]["peak_lr"] == pytest.approx(19 * optimisation.lr)
    assert groups["towers, not decayed"]["weight_decay"] == 0 and groups["towers, decayed"]["weight_decay"] == 0.2
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    undecayed = {names[id(p)] for key in groups if "not decayed" in key for p in groups[key]["params"]}
    assert {
        "visual_decoder.position_queries",
        "cross_decoder.context_embedding.weight",
        "cross_decoder.norm.weight",
    } <= undecayed
    assert "visual_decoder.head.weight" not in undecayed and "visual_decoder.head.bias" in undecayed
    listed = [id(p) for group in groups.values() for p in group["params"]]
    assert sorted(listed) == sorted(id(p) for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("steps", "warmup"), [(400, 0.075), (750, 0.075), (6, 0.075), (100, 0.3), (2, 0.9), (1, 0.075)])
def test_the_schedule_is_torchs_one_cycle(steps, warmup):
    optimiser = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, steps, pct_start=warmup, cycle_momentum=False)
    for step in range(steps):
        assert one_cycle(step, steps, warmup) == pytest.approx(theirs.get_last_lr()[0], rel=1e-9, abs=1e-12)
        optimiser.step()
        if step + 1 < steps:
            theirs.step()


def test_the_schedule_by_hand():
    """From LR / 25 over 7.5 % of 400 steps to LR, down to LR / 250,000."""
    found = [one_cycle(step, 400, 0.075) for step in (0, 14, 29, 214, 399)]
    middle = 4e-6 + (1 - 4e-6) / 2  # half way between steps 29 and 399
    rising = 0.04 + 0.96 * (1 - math.cos(math.pi * 14 / 29)) / 2
    assert found == pytest.approx([1 / 25, rising, 1.0, middle, 4e-6], abs=1e-12)


def test_parseqs_recipe():
    """Batch 768 at 7e-4 x sqrt(2) x 384 / 256, AdamW as torch has it by default, weights averaged from 75 % on."""
    loaded = load("ablations/table_V/base-psm.gin", "paper")
    optimisation, model = loaded.experiment.optimisation, loaded.blueprint
    assert (optimisation.batch, optimisation.epochs, optimisation.betas, optimisation.eps) == (768, 20, (0.9, 0.999), 1e-8)
    peak = 7e-4 * 2**0.5 * 384 / 256
    assert {round(group["peak_lr"], 7) for group in optimisation.groups(model)} == {round(peak, 7)}
    assert {group["weight_decay"] for group in optimisation.groups(model)} == {0.0}
    assert loaded.experiment.normalisation == loaded.protocol.normalisation == "half"
    assert model.visual_decoder.num_heads == 12 and model.visual_decoder.embed_dim == 384
    assert optimisation.averaging.steps(2000) == [1500, 1600, 1700, 1800, 1900]
    optimiser = torch.optim.AdamW([{"params": [torch.nn.Parameter(torch.zeros(1))], "peak_lr": peak}])
    rates = [optimisation.set_lr(optimiser, step, 2000) for step in (0, 149, 1499, 1500, 1999)]
    held = peak * one_cycle(1500, 2000, 0.075)
    assert rates == pytest.approx([peak / 25, peak, peak * one_cycle(1499, 2000, 0.075), held, held], rel=1e-4)


def test_ladder_side_tunings_rates():
    """As released for r = 4: 8e-4 x sqrt(4) x 256 / 256 for the ladder, 19 times that for the decoder, 20 epochs."""
    assert rates_of("ablations/table_VIII/lst-r4.gin") == {"adapter": {1.6e-3}, "visual_decoder": {3.04e-2}}
    assert load("ablations/table_VIII/lst-r4.gin", "paper").experiment.optimisation.epochs == 20
    scratch = rates_of("ablations/table_VIII/lst-r4.gin", "ADAPTER_RATE = 'scratch'")
    assert scratch == {"adapter": {3.04e-2}, "visual_decoder": {3.04e-2}}
    assert rates_of("ablations/table_VIII/clip-adapter.gin") == {"adapter": {3.192e-3}, "visual_decoder": {3.192e-3}}
    assert rates_of("ablations/table_VIII/lora.gin") == {"towers": {3.192e-3}, "visual_decoder": {3.192e-3}}
    gentle = rates_of("ablations/table_VIII/lora.gin", "ADAPTER_RATE = 'towers'")
    assert gentle == {"towers": {1.68e-4}, "visual_decoder": {3.192e-3}}


def rates_of(row, *bindings):
    """Peak learning rates at paper scale, by the part of the model."""
    loaded = load(row, "paper", bindings)
    names = {id(parameter): name for name, parameter in loaded.blueprint.named_parameters()}
    rates = {}
    for group in loaded.experiment.optimisation.groups(loaded.blueprint):
        for parameter in group["params"]:
            rates.setdefault(names[id(parameter)].split(".")[0], set()).add(round(group["peak_lr"], 9))
    return rates


@pytest.mark.parametrize(("devices", "passes"), [(1, 8), (8, 1), (2, 4), (16, 1)])
def test_the_batch_does_not_depend_on_devices(devices, passes):
    optimisation = load(BASELINE, "paper").experiment.optimisation
    assert optimisation.accumulation(devices) == passes
    assert devices * passes * optimisation.micro_batch(devices) == 1024


def test_an_uneven_batch_is_refused():
    with pytest.raises(ValueError, match="BATCH = 1024 is not a multiple of the 3 processes that share it"):
        load(BASELINE, "paper").experiment.optimisation.accumulation(3)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("EPOCHS = 2", "EPOCHS = 2.0 and TRAIN_STEPS = 6: give exactly one, the other None"),
        ("TRAIN_STEPS = None", "EPOCHS = None and TRAIN_STEPS = None: give exactly one"),
        ("TRAIN_STEPS = 0", "TRAIN_STEPS = 0: nothing would be trained"),
        ("ENCODER_LR = 0.0", "Optimisation.encoder_lr = 0.0 is not positive"),
        ("optim.Optimisation.save_every = 0", "Optimisation.save_every = 0 is not positive"),
        ("ADAPTER_RATE = 'fast'", "ADAPTER_RATE = 'fast': expected one of"),
        ("TRAIN_STEPS = 1e4", "TRAIN_STEPS = 10000.0: expected a whole number, written without point and exponent"),
        ("BATCH = 64.0", "BATCH = 64.0: expected a whole number"),
        ("EPOCHS = '10'", "EPOCHS = '10': expected a number"),
        ("ENCODER_LR = '8.4e-5'", "Optimisation.encoder_lr = '8.4e-5': expected a number"),
        ("WEIGHT_DECAY = -0.1", "WEIGHT_DECAY = -0.1: expected 0 or more"),
        ("BETAS = (0.9, 1.0)", r"BETAS = \(0.9, 1.0\): expected two numbers from 0 to below 1"),
        ("EPS = 0.0", "EPS = 0.0 is not positive"),
        ("optim.Optimisation.workers = -1", "Optimisation.workers = -1: expected 0 or more"),
        ("optim.Optimisation.clip_grad_norm = 0.0", "Optimisation.clip_grad_norm = 0.0 is not positive"),
        ("SCRATCH_MULTIPLIER = 0.0", "Optimisation.scratch_multiplier = 0.0 is not positive"),
        ("optim.Optimisation.warmup = 0.0", "Optimisation.warmup = 0.0: a share of the steps lies between 0 and 1"),
        ("optim.Optimisation.warmup = 1.0", "Optimisation.warmup = 1.0: a share of the steps lies between 0 and 1"),
        ("optim.Optimisation.max_loss_ratio = 1.0", "Optimisation.max_loss_ratio = 1.0: an ordinary loss would stop"),
        ("optim.Optimisation.most_skipped = -1", "Optimisation.most_skipped = -1: expected 0 or more steps"),
        ("DEVICE_BATCH = 3", "BATCH = 8 is not a multiple of DEVICE_BATCH = 3"),
        ("AVERAGING = True", r"AVERAGING = True: expected None or @optim.Averaging\(\)"),
    ],
)
def test_what_cannot_be_trained_is_refused(binding, message):
    with pytest.raises(UserError, match=message):
        load(BASELINE, "smoke", [binding])


def test_sgd_needs_a_momentum():
    with pytest.raises(UserError, match=r"BETAS = \(0.0, 0.98\): the first is SGD's momentum, which is above 0"):
        load(BASELINE, "smoke", ["ALGORITHM = 'SGD'", "BETAS = (0.0, 0.98)"])


def test_values_at_the_edge_are_taken():
    bindings = [
        "TRAIN_STEPS = 1",
        "DEVICE_BATCH = 1",
        "optim.Optimisation.most_skipped = 0",
        "optim.Optimisation.save_every = 1",
    ]
    optimisation = load(BASELINE, "smoke", [*bindings, "optim.Optimisation.max_loss_ratio = 1.5"]).experiment.optimisation
    assert optimisation.total_steps(10**6) == 1 and optimisation.accumulation(1) == 8


@pytest.mark.parametrize(("start", "snapshots"), [(0.0, 5), (1.0, 5), (0.75, 1)])
def test_averages_of_nothing_are_refused(start, snapshots):
    with pytest.raises(UserError, match="Averaging"):
        Averaging(start, snapshots)


def test_short_runs_average_what_there_is():
    assert Averaging(0.01, 2).steps(10) == [1, 5] and Averaging(0.75, 5).steps(2) == [2]


def test_less_than_an_epoch_is_a_step_at_least():
    optimisation = load(BASELINE, "paper").experiment.optimisation
    assert optimisation.total_steps(0) == 1 and optimisation.total_steps(1024) == 16


def test_every_group_follows_the_schedule(model):
    """The towers at their rate and what is trained from scratch at its own; no rate stays at its peak."""
    optimisation = load(BASELINE, "paper").experiment.optimisation
    optimiser, share = optimisation.optimiser(model), one_cycle(100, 400, 0.075)
    assert optimisation.set_lr(optimiser, 100, 400) == pytest.approx(optimisation.lr * share)
    rates = {group["name"]: group["lr"] for group in optimiser.param_groups}
    assert rates == pytest.approx({group["name"]: group["peak_lr"] * share for group in optimiser.param_groups})
    assert len(set(rates.values())) == 2 and share < 0.95


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_optimiser_has_what_the_row_says(model, algorithm):
    optimisation = load(BASELINE, "paper", [f"ALGORITHM = {algorithm!r}"]).experiment.optimisation
    known = {"betas": (0.9, 0.98), "eps": 1e-6}
    if algorithm == "NAdam":
        known["decoupled_weight_decay"] = True
    elif algorithm == "SGD":
        known = {"momentum": 0.9, "nesterov": True}
    assert optimisation.optimiser(model).defaults.items() >= known.items()


@pytest.mark.parametrize("fused", [True, False])
def test_momentum_begins_at_zero_also_where_the_first_step_is_left_out(model, fused):
    """A fused step that is left out writes no momentum: without one it would be what the memory happened to hold."""
    loaded = load(BASELINE, "smoke", ["ALGORITHM = 'SGD'", f"optim.Optimisation.fused = {fused}"])
    optimiser = loaded.experiment.optimisation.optimiser(model)
    states = [optimiser.state[weight]["momentum_buffer"] for group in optimiser.param_groups for weight in group["params"]]
    assert states and not any(momentum.any() for momentum in states)
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    plain = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True)
    ours = torch.nn.Parameter(torch.tensor([1.0]))
    begun = sgd([{"params": [ours]}], loaded.experiment.optimisation)
    begun.param_groups[0]["lr"] = 0.1
    for _ in range(3):
        for optimiser, parameter in ((plain, weight), (begun, ours)):
            parameter.grad = torch.tensor([2.0])
            optimiser.step()
    torch.testing.assert_close(ours, weight)
