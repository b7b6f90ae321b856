"""Parts of reading as CUDA graphs: on the CPU a graph is a stand-in that runs the part again, from and to the same places."""

import pytest
import torch

from core.bench.forced_outputs import forced_outputs
from core.bench.read import reading, way_of
from core.bench.words import GUESSES, draw_words
from core.experiment.experiment import load
from core.model import autoregressive, clip4str, cuda_graphs, decoding
from core.model.attention import KeysValues
from core.model.cuda_graphs import replayed, room_for
from tests.support.checkout import BASELINE


class Rerun:
    """`cuda_graphs.Graph` without a GPU: it writes to where the first result was, as a graph does."""

    made = 0

    def __init__(self, call, beside):
        Rerun.made += 1
        self.call, self.result = call, call()

    def replay(self):
        for place, tensor in zip(*map(leaves, (self.result, self.call())), strict=True):
            place.copy_(tensor)
        return self.result


def leaves(tree):
    return cuda_graphs.pytree.tree_flatten(tree)[0]


@pytest.fixture
def recorded(monkeypatch):
    """As on a GPU: parts are recorded, rows are rounded up, and nothing asks how far it has to look."""
    Rerun.made = 0
    monkeypatch.setattr(cuda_graphs, "Graph", Rerun)
    for module in (cuda_graphs, clip4str):
        monkeypatch.setattr(
            module, "can_replay", lambda module, device: torch.is_inference_mode_enabled() and not module.training
        )
    for module in (autoregressive, decoding):
        monkeypatch.setattr(module, "waiting_is_costly", lambda device: True)
    for module in (autoregressive, decoding, clip4str):
        monkeypatch.setattr(module, "room_for", lambda count, most, device: room_for(count, most, torch.device("cuda")))


@pytest.fixture
def linear():
    return torch.nn.Linear(3, 2).eval()


def part(module, memory, tensor, scale=1.0):
    return scale * module(tensor), [layer.keys.sum() for layer in memory]


@torch.inference_mode()
def test_a_part_is_recorded_when_its_shape_comes_again(recorded, linear):
    for expected, count in ((0, 5), (1, 5), (1, 5), (1, 4), (2, 4)):
        tensor = torch.randn(count, 3)
        assert torch.equal(replayed(part, linear, [], tensor)[0], linear(tensor))
        assert Rerun.made == expected
    replayed(part, linear, [], torch.randn(5, 3), settings=(2.0,))
    replayed(part, linear, [], torch.randn(5, 3).double().float(), settings=(2.0,))
    assert Rerun.made == 3


@torch.inference_mode()
def test_another_precision_is_recorded_apart(recorded, linear):
    tensor, before = torch.randn(5, 3), torch.is_autocast_enabled("cuda")
    try:
        for expected, enabled in ((0, False), (1, False), (1, True), (2, True), (2, False)):
            torch.set_autocast_enabled("cuda", enabled)
            replayed(part, linear, [], tensor)
            assert Rerun.made == expected
    finally:
        torch.set_autocast_enabled("cuda", before)


@torch.inference_mode()
def test_a_result_belongs_to_the_caller(recorded, linear):
    results, tensors = [], [torch.randn(5, 3) for _ in range(4)]
    for tensor in tensors:
        results.append(replayed(part, linear, [], tensor)[0])
    for tensor, result in zip(tensors, results, strict=True):
        assert torch.equal(result, linear(tensor))


@torch.inference_mode()
def test_other_memory_is_read_even_at_the_same_address(recorded, linear):
    tensor = torch.randn(1, 3)
    for number in range(4):
        memory = [KeysValues(torch.full((2, 2), float(number)), torch.zeros(2, 2))]
        for _ in range(2):
            assert replayed(part, linear, memory, tensor)[1][0] == 4.0 * number
        del memory


def test_nothing_is_recorded_in_training_or_with_gradients(recorded, linear):
    tensor = torch.randn(5, 3)
    for _ in range(3):
        replayed(part, linear, [], tensor)
    with torch.inference_mode():
        linear.train()
        for _ in range(3):
            replayed(part, linear, [], tensor)
    assert Rerun.made == 0


@torch.inference_mode()
def test_weights_that_moved_are_recorded_again(recorded, linear):
    tensor = torch.randn(5, 3)
    for _ in range(2):
        replayed(part, linear, [], tensor)
    linear.weight.data.mul_(2.0)  # in place, as an optimiser does
    assert torch.equal(replayed(part, linear, [], tensor)[0], linear(tensor)) and Rerun.made == 1
    linear.weight.data = torch.randn(2, 3)
    for _ in range(2):
        assert torch.equal(replayed(part, linear, [], tensor)[0], linear(tensor))
    assert Rerun.made == 2
    cuda_graphs.forget(linear)
    replayed(part, linear, [], tensor)
    assert Rerun.made == 2


@torch.inference_mode()
def test_a_part_that_cannot_be_recorded_is_called(recorded, linear, monkeypatch, caplog):
    def refuse(call, beside):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs, "Graph", refuse)
    tensor = torch.randn(5, 3)
    for _ in range(4):
        assert torch.equal(replayed(part, linear, [], tensor)[0], linear(tensor))
    (warning,) = caplog.messages
    assert warning == "no CUDA graph of part, which is slower: operation not permitted when stream is capturing"


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("settings", [{}, {"refine_steps": 2}, {"fast_cross": True}, {"decode": "cloze"}, {"refine_steps": 0}])
def test_recorded_reading_is_the_same(request, settings, depth):
    """Random weights: nearly every guess is wrong, so rows are chosen, checked, and decoded step by step."""
    torch.manual_seed(3)
    model = load(BASELINE, "smoke", [f"DECODER_DEPTH = {depth}"]).experiment.model(load_weights=False).eval()
    for decoder in (model.visual_decoder, model.cross_decoder):
        torch.nn.init.normal_(decoder.head.weight, std=1.0)
    batches = [torch.randn(count, 3, *model.towers.image_size) for count in (6, 6, 6, 3, 6, 3, 3)]
    plain = [model.predict(images, **settings) for images in batches]
    request.getfixturevalue("recorded")
    for images, expected in zip(batches, plain, strict=True):
        found = model.predict(images, **settings)
        for name in ("visual_ar", "visual", "cross_ar", "cross"):
            torch.testing.assert_close(getattr(found, name), getattr(expected, name), atol=2e-4, rtol=1e-4)
    assert Rerun.made > 5


@pytest.mark.parametrize(("count", "most", "rows"), [(1, 8, 1), (3, 8, 4), (4, 8, 4), (5, 6, 6), (200, 256, 256)])
def test_rows_on_a_gpu_come_in_few_numbers(count, most, rows):
    assert room_for(count, most, torch.device("cuda")) == rows
    assert room_for(count, most, torch.device("cpu")) == count


@pytest.mark.parametrize("guesses", GUESSES)
def test_forced_words_are_read_from_recorded_parts_too(recorded, model, guesses):
    protocol = load(BASELINE, "smoke").protocol
    batches = draw_words("typical", 4, 5, model.visual_decoder.max_outputs)
    images = torch.randn(4, 3, *model.towers.image_size)
    with forced_outputs(model) as outputs:
        for words in batches:
            outputs.force(words, guesses)
            prediction = reading(model, images, way_of(protocol, "cross"), "no")()
            assert model.tokenizer.decode(prediction.visual_ar)[0] == words
        assert Rerun.made
    assert not any(decoder in cuda_graphs.GRAPHS for decoder in (model.visual_decoder, model.cross_decoder))
