"""What one training run consists of: `Experiment`, a frozen dataclass that gin fills (sections III and IV-A)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch.utils._device import DeviceContext

from core import config
from core.charset import SUFFIX, check_charset, read_charset, reduce_text
from core.config.mistyped import spell_alike
from core.config.unread import own_names
from core.data.augment import RandAugment
from core.errors import ConfigError, UserError
from core.experiment.identity import training_identity
from core.experiment.optim import Optimisation
from core.experiment.protocol import Protocol
from core.files import in_repository, text_digest
from core.model.clip4str import CLIP4STR
from core.weights.made import weights_digest
from core.weights.start import KINDS, ROW, Start, start_file

CHARSETS = ("CLIP4STR.charset", "CLIP4STR.caption_charset", "Protocol.scoring_charset")  # arguments that name a file of one


@dataclass(frozen=True)
class Experiment:
    """A training run, without its data root, seed and output folder (those are given where it is started).

    Args:
        model: makes a CLIP4STR from `load_weights` (False: random weights, and no file is read) and `start`, see
            `core.model.clip4str.CLIP4STR`.
        start: a trained CLIP4STR whose weights the model begins with (`core.weights.start`); None for none.
        augment: applied to training images.
        normalisation: of training images, "clip", "half", "imagenet" or "unit".
        train_data: folders below DATA/train that the run learns from, together.
        train_images: how many of their images, drawn once and for all (the seed does not choose them); None: all.
        optimisation: optimiser, schedule, batch, precision.
    """

    model: Callable[..., CLIP4STR]
    start: str | None
    augment: RandAugment
    normalisation: str
    train_data: tuple[str, ...]
    train_images: int | None
    optimisation: Optimisation

    def __post_init__(self):
        folders = self.train_data if isinstance(self.train_data, tuple | list) else ()
        if not folders or not all(isinstance(name, str) and name for name in folders):
            raise UserError(f"TRAIN_DATA = {self.train_data!r}: expected folders below DATA/train, e.g. ('real',)")
        if not callable(self.augment):
            raise UserError(f"Experiment.augment = {self.augment!r}: expected a reference, like @augment.RandAugment()")
        if self.train_images is not None and (type(self.train_images) is not int or self.train_images < 1):
            raise UserError(f"TRAIN_IMAGES = {self.train_images!r}: expected a number of images, or None for all")
        if self.start is not None and (not isinstance(self.start, str) or not self.start):
            raise UserError(f"START = {self.start!r}: expected None, or {KINDS}")


@dataclass(frozen=True)
class Loaded:
    """A gin file, read: what it trains, how it is scored, and the text that says so.

    Args:
        training: gin text of everything that training reads, defaults included; equal for files that train the same.
        operative: `training` and the protocol.
        named: architecture, weights and the start's model file, as the gin file names them.
        files: digests of those that are files, so that other content under the same name is another run.
        blueprint: the model on the meta device, without memory for its weights, for counting.
        scale: one of ablations/scale/.
    """

    experiment: Experiment
    protocol: Protocol
    training: str
    operative: str
    named: list[str]
    files: str
    blueprint: CLIP4STR = field(repr=False, compare=False)
    scale: str = "micro"

    @property
    def identity(self) -> str:
        """Everything that decides what is trained, except data and seed."""
        return training_identity(self.training, self.files)

    @property
    def digest(self) -> str:
        return text_digest(self.identity)

    @property
    def start_row(self) -> str | None:
        """The gin file of the row that START names, if it names one."""
        start = self.experiment.start
        return start if start is not None and start.endswith(ROW) else None

    def starting_from(self, trained: str) -> "Loaded":
        """The same with a trained model in place of START, which may name the row that trains it."""
        named = [*self.named, start_file(trained)]
        return replace(self, experiment=replace(self.experiment, start=trained), named=named, files=weights_digest(named))

    def check_start(self, planned: bool = False) -> None:
        """Read the START, if there is one, and compare it with the model.

        Args:
            planned: it may be a row, whose model is built without weights.

        Raises:
            UserError: it cannot be read, or does not fit the model; one line that names the culprit and the fix.
        """
        if self.experiment.start is None:
            return
        with MetaDevice():  # without the adapter, which may replace layers of the towers, and comes after the start
            model = self.experiment.model(load_weights=False, adapter=None)
        start = self.start_of_row(self.start_row) if planned and self.start_row else Start.read(self.experiment.start)
        start.fits(model)

    def start_of_row(self, row: str) -> Start:
        """The model of a row as a start, without memory for its weights."""
        if not in_repository(row).is_file():
            raise UserError(f"START = {row!r} does not exist (paths count from the repository root); name {KINDS}")
        with config.set_aside():
            return Start(row, load(in_repository(row), self.scale).blueprint)


class MetaDevice(DeviceContext):
    """torch's meta device, with `torch.nn.init` disabled: there is nothing to fill, and trying takes time."""

    def __init__(self):
        super().__init__("meta")

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return super().__torch_function__(function, types, args, kwargs)


