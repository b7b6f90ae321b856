"""From an image to the image tower's input: resize, scale, normalise.

Pixels stay uint8 until they are on the device: a quarter of the bytes to copy, and the device normalises at no cost.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from core.choices import NORMALISATIONS
from core.errors import UserError


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
            raise UserError(f"normalisation {self.normalisation!r}: expected one of {', '.join(NORMALISATIONS)}")

    def __call__(self, image: Image.Image) -> Tensor:
        return normalise(self.pixels(image)[None], self.normalisation)[0]  # 3 H W

    def pixels(self, image: Image.Image) -> Tensor:
        """The resized image as it is copied to the device: 3 H W, uint8, stored H W 3 in memory."""
        height, width = self.image_size
        return as_pixels(image.resize((width, height), Image.Resampling.BICUBIC))

    def batch(self, pixels: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
        """Grey images B H W or RGB ones B H W 3 (uint8) of the right size, to normalised B 3 H W on `device`.

        For pretraining: towers were made with it. It divides by 255 first, so its last bits may differ from `normalise`.
        """
        whole = torch.from_numpy(pixels).to(device).float() / 255
        levels = whole[:, None] if whole.dim() == 3 else whole.permute(0, 3, 1, 2)
        mean, std = (torch.tensor(values, device=device)[:, None, None] for values in NORMALISATIONS[self.normalisation])
        return (levels - mean) / std


def as_pixels(image: Image.Image) -> Tensor:
    """An RGB image as a uint8 tensor, 3 H W."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def normalise(pixels: Tensor, normalisation: str, device: torch.device | str = "cpu") -> Tensor:
    """Pixels B 3 H W, uint8, to normalised float32 on `device`: of all words that are trained on, scored or read.

    Args:
        pixels: a tensor in any memory order; the result is contiguous.
    """
    mean, std = constants(normalisation, torch.device(device))
    whole = pixels.to(device, non_blocking=True)
    return whole.to(torch.float32, memory_format=torch.contiguous_format).sub_(mean).div_(std)


@lru_cache(maxsize=16)
def constants(normalisation: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation on a 0-255 scale, 3 1 1; cached, since a copy to a GPU waits for its work to end."""
    mean, std = (255 * torch.tensor(values, dtype=torch.float32) for values in NORMALISATIONS[normalisation])
    return mean.to(device)[:, None, None], std.to(device)[:, None, None]
