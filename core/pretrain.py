"""Pretrain the micro world's CLIP towers: contrastively, on rendered words and their captions, through open_clip.

    python -m core.pretrain ablations/micro/pretrain.gin ablations/micro/clip.safetensors

Half of the captions are the word ("table"), half its spelling ("t a b l e"): as web captions do, they say the same
thing in tokens that words share, which takes the loss off chance within 200 steps.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, track
from torch import Tensor

from core import config
from core.data.lexicon import lexicon
from core.data.micro import World
from core.data.transforms import ToTensor
from core.files import atomic_file
from core.model.towers import CaptionTokenizer, ClipTowers, encode_text, save_sparse
from core.optim import warmup_cosine

LARGEST_SCALE = np.log(100)  # CLIP's clamp of the logit scale


@dataclass(frozen=True)
class Pretraining:
    """Data, schedule and towers of one contrastive pretraining.

    Args:
        world: images are drawn as its training images are; its unseen words are never shown.
        towers: with random weights.
        lexicon_size: words captions are made of, the most frequent of CLIP's vocabulary.
        images: rendered once; `steps` of `batch` pass over them.
        spelled: share of captions that spell the word.
        normalisation: of the images.
    """

    world: World
    towers: ClipTowers
    lexicon_size: int
    images: int
    steps: int
    batch: int
    lr: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: float
    clip_grad_norm: float
    spelled: float
    normalisation: str
    seed: int

    def words(self) -> list[str]:
        """The lexicon without the words that the world keeps for testing."""
        world = self.world
        unseen = set(world.words()[1])
        return [w for w in lexicon(self.lexicon_size, world.min_letters, world.max_letters) if w not in unseen]


@dataclass(frozen=True)
class DrawSmall:
    """One image at the towers' size, for worker processes."""

    world: World
    words: list[str]
    image_size: tuple[int, int]

    def __call__(self, index: int) -> tuple[np.ndarray, str]:
        image, word = self.world.draw("pretrain", None, index, self.words)
        height, width = self.image_size
        return np.asarray(image.resize((width, height), 3)), word


def render_all(plan: Pretraining, words: list[str], workers: int) -> tuple[np.ndarray, list[str]]:
    """Grey images N H W (uint8) and their words."""
    draw = DrawSmall(plan.world, words, plan.towers.image_size)
    with get_context("fork").Pool(workers) as pool:
        drawn = pool.imap(draw, range(plan.images), chunksize=256)
        pairs = list(track(drawn, "rendering", total=plan.images))
    return np.stack([pixels for pixels, _ in pairs]), [word for _, word in pairs]


def embed_captions(towers: ClipTowers, ids: Tensor) -> Tensor:
    """The text at its [EOS] token, normalised: B L to B D."""
    return F.normalize(encode_text(towers, ids)[torch.arange(len(ids)), ids.argmax(1)], dim=-1)


def pretrain(plan: Pretraining, out: Path, workers: int) -> float:
    """Train the towers and write them; returns the in-batch accuracy over the last tenth of the steps."""
    words = plan.words()
    images, shown = render_all(plan, words, workers)
    by_word: dict[str, list[int]] = {}
    for position, word in enumerate(shown):
        by_word.setdefault(word, []).append(position)
    drawable = sorted(by_word)
    tokenize = CaptionTokenizer(plan.towers.context_length)
    transform = ToTensor(plan.towers.image_size, plan.normalisation)
    towers = plan.towers.train()
    optimiser = torch.optim.AdamW(towers.parameters(), lr=plan.lr, betas=plan.betas, eps=1e-6, weight_decay=plan.weight_decay)
    contrast, rng = ClipLoss(), np.random.default_rng(plan.seed)
    trained_rows, hits = set(), []
    columns = (TextColumn("pretraining"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    with Progress(*columns, TimeRemainingColumn()) as bar:
        shown_task = bar.add_task("pretrain", total=plan.steps, note="")
        for step in range(1, plan.steps + 1):
            chosen = [drawable[i] for i in rng.choice(len(drawable), plan.batch, replace=False)]
            pixels = images[[by_word[word][rng.integers(len(by_word[word]))] for word in chosen]]
            captions = [" ".join(word) if rng.random() < plan.spelled else word for word in chosen]
            ids = tokenize(captions)
            trained_rows.update(ids.unique().tolist())
            image_features = F.normalize(towers.encode_image(transform.batch(pixels))[:, 0], dim=-1)
            text_features = embed_captions(towers, ids)
            loss = contrast(image_features, text_features, towers.clip.logit_scale.exp())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(towers.parameters(), plan.clip_grad_norm)
            for group in optimiser.param_groups:
                group["lr"] = plan.lr * warmup_cosine(step - 1, plan.steps, plan.warmup)
            optimiser.step()
            with torch.no_grad():
                towers.clip.logit_scale.clamp_(0, LARGEST_SCALE)
                best = (image_features @ text_features.T).argmax(1)
            hits.append((best == torch.arange(plan.batch)).float().mean().item())
            recent = float(np.mean(hits[-100:]))
            bar.update(shown_task, completed=step, note=f"loss {loss.item():.3f}  in-batch accuracy {100 * recent:.1f} %")
            if step % 100 == 0 and not bar.console.is_terminal:
                print(f"step {step}: loss {loss.item():.3f}, in-batch accuracy {100 * recent:.1f} %", flush=True)
    with atomic_file(out) as partial:
        save_sparse(towers.clip, torch.tensor(sorted(trained_rows)), partial)
    return float(np.mean(hits[-max(1, plan.steps // 10) :]))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Pretrain the micro world's towers contrastively (22 minutes on two cores).")
    parser.add_argument("plan", help="gin file that binds pretrain.Pretraining, e.g. ablations/micro/pretrain.gin")
    parser.add_argument("out", type=Path, help="weights file to write (.safetensors)")
    parser.add_argument("--set", action="append", default=[], metavar="'NAME = value'", help="override a macro, repeatable")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads and rendering processes (default: all cores)")
    options = parser.parse_args(arguments)
    with config.user_errors():
        threads = options.threads or os.cpu_count() or 1
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        plan = config.build(Pretraining, options.plan, bindings=options.set)
        accuracy = pretrain(plan, options.out, threads)
        print(f"{options.out}: in-batch accuracy {100 * accuracy:.1f} % over the last tenth of {plan.steps} steps")


if __name__ == "__main__":
    main()
