"""Time real steps of a row's training, and its reading, with random weights on random images."""

import random
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch

from core.experiment.experiment import Loaded
from core.model.clip4str import CLIP4STR
from core.model.permutations import sample_permutations
from core.runtime.clock import clock
from core.runtime.precision import autocast, fit_for

WARM_UP = 2  # steps before the clock starts: allocation, autotuning
SHORT, LONG = 3, 8  # letters of most words


@dataclass(frozen=True)
class Probe:
    """Seconds: the median and range of a training step, and the medians of reading an image.

    Args:
        passes: forward and backward passes a step.
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
        letters: of the longest word of a step.
        advance: called after every step, for a progress bar.

    Raises:
        ValueError: there is nothing to time.
    """
    if steps < 1:
        raise ValueError(f"steps = {steps}: time at least one")
    torch.manual_seed(0)
    optimisation = loaded.experiment.optimisation
    model = loaded.experiment.model(load_weights=False).to(device)
    optimiser, precision = optimisation.optimiser(model), fit_for(device, optimisation.precision)
    passes, images = optimisation.accumulation(1), optimisation.batch // optimisation.accumulation(1)
    batch, seconds = torch.empty(images, 3, *model.towers.image_size, device=device), []
    draw, generator = random.Random(0), torch.Generator().manual_seed(0)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    model.train()
    for number in range(WARM_UP + steps):
        batch.normal_()
        every_pass = [random_words(model, images, letters, draw) for _ in range(passes)]
        start = clock(device)
        for words in every_pass:
            orders = sample_permutations(max(map(len, words)), model.num_permutations, model.mirrored, generator)
            with autocast(device, precision):
                loss = model.losses(batch, words, orders).total
            (loss / passes).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), optimisation.clip_grad_norm)
        optimisation.set_lr(optimiser, number, WARM_UP + steps)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if number >= WARM_UP:
            seconds.append(clock(device) - start)
        advance()
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else None
    encode, decode = reading(model, batch, loaded, device)
    return Probe(
        device=torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        step=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        passes=passes,
        encode=encode,
        decode=decode,
        peak_bytes=peak,
    )


def reading(model: CLIP4STR, images: torch.Tensor, loaded: Loaded, device: str) -> tuple[float, float]:
    """Seconds an image of the image tower, and of decoding as the row's protocol has it."""
    protocol, encode, decode = loaded.protocol, [], []
    model.eval()
    for _ in range(3):
        with autocast(device, protocol.precision):
            start = clock(device)
            memory = model.encode(images)
            middle = clock(device)
            model.decode(memory, protocol.refine_steps, protocol.decode, protocol.fast_cross)
        encode.append(middle - start)
        decode.append(clock(device) - middle)
    return statistics.median(encode) / len(images), statistics.median(decode) / len(images)


def random_words(model: CLIP4STR, count: int, letters: int, draw: random.Random) -> list[str]:
    """Words of 3 to 8 letters, the first as long as the longest of a step."""
    charset = model.tokenizer.charset
    longest = min(letters, model.max_letters)
    lengths = [longest, *(draw.randint(min(SHORT, longest), min(LONG, longest)) for _ in range(count - 1))]
    return ["".join(draw.choices(charset, k=length)) for length in lengths]
