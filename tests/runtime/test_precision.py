"""A precision is what the machine can do of it."""

import json
import os
import signal

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from core.bench import __main__ as bench
from core.bench.probe import probe
from core.data.loading import Words, open_lmdbs
from core.data.transforms import ToTensor
from core.errors import TrainingError, UserError
from core.evaluate.readings import read_images_of
from core.experiment.experiment import load
from core.model.clip4str import CLIP4STR
from core.runtime.distributed import DistEnv
from core.runtime.precision import autocast, fit_for, name_of
from core.train import validation
from core.train.run import train
from core.train.state import Interrupted
from tests.support.checkout import BASELINE

BF16 = ["optim.Optimisation.precision = 'bf16'"]


def name_of_type(dtype):
    return str(dtype).removeprefix("torch.")


@pytest.fixture
def computed_in(monkeypatch):
    """The types of all logits that a loss is taken of."""
    seen, cross_entropy = set(), CLIP4STR.cross_entropy

    def noted(model, logits, targets):
        if logits.device.type != "meta":  # there operations are counted, and nothing is computed
            seen.add(logits.dtype)
        return cross_entropy(model, logits, targets)

    monkeypatch.setattr(CLIP4STR, "cross_entropy", noted)
    return seen


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"avx2": True, "avx512_bf16": False}, "no"),
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"bf16": True}, "bf16"),
    ],
)
def test_a_processor_without_bfloat16_computes_in_float32(monkeypatch, known, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known)
    assert fit_for("cpu", "bf16") == expected
    assert fit_for("cpu", "no") == "no"
    with pytest.raises(ValueError, match="precision = 'fp16': only a GPU trains in float16; say 'bf16' or 'no'"):
        fit_for("cpu", "fp16")


