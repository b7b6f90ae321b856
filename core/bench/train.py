"""What a training step costs above the image tower's own forward and backward pass.

B batch, K orders, N outputs, C classes, M image tokens, D joint width.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from core.bench.dictation import LOUD, other
from core.bench.timing import Compared, Ready, compared, take_turns
from core.bench.words import draw_words, mean_letters
from core.experiment.experiment import load
from core.experiment.optim import Optimisation
from core.model.clip4str import CLIP4STR
from core.runtime.precision import autocast, name_of

FLOOR = "floor"
BACKWARD, CLIPPING, UPDATE = AFTERWARDS = ("backward pass", "clipping of the gradient", "optimiser")


@dataclass(frozen=True, kw_only=True)
class TrainCost(Compared):
    """A training step on made-up images from random weights: losses, gradients, clipping, optimiser.

    Args:
        lengths: "full" or "typical" (see `core.bench.words`).
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
        with autocast(images.device, precision):
            tokens = model.towers.encode_image(images)  # B M D
        if tokens.requires_grad:
            tokens.backward(torch.ones_like(tokens))
        model.zero_grad(set_to_none=True)

    return run


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


def training_steps(
    model: CLIP4STR,
    optimisation: Optimisation,
    precision: str,
    images: Tensor,
    words: list[list[str]],
    guesses: str,
    part: Callable[[str], AbstractContextManager] = nullcontext,
) -> Ready:
    """Whole steps on images B 3 H W, ready to be timed; the model learns, its learning rate does not change.

    Args:
        words: of every repeat, B each; a repeat also has its own orders.
        part: entered around each of AFTERWARDS by name, the losses being what is left.
    """
    optimiser = optimisation.optimiser(model)  # one for all: an optimiser's first step allocates its state
    optimisation.set_lr(optimiser, 0, 1)
    trained = [parameter for group in optimiser.param_groups for parameter in group["params"]]

    def run(repeat: int) -> None:
        with heard(model, words[repeat], guesses):
            with autocast(images.device, precision):
                losses = model(images, words[repeat], torch.Generator().manual_seed(repeat))
            with part(BACKWARD):
                losses.total.backward()
        with part(CLIPPING):
            torch.nn.utils.clip_grad_norm_(trained, optimisation.clip_grad_norm)
        with part(UPDATE):
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)

    return lambda repeat: partial(run, repeat)


def train_costs(
    row: str, scale: str, batches: list[int], lengths: str, guesses: str, repeats: int, precision: str
) -> Iterator[TrainCost]:
    """One cost a batch size, of a row under its own recipe but for the precision; every repeat has other words and orders.

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
        tower = floor_step(model, images, precision)
        steps = training_steps(model, optimisation, precision, images, words, guesses)
        tasks = {FLOOR: lambda repeat, tower=tower: tower, "train": steps}
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
            precision=name_of(precision),
            images_per_s=batch / cost.median_s,
            mean_letters=mean_letters([word for repeated in words for word in repeated]),
        )
