"""Zero-shot classification of a picture with words stuck on it, with probabilities and Grad-CAM maps (Figure 1).

B batch, C candidates, D joint width.
"""

import argparse
import os
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from core import config
from core.data.images import read_image_file
from core.data.render.stickers import VARIANTS, Sticker, draw_picture, fit_picture
from core.data.transforms import ToTensor
from core.errors import UserError
from core.figures.explain import GRAD_CAM, grad_cam, tower_record
from core.figures.maps import Maps, refuse_others
from core.model.byte_pairs import byte_pairs
from core.model.captions import CaptionTokenizer
from core.model.memory import eos_token
from core.model.towers import ClipTowers
from core.runtime.compute import pick_device


@dataclass(frozen=True)
class ZeroShot:
    """A picture without a sticker, then with each word on it in every variant, classified among candidate words.

    Args:
        candidates: the classes, as words.
        prompts: captions of a word, with {word} or {letters} (spaced) for it; their features are averaged.
        stickers: candidates that are stuck on the picture.
        symbol: character that the drawn picture shows.
        symbol_of: name of what the symbol depicts, for the record.
        canvas: height and width of the picture in pixels, before the tower's own resizing.
        normalisation: normalisation of images, as `ToTensor` takes it.
    """

    towers: ClipTowers
    normalisation: str
    candidates: tuple[str, ...]
    prompts: tuple[str, ...]
    stickers: tuple[str, ...]
    sticker: Sticker
    symbol: str
    symbol_of: str
    canvas: tuple[int, int]
    seed: int

    def __post_init__(self):
        for name in ("candidates", "prompts", "stickers"):
            given = getattr(self, name)
            if isinstance(given, str) or not given or len(set(given)) < len(given):
                raise UserError(f"ZeroShot.{name} = {given!r}: expected one or more texts, each once, like ('cat', 'dog')")
        for word in self.stickers:
            if word not in self.candidates:
                raise UserError(f"ZeroShot: {word!r} is not one of the candidates {', '.join(self.candidates)}; add it there")
        for prompt in self.prompts:
            if "{word}" not in prompt and "{letters}" not in prompt:
                raise UserError(f"ZeroShot.prompts: {prompt!r} names no word; write {{word}} or {{letters}} in it")

    def captions(self, word: str) -> list[str]:
        """Every prompt with the word filled in."""
        return [prompt.replace("{word}", word).replace("{letters}", " ".join(word)) for prompt in self.prompts]

    def cases(self) -> list[dict]:
        """The cases in order: the picture alone, then each word in every variant."""
        return [{"word": None, "variant": "none"}] + [{"word": w, "variant": v} for w in self.stickers for v in VARIANTS]

    def draw(self, picture: Image.Image, case: dict) -> Image.Image:
        """The picture of a case; a word is at the same place in every variant."""
        if case["word"] is None:
            return picture
        rng = np.random.default_rng([self.seed, 1 + self.stickers.index(case["word"])])
        return self.sticker.put(picture, case["word"], case["variant"], rng)


@torch.no_grad()
def text_features(plan: ZeroShot) -> Tensor:
    """Unit features of the candidates, averaged over their captions as CLIP averages prompts: C D.

    Raises:
        UserError: a caption has more tokens than the text tower's context.
    """
    towers, tokenize = plan.towers, CaptionTokenizer(plan.towers.context_length)
    captions = [caption for word in plan.candidates for caption in plan.captions(word)]
    ids = tokenize(captions).to(towers.clip.logit_scale.device)
    if tokenize.truncated:
        longest = max(captions, key=lambda caption: len(byte_pairs().encode(caption.encode())))
        raise UserError(f"caption {longest!r} is cut at CONTEXT_LENGTH = {towers.context_length}; shorten it or raise that")
    features = F.normalize(eos_token(towers, ids)[:, 0], dim=-1)
    return F.normalize(features.unflatten(0, (len(plan.candidates), -1)).mean(1), dim=-1)


def classify(towers: ClipTowers, images: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities of the candidates (B C), and Grad-CAM for each image's most probable one (B rows columns).

    Args:
        images: B 3 H W.
        texts: unit features of the candidates: C D.
    """
    with torch.no_grad():
        features = F.normalize(towers.encode_image(images)[:, 0], dim=-1)
        probabilities = (towers.clip.logit_scale.exp() * features @ texts.T).softmax(-1)
    return probabilities, grad_cam(towers, images, texts[probabilities.argmax(-1)])


def zero_shot(plan: ZeroShot, picture: Image.Image | None, scale: str) -> Maps:
    """Classify every case.

    Args:
        picture: the stickers go on it; None draws one.
        scale: for the record.
    """
    towers, cases = plan.towers.eval(), plan.cases()
    if picture is None:
        base = draw_picture(plan.symbol, plan.canvas, np.random.default_rng([plan.seed, 0]))
    else:
        base = fit_picture(picture, plan.canvas)
    images = [plan.draw(base, case) for case in cases]
    transform, device = ToTensor(towers.image_size, plan.normalisation), towers.clip.logit_scale.device
    batch = torch.stack([transform(image) for image in images]).to(device)
    probabilities, maps = classify(towers, batch, text_features(plan))
    for case, best in zip(cases, probabilities.argmax(-1).tolist(), strict=True):
        case |= {"predicted": plan.candidates[best]}
    about = {
        "figure": "figure_1",
        "scale": scale,
        "method": GRAD_CAM,
        "tower": tower_record(towers),
        "seed": plan.seed,
        "candidates": list(plan.candidates),
        "captions": {word: plan.captions(word) for word in plan.candidates},
        "picture_of": plan.symbol_of if picture is None else None,
        "stickers_read": sum(case["word"] == case["predicted"] for case in cases),
        "stickers": len(cases) - 1,
        "cases": cases,
    }
    pixels = [np.asarray(image) for image in images]
    return Maps(pixels, maps.cpu().numpy(), about, {"probabilities": probabilities.cpu().numpy()})


def save_maps(options: argparse.Namespace) -> None:
    """Do what `core.figures.zero_shot`'s options ask for: classify, save the maps, print the predictions."""
    refuse_others(options.out)  # before a minute of work
    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    torch.manual_seed(0)  # for token embeddings that the weights file lacks
    picture = read_image_file(options.image) if options.image else None
    plan = config.build(ZeroShot, options.plan, options.scale, options.set)
    plan.towers.load_pretrained()
    plan.towers.to(pick_device())
    maps = zero_shot(plan, picture, options.scale)
    maps.save(options.out)
    for case in maps.about["cases"]:
        print(f"{case['word'] or '(no sticker)':12} {case['variant']:10} -> {case['predicted']}")
    print(f"{maps.about['stickers_read']} of {maps.about['stickers']} stickers read; written to {options.out}")