@pytest.mark.parametrize(("has", "expected"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_without_bfloat16_trains_in_float16(monkeypatch, has, expected):
    """V100 and T4: torch would emulate it."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has or including_emulation)
    assert fit_for("cuda", "bf16") == expected
    assert (fit_for("cuda", "fp16"), fit_for("cuda", "no")) == ("fp16", "no")


def test_autocast_computes_in_what_was_asked():
    weight, x = torch.randn(4, 4), torch.randn(2, 4)
    for precision, dtype in (("no", torch.float32), ("bf16", torch.bfloat16)):
        with autocast("cpu", precision):
            found = torch.nn.functional.linear(x, weight)
        assert found.dtype == dtype and name_of(precision) == str(dtype).removeprefix("torch.")


@pytest.fixture
def fresh():
    """accelerate holds one precision a process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_run_computes_in_what_it_says(world_folder, tmp_path, monkeypatch, computed_in, native, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    train(load(BASELINE, "smoke", BF16), world_folder, tmp_path, 0)
    assert computed_in == {dtype} and json.loads((tmp_path / "provenance.json").read_text())["precision"] == name_of_type(dtype)


def train_half(loaded, world_folder, out, monkeypatch):
    """A training that is asked to stop at its first validation."""
    read = validation.read_images_of
    with monkeypatch.context() as patch, pytest.raises(Interrupted):
        patch.setattr(validation, "read_images_of", lambda *a, **b: os.kill(os.getpid(), signal.SIGTERM) or read(*a, **b))
        train(loaded, world_folder, out, 0)


@pytest.mark.usefixtures("fresh")
def test_an_interrupted_run_in_bfloat16_ends_in_the_same_weights(world_folder, tmp_path, monkeypatch):
    loaded = load(BASELINE, "smoke", BF16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    train(loaded, world_folder, tmp_path / "whole", 0)
    train_half(loaded, world_folder, tmp_path / "halves", monkeypatch)
    train(loaded, world_folder, tmp_path / "halves", 0)
    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert whole.keys() == halves.keys() and all(torch.equal(whole[name], halves[name]) for name in whole)


@pytest.mark.usefixtures("fresh")
def test_a_cpu_refuses_to_train_in_float16_before_anything_is_written(world_folder, tmp_path):
    with pytest.raises(UserError, match="only a GPU trains in float16; say 'bf16' or 'no'"):
        train(load(BASELINE, "smoke", ["optim.Optimisation.precision = 'fp16'"]), world_folder, tmp_path / "run", 0)
    assert not (tmp_path / "run").exists()


class Scaled(Accelerator):
    """float32 with the scaled loss of float16, which accelerate gives to GPUs alone; the scale doubles every four steps."""

    def __init__(self, **options):
        super().__init__(**options)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=256.0, growth_interval=4)


@pytest.mark.usefixtures("fresh")
def test_an_interrupted_run_goes_on_with_its_scale(world_folder, tmp_path, monkeypatch):
    """Stopped after three of six steps: only a saved count of good steps lets the scale double after the fourth."""
    loaded, scalers = load(BASELINE, "smoke"), []
    monkeypatch.setattr("core.train.run.Accelerator", lambda **options: scalers.append(Scaled(**options)) or scalers[-1])
    train(loaded, world_folder, tmp_path / "whole", 0)
    train_half(loaded, world_folder, tmp_path / "halves", monkeypatch)
    train(loaded, world_folder, tmp_path / "halves", 0)
    assert [accelerator.scaler.get_scale() for accelerator in scalers] == [512.0, 256.0, 512.0]
    whole, halves = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "halves"))
    assert all(torch.equal(whole[name], halves[name]) for name in whole)


def test_a_cpu_reads_in_float16(model, world_folder, monkeypatch):
    """The image memory is float16's, and nearly every word is read as in float32."""
    words = Words(open_lmdbs(world_folder / "test", model.tokenizer.charset, 25), ToTensor(model.towers.image_size, "clip"))
    memories, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda images: memories.append(encode(images)) or memories[-1])
    protocols = [load(BASELINE, "smoke", [f"protocol.Protocol.precision = {name!r}"]).protocol for name in ("no", "fp16")]
    whole, half = (read_images_of(model, words, [protocol], "test")[0].rows for protocol in protocols)
    assert {memory.dtype for memory in memories[: len(memories) // 2]} == {torch.float32}
    assert {memory.dtype for memory in memories[len(memories) // 2 :]} == {torch.float16}
    assert (whole.cross == half.cross).mean() > 0.8


@pytest.mark.usefixtures("fresh")
def test_a_run_goes_on_in_the_precision_it_began_in(world_folder, tmp_path, monkeypatch):
    """On a machine of the other kind it would end in other weights; states from before this was recorded go on."""
    loaded = load(BASELINE, "smoke", BF16)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    train_half(loaded, world_folder, tmp_path, monkeypatch)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})
    AcceleratorState._reset_state(reset_partial_state=True)
    with pytest.raises(ValueError, match="was saved with precision bfloat16, this run has float32: delete .*state"):
        train(loaded, world_folder, tmp_path, 0)
    (record,) = tmp_path.glob("state/*/run_identity.json")
    record.write_text(json.dumps({key: value for key, value in json.loads(record.read_text()).items() if key != "precision"}))
    train(loaded, world_folder, tmp_path, 0)
    assert (tmp_path / "model.safetensors").is_file()


@pytest.mark.usefixtures("fresh")
def test_processes_that_would_round_otherwise_do_not_train_together(world_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(DistEnv, "gather", lambda team, mine: [mine, "bf16"])
    with pytest.raises(TrainingError, match="would compute in bf16 and no; set Optimisation.precision = 'no'"):
        train(load(BASELINE, "smoke"), world_folder, tmp_path, 0)


def test_an_unknown_precision_is_named():
    with pytest.raises(Exception, match="Optimisation.precision = 'half': expected one of no, bf16, fp16"):
        load(BASELINE, "smoke", ["optim.Optimisation.precision = 'half'"])


@pytest.mark.parametrize(("precision", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_the_bench_trains_in_what_it_is_told(computed_in, capsys, precision, dtype):
    bench.main(
        ["train", "--scale", "smoke", "--threads", "1", "--repeats", "1", "--batch", "2", "--json", "--precision", precision]
    )
    assert json.loads(capsys.readouterr().out)["details"]["precision"] == name_of_type(dtype) and computed_in == {dtype}


@pytest.mark.parametrize(("native", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_the_probe_times_what_a_run_would_compute_in(monkeypatch, computed_in, native, dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    probe(load(BASELINE, "smoke", BF16), steps=1, letters=5, device="cpu", advance=lambda: None)
    assert computed_in == {dtype}
