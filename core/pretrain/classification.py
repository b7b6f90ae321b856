"""Classification pretraining of an image tower: pictures with a class, and words in them that mislead (section V-C)."""

from functools import partial
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from core.data.render.fractals import Fractals
from core.model.towers import ClipImageTower
from core.weights.tensor_file import save_tensors


class Classification:
    """A linear classifier reads the tower's [CLASS] token.

    Args:
        pictures: what is shown.
        tower: with random weights.
    """

    def __init__(self, pictures: Fractals, tower: ClipImageTower):
        self.tower = tower
        self.draw = partial(pictures.draw, words=pictures.world.words()[0])
        self.image_size = tower.image_size
        self.head = nn.Linear(tower.embed_dim, pictures.classes)
        self.network = nn.ModuleList([tower, self.head])

    def choose(self, labels: list[int], batch: int, rng: np.random.Generator) -> list[int]:
        """Any pictures, none twice."""
        return rng.choice(len(labels), batch, replace=False).tolist()

    def loss(self, images: Tensor, classes: list[int], rng: np.random.Generator) -> tuple[Tensor, float]:
        """Cross-entropy of images B 3 H W, and the accuracy on them."""
        logits = self.head(self.tower.encode_image(images)[:, 0]).float()
        targets = logits.new_tensor(classes).long()
        return F.cross_entropy(logits, targets), (logits.argmax(1) == targets).float().mean().item()

    def save(self, path: Path, metadata: dict[str, str] | None) -> None:
        """The tower alone, in half precision; the classifier is not kept."""
        tensors = self.tower.visual.state_dict(prefix="visual.")
        save_tensors({name: tensor.half().contiguous() for name, tensor in tensors.items()}, path, metadata)
