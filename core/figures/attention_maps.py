"""Attention rollout of an image tower over word images of every benchmark (Figure 2)."""

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.progress import track

from core import config
from core.data.benchmarks import benchmarks_of
from core.data.labels import PUBLISHED_RULES
from core.data.loading import open_lmdbs
from core.data.transforms import ToTensor
from core.errors import DataError, UnreadableImage, UserError
from core.figures.explain import ROLLOUT, class_attention, tower_record
from core.figures.maps import Maps, refuse_others
from core.model.towers import ClipTower
from core.runtime.compute import pick_device


@dataclass(frozen=True)
class Attention:
    """An image tower, and which images to compute its attention for.

    Args:
        normalisation: normalisation of images, as `ToTensor` takes it.
        images: number of images per benchmark; all if it has fewer.
        seed: seed of their choice.
    """

    tower: ClipTower
    normalisation: str
    images: int
    seed: int

    def __post_init__(self):
        if self.images < 1:
            raise UserError(f"Attention.images = {self.images}: at least one per benchmark is needed")


def choose(folder: Path, count: int, rng: np.random.Generator) -> list[tuple[dict, Image.Image]]:
    """Random images of a benchmark that can be decoded: a record (LMDB, index, label) and the image in RGB.

    Raises:
        DataError: no image can be decoded.
    """
    lmdbs = open_lmdbs(folder, *PUBLISHED_RULES)
    places = [(lmdb, sample) for lmdb in lmdbs for sample in lmdb.samples]
    chosen = []
    for number in rng.permutation(len(places)):
        lmdb, sample = places[number]
        try:
            image = lmdb.image(sample.index)
        except UnreadableImage:
            continue
        name = lmdb.path.relative_to(folder).as_posix()
        chosen.append(({"lmdb": name, "index": sample.index, "label": sample.label}, image))
        if len(chosen) == count:
            break
    if not chosen:
        raise DataError(f"{folder}: none of {len(places)} images can be decoded; copy or build the LMDB again")
    return chosen


def attend(plan: Attention, data: Path, scale: str) -> Maps:
    """Rollout maps of the chosen images of every benchmark below data/test."""
    tower = plan.tower.eval()
    device, transform = next(tower.parameters()).device, ToTensor(tower.image_size, plan.normalisation)
    images, maps, cases = [], [], []
    for name, folder in track(benchmarks_of(data).items(), "attending", transient=True):
        chosen = choose(folder, plan.images, np.random.default_rng([plan.seed, *name.encode()]))
        batch = torch.stack([transform(image) for _, image in chosen]).to(device)
        maps.append(class_attention(tower, batch).cpu().numpy())
        images += [np.asarray(image) for _, image in chosen]
        cases += [{"benchmark": name, **about} for about, _ in chosen]
    about = {
        "figure": "figure_2",
        "scale": scale,
        "method": ROLLOUT,
        "tower": tower_record(tower),
        "seed": plan.seed,
        "cases": cases,
    }
    return Maps(images, np.concatenate(maps), about)


def save_maps(options: argparse.Namespace) -> None:
    """Do what `core.figures.attention`'s options ask for: choose images, save their maps, print how many."""
    refuse_others(options.out)  # before a minute of work
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    plan = config.build(Attention, options.plan, options.scale, options.set)
    plan.tower.load_pretrained()
    plan.tower.to(pick_device())
    maps = attend(plan, options.data, options.scale)
    maps.save(options.out)
    print(f"{len(maps.images)} images of {len(benchmarks_of(options.data))} benchmarks; written to {options.out}")
