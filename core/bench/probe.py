"""Time real training steps of a row, and its inference, with random weights on random images."""

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from core.bench.measure import seconds_of
from core.bench.read import as_evaluated
from core.bench.train import training_steps
from core.bench.words import random_words
from core.experiment.experiment import Loaded
from core.model.clip4str import CLIP4STR
from core.runtime.clock import clock
from core.runtime.precision import fit_for

WARM_UP = 2  # steps before the clock starts: allocation, autotuning
SHORT, LONG = 3, 8  # letters of most words


@dataclass(frozen=True)
class Probe:
    """Seconds: the median and range of a training step, and the medians of reading an image.

    Args:
        passes: forward and backward passes per step.
        peak_bytes: device memory at the most; None on a CPU.
    """

    device: str
    step: float
    fastest: float
    slowest: float
    passes: int
    encode: float
    decode: float
    peak_bytes: int | None


def probe(loaded: Loaded, *, steps: int, letters: int, device: str, advance: Callable[[], None]) -> Probe:
    """Time whole optimiser steps as the row trains: its batch by accumulation, precision, clipping and optimiser.

    Every pass has words and every step images of its own, or captions would be known from the step before. The loader is
    left out, and pretrained weights are not needed. Words read by random weights seldom end, so reading is timed at full
    length.

    Args:
        steps: that are timed, after two that are not.
        letters: length of a step's longest word.
        advance: called after every step, for a progress bar.

    Raises:
        ValueError: there is nothing to time.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: time at least one")
    torch.manual_seed(0)
    optimisation, on_gpu = loaded.experiment.optimisation, device == "cuda"
    model = loaded.experiment.model(load_weights=False).to(device)
    passes = optimisation.accumulation(1)
    images = torch.empty(optimisation.batch // passes, 3, *model.train().towers.image_size, device=device)
    draw = random.Random(0)
    words = [[words_up_to(letters, model, len(images), draw) for _ in range(passes)] for _ in range(WARM_UP + steps)]
    ready = training_steps(model, optimisation, fit_for(device, optimisation.precision), images, words, guesses=None)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    for number in range(WARM_UP + steps):
        images.normal_()
        seconds.append(seconds_of(ready(number), torch.device(device)).clock)
        advance()
    seconds = seconds[WARM_UP:]
    peak = torch.cuda.max_memory_allocated() if on_gpu else None
    encode, decode = reading_seconds(model, images, loaded)
    threads = torch.get_num_threads()
    return Probe(
        device=torch.cuda.get_device_name() if on_gpu else f"CPU, {threads} thread{'s'[: threads - 1]}",
        step=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        passes=passes,
        encode=encode,
        decode=decode,
        peak_bytes=peak,
    )


def reading_seconds(model: CLIP4STR, images: torch.Tensor, loaded: Loaded) -> tuple[float, float]:
    """Seconds per image of the image tower, and of decoding as the row's protocol has it."""
    protocol, encode, decode = loaded.protocol, [], []
    model.eval()
    for _ in range(3):
        with as_evaluated(images.device, protocol.precision):
            start = clock(images.device)
            memory = model.encode(images)
            middle = clock(images.device)
            model.decode(memory, protocol.refine_steps, protocol.decode, protocol.fast_cross)
        encode.append((middle - start) / len(images))
        decode.append((clock(images.device) - middle) / len(images))
    return statistics.median(encode), statistics.median(decode)


def words_up_to(letters: int, model: CLIP4STR, count: int, draw: random.Random) -> list[str]:
    """Words of 3 to 8 letters, the first as long as the longest of a step."""
    longest = min(letters, model.max_letters)
    lengths = [longest, *(draw.randint(min(SHORT, longest), min(LONG, longest)) for _ in range(count - 1))]
    return random_words(lengths, draw, model.tokenizer.charset)
