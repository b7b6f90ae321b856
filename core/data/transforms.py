"""From an image to what the image tower takes: resize, scale, normalise."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

NORMALISATIONS = {  # name: mean and standard deviation of the three channels, on a 0-1 scale
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # what the released evaluation code does
}


@dataclass(frozen=True)
class ToTensor:
    """Bicubic to `image_size` (height, width), whatever the aspect ratio, then a normalised 3 H W float tensor.

    Args:
        normalisation: "clip", as the towers were trained, or "half", as the released test loader does.
    """

    image_size: tuple[int, int]
    normalisation: str

    def __post_init__(self):
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation {self.normalisation!r}: expected one of {', '.join(NORMALISATIONS)}")

    def __call__(self, image: Image.Image) -> Tensor:
        height, width = self.image_size
        pixels = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        mean, std = (np.array(values, dtype=np.float32) * 255 for values in NORMALISATIONS[self.normalisation])
        return torch.from_numpy(np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1)))

    def batch(self, pixels: np.ndarray) -> Tensor:
        """Grey images B H W (uint8) that have the right size already, to normalised B 3 H W."""
        grey = torch.from_numpy(pixels).float()[:, None] / 255
        mean, std = (torch.tensor(values)[:, None, None] for values in NORMALISATIONS[self.normalisation])
        return (grey - mean) / std