def charset_of(name: str, value: object) -> str:
    """The characters that a value of a gin file stands for: those of the file it names, or the value itself.

    A run's gin text has the characters, so that they are part of its identity, and its model is read without the file.

    Raises:
        UserError: it is neither; the message names the value, or the file and its line.
    """
    if isinstance(value, str) and value.endswith(SUFFIX):
        return read_charset(in_repository(value))
    check_charset(name, value)
    return value


def load(path: Path | str, scale: str = "micro", bindings: Sequence[str] = ()) -> Loaded:
    """Read a row's gin file, build everything in it once (the model without memory), raise an error for unused bindings.

    Raises:
        ConfigError: naming file and binding.
    """
    config.parse(path, scale, bindings)
    called = config.titled(path, bindings)
    config.construct_with(partial(config.replace_values, CHARSETS, charset_of), called)
    spell_alike()
    experiment = config.construct(Experiment, called)
    with MetaDevice():
        # both are given, as what gin fills in becomes part of the identity
        model = config.construct_with(partial(experiment.model, load_weights=False, start=None), called)
    training = config.operative()
    protocol = config.construct(Protocol, called)
    check_decoding(called, model, protocol)
    check_captions(called, model)
    refuse_idle(called, own_names(path, bindings), experiment, model)
    config.refuse_unread(path, bindings)
    config.refuse_mistyped(called)
    named = [str(model.towers.arch), str(model.towers.weights)]
    if experiment.start is not None and not experiment.start.endswith(ROW):
        named.append(start_file(experiment.start))
    experiment = replace(experiment, model=config.kept(experiment.model))
    return Loaded(experiment, protocol, training, config.operative(), named, weights_digest(named), model, scale)


def check_decoding(path: str, model: CLIP4STR, protocol: Protocol) -> None:
    """Raise ConfigError if a row's model cannot decode as its protocol says, or is never trained to."""
    if protocol.output == "cross" and model.cross_decoder is None:
        raise ConfigError(f"{path}: OUTPUT = 'cross', but the model has the visual branch alone; say 'visual'")
    if protocol.fast_cross and model.cross_decoder is None:
        raise ConfigError(f"{path}: FAST_CROSS = True changes nothing: the model has no cross-modal branch")
    check_contexts(path, model, protocol)


def check_contexts(path: Path | str, model: CLIP4STR, protocol: Protocol) -> None:
    """Raise ConfigError if decoding would read contexts that a model was never trained on."""
    if model.num_permutations > 1:
        return
    # Both read a character from those on both sides of it, or from none; left to right trains neither.
    untrained = f"{path}: PERMUTATIONS = 1 trains no context that"
    if protocol.refine_steps:
        raise ConfigError(f"{untrained} REFINE_STEPS = {protocol.refine_steps} reads; set REFINE_STEPS = 0")
    if protocol.decode == "cloze":
        raise ConfigError(f"{untrained} DECODE = 'cloze' reads; set DECODE = 'ar'")


def check_captions(path: str, model: CLIP4STR) -> None:
    """Raise ConfigError if captions would keep no letter of what the model writes: its text tower would read empty ones."""
    letters = [character for character in model.tokenizer.charset if character.isalpha()]
    if model.cross_decoder is None or not letters:
        return
    if not any(reduce_text(letter, model.caption_charset) for letter in letters):
        raise ConfigError(
            f"{path}: CAPTION_CHARSET has none of the letters of CHARSET ({''.join(letters[:8])} ...): captions would be "
            "empty; set CAPTION_CHARSET to a file that has them"
        )


def refuse_idle(path: str, own: Collection[str], experiment: Experiment, model: CLIP4STR) -> None:
    """Raise ConfigError for a knob that changes nothing here: it would train the same model again under another name.

    EPS and CAPTION_CHARSET are refused where the row itself or the command line sets them: a file that it includes may serve
    other rows too. A run's operative.gin sets everything, and so chooses nothing.

    Args:
        path: as messages call the gin file.
        own: what the gin file itself or the command line sets.
    """
    optimisation = experiment.optimisation
    if optimisation.adapter_rate == "towers" and not model.adapter_names:
        raise ConfigError(f"{path}: ADAPTER_RATE = 'towers' changes nothing: no adapter brings weights of its own")
    if "experiment.Experiment.model" in own:
        return
    if optimisation.algorithm == "SGD" and {"EPS", "optim.Optimisation.eps", "Optimisation.eps"} & {*own}:
        raise ConfigError(f"{path}: EPS = {optimisation.eps} changes nothing with ALGORITHM = 'SGD'; leave it out")
    if not model.block_image_gradient and not learns_from_images(model):
        raise ConfigError(f"{path}: BLOCK_IMAGE_GRADIENT = False changes nothing: no weight of the image tower is trained")
    if model.cross_decoder is None and "CAPTION_CHARSET" in own and "CHARSET" not in own:
        raise ConfigError(f"{path}: CAPTION_CHARSET changes nothing: the model has no cross-modal branch")


def learns_from_images(model: CLIP4STR) -> bool:
    """Whether a weight that the image memory depends on is trained; of a model on the meta device."""
    with MetaDevice():
        return model.image_memory(torch.zeros(1, 3, *model.towers.image_size)).requires_grad
