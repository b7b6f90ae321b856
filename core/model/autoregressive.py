"""Greedy left-to-right decoding, equal to Algorithm 1 up to rounding, in a few passes instead of one step per character.

Output i depends only on earlier characters, so one masked pass over a guess verifies it up to the first error: accept that
prefix, take the pass's predictions for the rest, repeat (parallel decoding as in Stern et al. 2018 and Santilli et al. 2023).
A right guess costs one pass. Where guesses keep failing, the rest is decoded one character per step.

B batch, b unfinished words, N outputs, W of them computed in a pass, C classes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from core.model.attention import KeysValues
from core.model.decoder import Decoder
from core.model.permutations import content_mask, forward_ranks, query_mask
from core.model.tokenizer import Tokenizer
from core.model.transfer import on_host, rows_where, waiting_is_dear

STEPS_UNASKED = 3  # steps in a row on a GPU without asking it whether all words have ended
STEPS_PER_PASS = 4  # letters that a pass must bring, or single steps are taken; decides time alone


class UnfinishedRows(NamedTuple):
    """The words of a batch whose end has not been decoded yet.

    Args:
        rows: b, their places in the batch.
        ids: b N, the verified ids and, after them, the next guess.
        certain: b, how many outputs are verified.
        memory: keys and values of what the decoder reads, per layer.
        contexts: keys and values of the context, per layer, for as many characters as the last pass had.
    """

    rows: Tensor
    ids: Tensor
    certain: Tensor
    memory: list[KeysValues]
    contexts: list[KeysValues]

    def select(self, chosen: Tensor, count: int) -> "UnfinishedRows":
        """The rows where `chosen` is true: b booleans, `count` of them true."""
        if count == len(chosen):
            return self
        places = rows_where(chosen, count)
        memory, contexts = ([layer.take(places) for layer in layers] for layers in (self.memory, self.contexts))
        return UnfinishedRows(self.rows[places], self.ids[places], self.certain[places], memory, contexts)


def autoregressive(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer, guess: Tensor | None) -> Tensor:
    """Lines 3-7 and 9-13 of Algorithm 1: logits B N C, zero after a word's [E].

    Args:
        guess: a guess of the result, ids B N, or None. It changes only the time, never the result.
    """
    keys = memory[0].keys
    logits = keys.new_zeros(len(keys), decoder.max_outputs, decoder.num_classes)
    rows = torch.arange(len(keys), device=keys.device)
    if guess is None:
        guess = torch.full(logits.shape[:2], tokenizer.bos, device=keys.device)
        words = UnfinishedRows(rows, guess, torch.zeros_like(rows), memory, [])
    else:
        words = verify(decoder, UnfinishedRows(rows, guess.clone(), torch.zeros_like(rows), memory, []), tokenizer, logits)
    if len(words.rows):
        decode_stepwise(decoder, words, tokenizer, logits)
    return zero_after_eos(logits, decoder.max_outputs, tokenizer)


def zero_after_eos(logits: Tensor, outputs: int, tokenizer: Tokenizer) -> Tensor:
    """Set logits to zero after every word's first [E], and pad with zeros to the number of outputs: B W C to B N C."""
    after = torch.arange(logits.shape[1], device=logits.device) > word_lengths(logits.argmax(-1), tokenizer)[:, None]
    return F.pad(logits.masked_fill(after[..., None], 0), (0, 0, 0, outputs - logits.shape[1]))


def word_lengths(ids: Tensor, tokenizer: Tokenizer) -> Tensor:
    """How many outputs come before the first [E]: B N to B."""
    return (ids == tokenizer.eos).cumsum(1).eq(0).sum(1)


def verify(decoder: Decoder, words: UnfinishedRows, tokenizer: Tokenizer, logits: Tensor) -> UnfinishedRows:
    """Verify and correct guesses as long as that is faster than steps; fills in `logits` and returns the unfinished words."""
    outputs = decoder.max_outputs
    width = width_of(words.ids, tokenizer)
    while True:
        contexts: list[KeysValues] = []
        guessed = words.ids[:, :width]
        found = left_to_right(decoder, words.memory, guessed, tokenizer, contexts)  # b W C
        predicted = found.argmax(-1)  # b W
        # The first wrong output counts as certain: everything it has read was right.
        certain = 1 + (predicted != guessed).cumsum(1).eq(0).sum(1).clamp(max=width - 1)  # b
        gained = certain - words.certain
        words.ids[:, :width] = predicted  # after the comparison: `guessed` is a view of it
        logits[words.rows, :width] = found  # what is not certain yet is written again by a later pass or step
        lengths = word_lengths(words.ids, tokenizer)
        going = (certain <= lengths) & (certain < outputs)
        count, gain, longest = on_host(going.sum(), (gained * going).sum(), (lengths * going).max())  # the pass's only wait
        words = words._replace(certain=certain, contexts=contexts).select(going, int(count))
        if not count or gain < STEPS_PER_PASS * count:
            return words
        width = outputs if waiting_is_dear(logits.device) else min(outputs, 1 + int(longest))


def width_of(ids: Tensor, tokenizer: Tokenizer) -> int:
    """How many outputs a pass over ids B N must compute: to the longest word's end, or all where a GPU would be waited for."""
    outputs = ids.shape[1]
    return outputs if waiting_is_dear(ids.device) else min(outputs, 1 + int(word_lengths(ids, tokenizer).max()))


def decode_stepwise(decoder: Decoder, words: UnfinishedRows, tokenizer: Tokenizer, logits: Tensor) -> None:
    """Decode one output per step, from the first unverified one on; fills in `logits`.

    Finished words leave the batch whenever they are at least half of it.
    """
    start = int(words.certain.min())  # one position for all: words that are certain further on are read again, to the same
    words = words._replace(contexts=[layer.first(start) for layer in words.contexts])
    cache: list[KeysValues | None] = [*words.contexts] or [None] * len(decoder.layers)
    ids = words.ids[:, start - 1] if start else torch.full_like(words.rows, tokenizer.bos)
    ended = torch.zeros_like(words.rows, dtype=torch.bool)
    unasked = STEPS_UNASKED if waiting_is_dear(logits.device) else 0
    for position in range(start, decoder.max_outputs):
        found = decoder.step(ids, position, cache, words.memory)
        logits[words.rows, position] = found  # after a word's [E] too, until it leaves; the caller wipes that out
        ids = found.argmax(-1)
        ended |= ids == tokenizer.eos
        if (position - start) % (1 + unasked) < unasked:
            continue
        left = len(ended) - int(ended.sum())
        if not left:
            return
        if 2 * left <= len(ended):
            words = words._replace(contexts=cache).select(~ended, left)
            remaining = rows_where(~ended, left)
            cache, ids, ended = words.contexts, ids[remaining], ended[remaining]


def left_to_right(
    decoder: Decoder, memory: list[KeysValues], ids: Tensor, tokenizer: Tokenizer, contexts: list[KeysValues] | None = None
) -> Tensor:
    """All outputs in one pass, each attending to the given characters before it: ids B W of the outputs to logits B W C.

    Args:
        contexts: a list that receives every layer's keys and values of the context.
    """
    bos = torch.full_like(ids[:, :1], tokenizer.bos)
    ranks = forward_ranks(ids.shape[1], ids.device)
    return decoder(torch.cat([bos, ids[:, :-1]], 1), memory, query_mask(ranks), content_mask(ranks), contexts=contexts)
