"""Guesses decide how long reading takes and nothing else."""

import pytest
import torch
import torch.nn.functional as F

from core.experiment.experiment import load
from core.model.autoregressive import autoregressive, word_lengths
from core.model.decoder import Decoder
from core.model.decoding import ar_then_refine, read_and_refine, refine
from core.model.tokenizer import Tokenizer
from tests.support.checkout import BASELINE
from tests.support.reference import Reference, reference_of, released_names

TOKENIZER = Tokenizer("abcdefg")
WORDS, OUTPUTS = 7, 9


def make(depth, seed):
    """A decoder whose weights are so large that characters matter to each other and [E] comes at different places.

    Returns:
        The decoder, its projected memory, and what the reference reads and then refines: logits, zero after [E].
    """
    torch.manual_seed(seed)
    decoder = Decoder(16, 2, depth, 2.0, 0.0, num_classes=8, max_outputs=OUTPUTS).double().eval()
    for parameter in decoder.parameters():
        parameter.data.normal_(0, 1.0)
    tokens = 4 * torch.randn(WORDS, 5, 16, dtype=torch.float64)
    named = released_names({f"visual_decoder.{name}": tensor for name, tensor in decoder.state_dict().items()})
    reference = Reference(named, 1, 1, decoder_heads=2, letters="abcdefg")
    first, refined = [], []
    for memory in tokens:
        first.append(reference.left_to_right("visual_decoder", memory))
        again = reference.over("visual_decoder", memory, first[-1], cloze=True)
        refined.append(again[: len(reference.to_end(again)) + 1])
    return decoder, decoder.project_memory(tokens), padded(first), padded(refined)


def padded(words):
    return torch.stack([F.pad(logits, (0, 0, 0, OUTPUTS - len(logits))) for logits in words])


def counted(decoder):
    """How often whole passes and single steps run, and with how many words."""
    calls = []
    step = decoder.step
    decoder.register_forward_hook(lambda module, inputs, logits: calls.append(("pass", len(logits))))
    decoder.step = lambda ids, *rest: calls.append(("step", len(ids))) or step(ids, *rest)
    return calls


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("seed", [0, 6, 8, 11, 16, 19])
@torch.inference_mode()
def test_any_guess_reads_the_same(depth, seed):
    decoder, memory, expected, _ = make(depth, seed)
    right = expected.argmax(-1)
    late = right.clone()
    late[:, 6] = (late[:, 6] + 1) % 8
    some = torch.where(torch.arange(WORDS)[:, None] % 2 == 0, right, torch.randint(0, 8, right.shape))
    guesses = [None, right, late, some, torch.randint(0, 8, right.shape), torch.zeros_like(right), right.roll(1, 0)]
    for guess in guesses:
        torch.testing.assert_close(autoregressive(decoder, memory, TOKENIZER, guess), expected)


@torch.inference_mode()
def test_a_right_guess_takes_one_pass():
    decoder, memory, expected, _ = make(1, 0)
    right = expected.argmax(-1)
    calls = counted(decoder)
    before = right.clone()
    autoregressive(decoder, memory, TOKENIZER, right)
    assert calls == [("pass", WORDS)] and torch.equal(right, before)


@torch.inference_mode()
def test_only_words_with_a_wrong_guess_go_on():
    decoder, memory, *_ = make(1, 0)
    decoder.head.bias.data[TOKENIZER.eos] = -1000.0  # no word ends
    right = autoregressive(decoder, memory, TOKENIZER, None).argmax(-1)
    guess = right.clone()
    guess[2, 5] = (guess[2, 5] + 1) % 8
    calls = counted(decoder)
    autoregressive(decoder, memory, TOKENIZER, guess)
    assert calls[0] == ("pass", WORDS) and calls[1] == ("pass", 1)


