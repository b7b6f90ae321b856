"""What a training step costs above the image tower's own forward and backward pass.

B batch, K orders, N outputs, C classes, M image tokens, D joint width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from core.benchmark.dictation import LOUD, other
from core.benchmark.timing import Compared, compared, take_turns
from core.benchmark.words import draw_words, mean_letters
from core.experiment import load
from core.model.clip4str import CLIP4STR
from core.optim import Optimisation
from core.readings import DTYPES

FLOOR = "floor"


@dataclass(frozen=True, kw_only=True)
class TrainCost(Compared):
    """A training step on made-up images from random weights: losses, gradients, clipping, optimiser.

    Args:
        lengths: "full" or "typical" (see `core.benchmark.words`).
        guesses: "right", the visual branch reads every image alike in all orders and the text tower reads one caption
            an image; "wrong", it reads another caption for every order.
    """

    what: str = "train"
    row: str
    scale: str
    batch: int
    lengths: str
    guesses: str
    orders: int
    trainable: int
    precision: str
    images_per_s: float
    mean_letters: float


def floor_step(model: CLIP4STR, images: Tensor, precision: str) -> Callable[[], None]:
    """The image tower's forward and backward pass on images B 3 H W, ready to be timed; the weights the row trains learn."""

    def run() -> None:
        with autocast(images, precision):
            tokens = model.towers.encode_image(images)  # B M D
        if tokens.requires_grad:
            tokens.backward(torch.ones_like(tokens))
        model.zero_grad(set_to_none=True)

    return run


def autocast(images: Tensor, precision: str) -> torch.autocast:
    return torch.autocast(images.device.type, DTYPES[precision], enabled=precision != "no")


@contextmanager
def heard(model: CLIP4STR, words: list[str], guesses: str) -> Iterator[None]:
    """Let the visual branch read these words in training, whatever the order, or with "wrong" others in every order."""

    def say(decoder: torch.nn.Module, inputs: tuple, logits: Tensor) -> Tensor:
        outputs = max(map(len, words)) + 1
        orders = logits.shape[0] * logits.shape[1] // (len(words) * outputs)
        said = list(words)
        bonus = []
        for _ in range(orders):
            ids = model.tokenizer.encode(said)[:, 1:].clamp(max=logits.shape[-1] - 1)  # B N
            bonus.append(torch.nn.functional.one_hot(ids, logits.shape[-1]))
            said = [other(word) for word in said] if guesses == "wrong" else said
        return logits + LOUD * torch.stack(bonus, 1).to(logits).view(logits.shape)  # B KN C or BK N C

    hook = model.visual_decoder.register_forward_hook(say)
    try:
        yield
    finally:
        hook.remove()


def training_step(
    model: CLIP4STR, optimisation: Optimisation, images: Tensor, words: list[str], guesses: str, seed: int = 0
) -> Callable[[], None]:
    """A whole step on images B 3 H W, ready to be timed; the model learns, its learning rate does not change."""
    optimiser = optimisation.optimiser(model)
    optimisation.set_lr(optimiser, 0, 1)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    def run() -> None:
        with heard(model, words, guesses):
            with autocast(images, optimisation.precision):
                losses = model(images, words, torch.Generator().manual_seed(seed))
            losses.total.backward()
        torch.nn.utils.clip_grad_norm_(trained, optimisation.clip_grad_norm)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return run


def train_costs(row: str, scale: str, batches: list[int], lengths: str, guesses: str, repeats: int) -> Iterator[TrainCost]:
    """One cost a batch size, of a row under its own recipe; every repeat has other words and orders.

    Raises:
        ConfigError: the row cannot be built.
    """
    torch.manual_seed(0)
    loaded = load(row, scale)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = loaded.experiment.model(load_weights=False).to(device).train()
    optimisation = loaded.experiment.optimisation
    for batch in batches:
        words = [
            [word[: model.max_letters] for word in drawn]
            for drawn in draw_words(lengths, batch, repeats, model.visual_decoder.max_outputs)
        ]
        images = torch.randn(batch, 3, *model.towers.image_size, device=device)

        steps = [training_step(model, optimisation, images, drawn, guesses, seed) for seed, drawn in enumerate(words)]
        tower = floor_step(model, images, optimisation.precision)
        tasks = {FLOOR: lambda repeat, tower=tower: tower, "train": lambda repeat, steps=steps: steps[repeat]}
        measured = take_turns(tasks, repeats, device, f"training on {batch} at once")
        cost = compared(measured["train"], measured[FLOOR], device)
        yield TrainCost(
            **vars(cost),
            row=row,
            scale=scale,
            batch=batch,
            lengths=lengths,
            guesses=guesses,
            orders=model.num_permutations,
            trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
            precision=str(DTYPES[optimisation.precision]).removeprefix("torch."),
            images_per_s=batch / cost.median_s,
            mean_letters=mean_letters([word for repeated in words for word in repeated]),
        )
