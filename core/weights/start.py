"""A training that begins with the weights of another CLIP4STR (the START macro): what a model takes of it, and what it cannot.

A model takes the towers and decoders. Whatever the other one lacks begins as it would without START.
"""

from typing import NamedTuple

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn

from core import config
from core.errors import UserError
from core.files import file_digest, in_repository
from core.model.clip4str import CLIP4STR
from core.model.timm_tower import TimmTower
from core.model.timm_trunk import grid_of, resample_patches, resample_positions
from core.model.tokenizer import Tokenizer
from core.run_files import MODEL
from core.weights.checkpoint import load_model
from core.weights.pretrained import TrainedAt, first_difference, resample

KINDS = (
    "a released CLIP4STR checkpoint (.ckpt), a run directory, a model.safetensors beside its model.json, or a row's gin file"
)
ROW = ".gin"  # ends the name of a row, whose trained model is meant
BY_ID = ("head.weight", "head.bias", "context_embedding.weight")  # tensors of a decoder with one row per id of the tokenizer


class Taken(NamedTuple):
    """What a model began with, for people and for provenance.json.

    Args:
        start: as START names it.
        digest: of its model file.
        taken: weights that the model has from it.
        without: the model's other weights by what they belong to; they began as without START.
        unused: whether the start has a cross-modal branch, and the model has none.
    """

    start: str
    digest: str
    taken: int
    without: dict[str, int]
    unused: bool

    @property
    def text(self) -> str:
        """One line."""
        total = self.taken + sum(self.without.values())
        parts = [f"START {self.start}: {self.taken:,} of {total:,} weights are taken from it"]
        if self.without:
            parts.append("as without START begin " + ", ".join(f"{count:,} of {part}" for part, count in self.without.items()))
        if self.unused:
            parts.append("its cross-modal branch is not used")
        return "; ".join(parts)


def start_file(name: str) -> str:
    """The file with the weights of a start; paths count from the repository root."""
    return f"{name}/{MODEL}" if in_repository(name).is_dir() else name


