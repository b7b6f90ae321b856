"""What it takes to turn a step's predictions into captions, against the same by strings, one word after the other.

The floor is how it is commonly done, and was here: Python strings of the characters, open_clip's tokenizer on each word (its
cleaning included), a tensor for each caption.
"""

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from open_clip.tokenizer import SimpleTokenizer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from core.bench.timing import Compared, Ready, compared, take_turns
from core.bench.words import random_words, typical_lengths
from core.charset import CHARSET_36, CHARSET_94, reduce_text
from core.model.captions import CaptionReader, CaptionTokenizer
from core.model.tokenizer import Tokenizer

CONTEXT = 16  # tokens, as at paper scale
OUTPUTS = 26
LONGEST = 25  # letters


@dataclass(frozen=True, kw_only=True)
class CaptionCost(Compared):
    """Captions of distinct random words; the floor is the plain way, so a ratio below 1 is faster.

    Args:
        lengths: "typical" (see `core.bench.words`) or "25".
        memory: "cold" or "warm".
    """

    what: str = "captions"
    captions: int
    lengths: str
    memory: str


class Plainly:
    """Captions by strings and tensors, with a memory."""

    def __init__(self):
        self.letters, self.tokenizer = CHARSET_94, SimpleTokenizer()
        self.forget()

    def forget(self) -> None:
        self.known: dict[str, Tensor] = {}
        self.tokenizer.cache.clear()

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Ids M N to tokens of the distinct captions and M rows."""
        captions = [reduce_text(self.word(row), CHARSET_36) for row in ids.tolist()]
        distinct = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        tokens = torch.stack([self.tokens(caption) for caption in distinct]).to(ids.device)
        return tokens, torch.tensor([distinct[caption] for caption in captions], device=ids.device)

    def word(self, row: list[int]) -> str:
        letters = []
        for token in row:
            if not token:
                break
            letters.append(self.letters[token - 1])
        return "".join(letters)

    def tokens(self, caption: str) -> Tensor:
        if caption not in self.known:
            self.known[caption] = self.tokenizer(caption, CONTEXT)[0]
        return self.known[caption]


class InArrays:
    """Captions as the model has them made."""

    def __init__(self):
        self.tokenizer = CaptionTokenizer(CONTEXT)
        self.reader = CaptionReader(Tokenizer(CHARSET_94), CHARSET_36, self.tokenizer)

    def forget(self) -> None:
        self.tokenizer.known.clear()

    def __call__(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(self.reader.finish(self.reader.begin(ids)))


def caption_costs(captions: int, repeats: int) -> list[CaptionCost]:
    """Cold and warm, at common lengths and at 25 letters; every repeat has other words."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    costs = []
    for lengths in ("typical", str(LONGEST)):
        drawn = [ids_of(words_of(lengths, captions, repeat)).to(device) for repeat in range(repeats)]
        for memory in ("cold", "warm"):
            tasks = {maker: ready(maker(), drawn, memory) for maker in (Plainly, InArrays)}
            measured = take_turns(tasks, repeats, device, f"{captions} captions, {lengths}, {memory}")
            cost = compared(measured[InArrays], measured[Plainly], device)
            costs.append(CaptionCost(**vars(cost), captions=captions, lengths=lengths, memory=memory))
    return costs


def ready(maker: Callable[[Tensor], tuple[Tensor, Tensor]], drawn: list[Tensor], memory: str) -> Ready:
    def prepare(repeat: int) -> Callable[[], object]:
        maker.forget()
        if memory == "warm":
            maker(drawn[repeat])
        return lambda: maker(drawn[repeat])

    return prepare


def words_of(lengths: str, count: int, seed: int) -> list[str]:
    if lengths == "typical":
        return random_words(typical_lengths(count, random.Random(seed)), seed)
    return random_words([LONGEST] * count, seed)


def ids_of(words: list[str]) -> Tensor:
    """What a branch would have predicted: the words' ids, [E] after them, M N."""
    tokenizer = Tokenizer(CHARSET_94)
    ids = tokenizer.encode(words)[:, 1:]
    ids = torch.nn.functional.pad(ids, (0, OUTPUTS - ids.shape[1]), value=tokenizer.eos)
    return ids.masked_fill(ids == tokenizer.pad, tokenizer.eos)


def run(options: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    costs = caption_costs(options.captions, options.repeats)
    if options.json:
        for cost in costs:
            print(json.dumps(asdict(cost)))
        return
    table = Table("letters", "memory", "strings", "arrays", "ratio", "range", title=f"{options.captions} captions, ms")
    for cost in costs:
        milliseconds = (f"{1000 * seconds:.2f}" for seconds in (cost.floor_low_s, cost.low_s))
        table.add_row(
            cost.lengths, cost.memory, *milliseconds, f"{cost.ratio:.3f}", f"{cost.ratio_low:.3f}-{cost.ratio_high:.3f}"
        )
    Console().print(table)
    Console().print(
        f"strings: open_clip's tokenizer word by word; arrays: this code. Least of {costs[0].repeats} repeats in turns, "
        f"{costs[0].device}, one thread; ratio: median of neighbours."
    )
