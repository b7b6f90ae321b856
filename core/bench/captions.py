"""Time to turn the predictions of a training step into captions, against doing the same with strings, word by word.

The reference is how it is commonly done, and was here: Python strings of the characters, open_clip's tokenizer on each word
(its cleaning included), a tensor for each caption.
"""

import argparse
import random
from collections.abc import Callable, Iterator

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from core.bench.measure import Measurement, Ready, compare, report, take_turns
from core.bench.words import random_words, typical_lengths
from core.charset import CHARSET_36, CHARSET_94, MAX_LETTERS, reduce_text
from core.model.captions import CaptionReader, CaptionTokenizer
from core.model.tokenizer import Tokenizer
from core.runtime.compute import pick_device

CONTEXT = 16  # tokens, as at paper scale
OUTPUTS = MAX_LETTERS + 1
NOTE = "ours: arrays, as the model has captions made; reference: strings, open_clip's tokenizer word by word."


class StringCaptions:
    """Captions by strings and tensors, with a memory."""

    def __init__(self):
        self.tokenizer = SimpleTokenizer()
        self.forget()

    def forget(self) -> None:
        self.known: dict[str, Tensor] = {}
        self.tokenizer.cache.clear()

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids M N to tokens of the distinct captions and M rows."""
        captions = []
        for row in ids.tolist():
            letters = []
            for token in row:
                if not token:
                    break
                letters.append(CHARSET_94[token - 1])
            captions.append(reduce_text("".join(letters), CHARSET_36))
        distinct = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        for caption in distinct.keys() - self.known.keys():
            self.known[caption] = self.tokenizer(caption, CONTEXT)[0]
        tokens = torch.stack([self.known[caption] for caption in distinct]).to(ids.device)
        return tokens, torch.tensor([distinct[caption] for caption in captions], device=ids.device)


class ArrayCaptions:
    """Captions as the model has them made."""

    def __init__(self):
        self.tokenizer = CaptionTokenizer(CONTEXT)
        self.reader = CaptionReader(Tokenizer(CHARSET_94), CHARSET_36, self.tokenizer)

    def forget(self) -> None:
        self.tokenizer.known.clear()

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(self.reader.finish(self.reader.begin(ids)))


def caption_costs(captions: int, repeats: int) -> Iterator[Measurement]:
    """Costs for distinct random words, new (cold) and cached (warm), of common lengths and of 25 letters."""
    device = torch.device(pick_device())
    for lengths in ("typical", str(MAX_LETTERS)):
        drawn = [ids_of(words_of(lengths, captions, repeat)).to(device) for repeat in range(repeats)]
        for memory in ("cold", "warm"):
            tasks = {maker: captioning(maker(), drawn, memory) for maker in (StringCaptions, ArrayCaptions)}
            measured = take_turns(tasks, repeats, device, f"{captions} captions, {lengths}, {memory}")
            details = {"captions": captions, "lengths": lengths, "memory": memory}
            yield compare("captions", measured[ArrayCaptions], measured[StringCaptions], device, details)


def captioning(maker: StringCaptions | ArrayCaptions, drawn: list[Tensor], memory: str) -> Ready:
    """A task for `take_turns`: the captions of a round's words, which are cached already if the cache is warm."""

    def ready(repeat: int) -> Callable[[], object]:
        maker.forget()
        if memory == "warm":
            maker(drawn[repeat])
        return lambda: maker(drawn[repeat])

    return ready


def words_of(lengths: str, count: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return random_words(typical_lengths(count, rng) if lengths == "typical" else [MAX_LETTERS] * count, rng)


def ids_of(words: list[str]) -> Tensor:
    """The ids that a branch would have predicted for the words, with [E] after them: M N."""
    tokenizer = Tokenizer(CHARSET_94)
    ids = tokenizer.encode(words)[:, 1:]
    ids = torch.nn.functional.pad(ids, (0, OUTPUTS - ids.shape[1]), value=tokenizer.eos)
    return ids.masked_fill(ids == tokenizer.pad, tokenizer.eos)


def run(options: argparse.Namespace) -> None:
    report(caption_costs(options.captions, options.repeats), "Captions", NOTE, options.json)