class Start:
    """Another CLIP4STR, whose weights models begin with.

    Args:
        name: as START names it.
        model: it; on the meta device it can be compared with models, and fill none.
        digest: of its file.

    Raises:
        UserError: it was trained with an adapter that has weights of its own.
    """

    def __init__(self, name: str, model: CLIP4STR, digest: str = ""):
        self.name, self.model, self.digest = name, model, digest
        if model.adapter_names:
            raise UserError(
                f"START = {name!r} was trained with an adapter, {type(model.adapter).__name__}, which no model takes over; "
                "name a run without one"
            )

    @classmethod
    def read(cls, name: str) -> "Start":
        """The start of a file.

        Raises:
            UserError: it is not there, it is not a CLIP4STR, or as the class.
        """
        path = in_repository(start_file(name))
        if not path.is_file():
            raise UserError(
                f"START = {name!r}: {start_file(name)} does not exist (paths count from the repository root); name {KINDS}, or "
                "set START = None"
            )
        if name.endswith(ROW):
            raise UserError(f"START = {name!r} is a row: train it first, and give its run directory with --start")
        try:
            with config.set_aside():
                model = load_model(path)
        except UserError as error:
            raise UserError(f"START = {name!r}: {error}; name {KINDS}") from error
        return cls(name, model, file_digest(path))

    def fits(self, model: CLIP4STR) -> dict[str, Tensor]:
        """The tensors that a model takes, by `names_of` it, at its image size; those of BY_ID with the start's own ids.

        Args:
            model: without an adapter; its weights may be on the meta device.

        Raises:
            UserError: naming the first size in which the two differ.
        """
        both = self.has_both(model)
        here, there = sizes(model, both), sizes(self.model, both)
        for (what, knob), size in there.items():
            if here[what, knob] != size:
                fix = f"{knob} = {size}" if what == knob else f"{knob} to that of its towers"
                raise UserError(
                    f"START = {self.name!r} does not fit the model: its {what} is {size}, the model's {here[what, knob]}; set "
                    f"{fix}, or name another START"
                )
        tensors = at_size(names_of(self.model, both), model.towers, self.model.towers)
        expected = names_of(model, both)
        for name in tensors:
            if name.endswith(BY_ID):
                expected[name] = tensors[name]
        if different := first_difference(expected, tensors):
            raise UserError(
                f"START = {self.name!r} does not fit the model: {different}; set ARCH to that of its towers, or name another "
                "START"
            )
        return tensors

    def has_both(self, model: CLIP4STR) -> bool:
        """Whether the start and a model both have a cross-modal branch; otherwise only the visual one is taken."""
        return None not in (self.model.cross_decoder, model.cross_decoder)

    @torch.no_grad()
    def fill(self, model: CLIP4STR) -> Taken:
        """Copy into a model what it takes, before anything in it is frozen or adapted.

        Raises:
            UserError: as `fits`.
        """
        own = names_of(model, self.has_both(model))
        shared = shared_ids(model.tokenizer, self.model.tokenizer)
        unknown = 0
        for name, tensor in self.fits(model).items():
            if name.endswith(BY_ID):
                here, there = map(list, zip(*(pair for pair in shared if pair[0] < len(own[name])), strict=True))
                own[name][here] = tensor[there]
                unknown += own[name][0].numel() * (len(own[name]) - len(here))
            else:
                own[name].copy_(tensor)
        without = {"characters that it does not know": unknown}
        if model.cross_decoder is not None and not self.has_both(model):
            without |= {"the text tower": count(model.towers) - count(model.towers.visual)}
            without |= {"the cross decoder": count(model.cross_decoder)}
        return Taken(
            start=self.name,
            digest=self.digest,
            taken=count(model) - sum(without.values()),
            without={part: weights for part, weights in without.items() if weights},
            unused=model.cross_decoder is None and self.model.cross_decoder is not None,
        )


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sizes(model: CLIP4STR, both: bool) -> dict[tuple[str, str], object]:
    """Everything that must agree and that shapes of tensors do not tell well, or not at all: (what it is, the knob) to size.

    Args:
        both: whether the cross-modal branch counts.
    """
    towers, decoder = model.towers, model.visual_decoder
    kind = type(towers.trunk).__name__
    blocks = {"image tower": towers.image_layers().blocks}
    if both:
        blocks["text tower"] = towers.text_layers().blocks
    found: dict[tuple[str, str], object] = {
        ("image tower", "ARCH"): "CLIP's" if isinstance(towers.trunk, VisionTransformer) else f"timm's {kind}",
        ("activation", "ARCH"): "QuickGELU" if getattr(towers, "quick_gelu", False) else "GELU",
        ("joint width D", "ARCH"): towers.embed_dim,
    }
    for tower, own in blocks.items():
        found |= {(f"{tower}'s number of layers", "ARCH"): len(own)}
        found |= {(f"{tower}'s number of heads", "ARCH"): getattr(getattr(own[0], "attn", None), "num_heads", None)}
    knobs = {
        "DECODER_DEPTH": len(decoder.layers),
        "DECODER_HEADS": decoder.num_heads,
        "decoder.Decoder.mlp_ratio": decoder.layers[0].mlp[0].out_features / decoder.embed_dim,
        "clip4str.CLIP4STR.max_letters": model.max_letters,
    }
    return found | {(knob, knob): size for knob, size in knobs.items()}


def names_of(model: CLIP4STR, both: bool) -> dict[str, Tensor]:
    """A model's own tensors, of both branches or the visual one alone, by names that all CLIP towers share."""
    tensors = {name.replace("towers.clip.", "towers.", 1): tensor for name, tensor in model.state_dict().items()}
    if both:
        return tensors
    image = "towers.visual." if model.towers.text_layers() is not None else "towers."
    return {name: tensor for name, tensor in tensors.items() if name.startswith((image, "visual_decoder."))}


def at_size(tensors: dict[str, Tensor], here: nn.Module, there: nn.Module) -> dict[str, Tensor]:
    """Position and patch embeddings of an image tower `there` resampled to the image and patch size of `here`, of its kind."""
    image = {name.removeprefix("towers."): tensor for name, tensor in tensors.items() if name.startswith("towers.")}
    visual = there.trunk
    if isinstance(visual, VisionTransformer):
        resample(image, here.trunk, TrainedAt(tuple(visual.conv1.kernel_size), tuple(visual.grid_size)))
    else:
        prefix = "vit." if isinstance(there, TimmTower) else "visual.trunk."
        resample_patches(image, f"{prefix}patch_embed.proj.weight", here.trunk)
        resample_positions(image, f"{prefix}pos_embed", here.trunk, grid_of(visual))
    return tensors | {f"towers.{name}": tensor for name, tensor in image.items()}


def shared_ids(here: Tokenizer, there: Tokenizer) -> list[tuple[int, int]]:
    """The ids of what both tokenizers know: [E], the characters of both charsets, [B], [P]."""
    known = [character for character in here.charset if character in there.ids]
    return [
        (here.eos, there.eos),
        *((here.ids[character], there.ids[character]) for character in known),
        (here.bos, there.bos),
        (here.pad, there.pad),
    ]
