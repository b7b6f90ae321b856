"""Captions for text towers whose tokenizer is not CLIP's: a vocabulary in files, from the Hugging Face hub or a folder here."""

import contextlib
from functools import cached_property
from pathlib import Path

import numpy as np
from open_clip.tokenizer import HFTokenizer
from torch import Tensor

from core.errors import UserError, one_line
from core.files import in_repository
from core.model.captions import CaptionTokenizer
from core.weights.hub import fetch_file, is_cached

NEEDED = (
    ("tokenizer_config.json",),
    ("tokenizer.json", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "vocab.txt"),
)
USED = ("special_tokens_map.json", "added_tokens.json")  # where a repository has them
SETTINGS = {"clean", "strip_sep_token"}  # of an architecture's tokenizer_kwargs


class HubTokenizer(CaptionTokenizer):
    """A tokenizer as open_clip uses it, with the cleaning, padding and ends that a model was trained with.

    Its files are read when the first caption comes, or by `prepare`, so that a model can be built and counted without them.

    Args:
        text_cfg: of the architecture: the name of the tokenizer on the hub and how it is used.
        folder: where its files are; None takes those of the hub, downloaded once.
        arch: for errors.
    """

    dtype = np.uint32

    def __init__(self, context_length: int, text_cfg: dict, folder: str | None, arch: str | dict):
        super().__init__(context_length)
        self.text_cfg, self.folder = text_cfg, folder
        self.owner = arch if isinstance(arch, str) else "the architecture"
        self.name = text_cfg["hf_tokenizer_name"]

    @cached_property
    def tokenizer(self) -> HFTokenizer:
        """open_clip's tokenizer.

        Raises:
            UserError: its files are neither here nor can they be downloaded, or they are not those of a tokenizer.
        """
        if self.folder is not None and not in_repository(self.folder).is_dir():
            raise UserError(f"OpenClipTowers.tokenizer = {self.folder!r}: there is no such folder; {self.fix}")
        settings = dict(self.text_cfg.get("tokenizer_kwargs") or {})
        if other := sorted(settings.keys() - SETTINGS):  # trust_remote_code would run a stranger's program
            raise UserError(f"{self.owner}: tokenizer_kwargs: {other[0]!r} is not one of {', '.join(sorted(SETTINGS))}")
        mode = self.text_cfg.get("tokenizer_mode")
        try:
            source = in_repository(self.folder) if self.folder is not None else fetch_tokenizer(self.name)
            return HFTokenizer(str(source), context_length=self.context_length, tokenizer_mode=mode, **settings)
        except UserError:
            raise
        except Exception as error:  # the hub's client and transformers raise many kinds, of which few say what is missing
            where = f"in {self.folder}" if self.folder is not None else f"{self.name} of the Hugging Face hub,"
            raise UserError(
                f"{self.owner} needs its own tokenizer: {where} cannot be read ({one_line(error)}); {self.fix}"
            ) from error

    @property
    def fix(self) -> str:
        return (
            f"where there is a network, run `hf download {self.name} --include '*token*' --local-dir FOLDER`, copy FOLDER "
            "here, and set OpenClipTowers.tokenizer = 'FOLDER'"
        )

    def prepare(self) -> None:
        """Read the files, so that what is missing is said before a training begins."""
        self.tokenizer  # noqa: B018 - cached

    def rows(self, captions: list[bytes]) -> Tensor:
        """Ids B L of captions in UTF-8; those that are not known are tokenized together, which is much faster."""
        new = [caption for caption in dict.fromkeys(captions) if caption not in self.known]
        if new:
            for caption, row in zip(new, self.tokenize_all(new), strict=True):
                self.remember(caption, row)
        return super().rows(captions)

    def tokenize(self, caption: bytes) -> bytes:
        return self.tokenize_all([caption])[0]

    def tokenize_all(self, captions: list[bytes]) -> list[bytes]:
        """The rows of captions, as the bytes of 32-bit numbers."""
        texts = [caption.decode() for caption in captions]
        ids = self.tokenizer(texts, self.context_length)  # B L
        whole = self.tokenizer.tokenizer([self.tokenizer.clean_fn(text) for text in texts]).input_ids
        self.truncated += sum(len(tokens) > self.context_length for tokens in whole)
        return [row.tobytes() for row in ids.numpy().astype(self.dtype)]


def fetch_tokenizer(repository: str) -> Path:
    """The folder of the hub client's cache with a tokenizer's files, downloaded once.

    Raises:
        Exception: of the hub's client, where they are neither in the cache nor can they be downloaded.
    """
    new = not is_cached(repository, NEEDED[0][0])
    folder = [fetch_file(repository, names).parent for names in NEEDED][0]
    for name in USED if new else ():
        with contextlib.suppress(Exception):  # most have none
            fetch_file(repository, [name])
    return folder