@torch.inference_mode()
def test_a_useless_guess_is_given_up_and_words_that_ended_leave():
    decoder, memory, expected, _ = make(1, 19)
    lengths = (expected.argmax(-1) == TOKENIZER.eos).int().argmax(-1)
    calls = counted(decoder)
    autoregressive(decoder, memory, TOKENIZER, None)
    steps = [words for kind, words in calls if kind == "step"]
    assert len(steps) == len(calls) and steps[0] == WORDS
    assert len(lengths.unique()) > 2 and steps[-1] < WORDS // 2
    calls.clear()
    autoregressive(decoder, memory, TOKENIZER, torch.full((WORDS, OUTPUTS), 3))
    assert [kind for kind, _ in calls].count("pass") < 4


@pytest.mark.parametrize("knobs", [[], ["PERMUTATIONS = 1", "REFINE_STEPS = 0"], ["DECODER_DEPTH = 2"]])
def test_reading_equals_the_plain_algorithm(knobs):
    """On a model of this study, in float64, whatever the guesses were."""
    torch.manual_seed(3)
    loaded = load(BASELINE, "smoke", knobs)
    model = loaded.experiment.model(load_weights=False).double().eval()
    for name, parameter in model.named_parameters():
        if "decoder" in name:
            parameter.data.mul_(3)  # the branches disagree, and refinement changes words
    reference = reference_of(model)
    images = torch.randn(6, 3, *model.towers.image_size, dtype=torch.float64)
    steps = loaded.protocol.refine_steps
    prediction = model.predict(images, refine_steps=steps)
    for number, image in enumerate(images):
        for name, expected in reference.predict(image, steps).items():
            scored = len(reference.to_end(expected)) + 1
            torch.testing.assert_close(getattr(prediction, name)[number, :scored], expected[:scored])
    if steps:
        assert not torch.equal(prediction.visual.argmax(-1), prediction.visual_ar.argmax(-1))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("seed", [0, 6, 8, 11, 16, 19])
@torch.inference_mode()
def test_reading_and_refining_in_one_pass_is_both_after_each_other(depth, seed):
    decoder, memory, first, refined = make(depth, seed)
    expected = first, refined
    torch.testing.assert_close(refine(decoder, memory, first, TOKENIZER), refined)
    right = first.argmax(-1)
    some = torch.where(torch.arange(WORDS)[:, None] % 2 == 0, right, torch.randint(0, 8, right.shape))
    last = right.clone()
    last[:, -1] = (last[:, -1] + 1) % 8
    for guess in (right, some, last, torch.randint(0, 8, right.shape), torch.zeros_like(right), right.roll(1, 0)):
        before = guess.clone()
        torch.testing.assert_close(read_and_refine(decoder, memory, TOKENIZER, guess), expected)
        assert torch.equal(guess, before)


@pytest.mark.parametrize("depth", [1, 2])
@torch.inference_mode()
def test_a_right_guess_is_read_and_refined_in_one_pass(depth):
    decoder, memory, expected, _ = make(depth, 0)
    right = expected.argmax(-1)
    calls = counted(decoder)
    read_and_refine(decoder, memory, TOKENIZER, right)
    assert calls == [("pass", WORDS)]
    both = ar_then_refine(decoder, [memory, memory], TOKENIZER, right)  # as a whole branch, where memory stayed as it was
    assert calls == 2 * [("pass", WORDS)]
    for memories, guess in (([memory, memory], None), ([memory, list(memory)], right)):
        calls.clear()
        torch.testing.assert_close(ar_then_refine(decoder, memories, TOKENIZER, guess), both)
        assert len(calls) > 1


@pytest.mark.parametrize("depth", [1, 2])
@torch.inference_mode()
def test_the_first_refinement_makes_no_word_longer(depth):
    """What `read_and_refine` relies on: it looks no further than the longest guess ends."""
    shorter = 0
    for seed in range(12):
        _, _, first, refined = make(depth, seed)
        before, after = (word_lengths(logits.argmax(-1), TOKENIZER) for logits in (first, refined))
        assert (after <= before).all()
        shorter += int((after < before).sum())
    assert shorter
