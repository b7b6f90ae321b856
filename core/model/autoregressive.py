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
from core.model.cuda_graphs import replayed, room_for
from core.model.decoder import Decoder
from core.model.permutations import content_mask, forward_ranks, query_mask
from core.model.tokenizer import Tokenizer
from core.model.transfer import on_host, rows_where, together, waiting_is_costly

STEPS_UNASKED = 4  # steps in a row on a GPU before it is asked whether all words have ended
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
        """The rows where `chosen` is true, b booleans, `count` of them true; on a GPU some finished ones too."""
        room = room_for(count, len(chosen), chosen.device)
        if room == len(chosen):
            return self
        places = rows_where(chosen, room)
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
        decode = decode_in_place if waiting_is_costly(keys.device) else decode_stepwise
        decode(decoder, words, tokenizer, logits)
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
        found, ids, certain, going, numbers, contexts = replayed(
            check, decoder, words.memory, words.ids, words.certain, settings=(tokenizer, width)
        )
        logits[words.rows, :width] = found  # what is not certain yet is written again by a later pass or step
        count, gain, longest = on_host(numbers)  # the pass's only wait
        if not count:
            return words._replace(rows=words.rows[:0])
        words = words._replace(ids=ids, certain=certain, contexts=contexts).select(going, int(count))
        if gain < STEPS_PER_PASS * count:
            return words
        width = outputs if waiting_is_costly(logits.device) else min(outputs, 1 + int(longest))


def check(
    decoder: Decoder, memory: list[KeysValues], ids: Tensor, known: Tensor, tokenizer: Tokenizer, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, list[KeysValues]]:
    """One pass over the first W outputs of guesses.

    Args:
        ids: b N.
        known: b, how many of them were certain before.

    Returns:
        Logits b W C; the ids b N that they mean, and how many are certain, b; which words go on, b; of those in one tensor
        the number, the outputs gained and the longest word; and the context's keys and values.
    """
    contexts: list[KeysValues] = []
    guessed = ids[:, :width]
    found = left_to_right(decoder, memory, guessed, tokenizer, contexts)  # b W C
    predicted = found.argmax(-1)  # b W
    # The first wrong output counts as certain: everything it has read was right.
    certain = 1 + (predicted != guessed).cumsum(1).eq(0).sum(1).clamp(max=width - 1)  # b
    ids = torch.cat([predicted, ids[:, width:]], 1)
    lengths = word_lengths(ids, tokenizer)
    going = (certain <= lengths) & (certain < decoder.max_outputs)
    numbers = together(going.sum(), ((certain - known) * going).sum(), (lengths * going).max())
    return found, ids, certain, going, numbers, contexts


def width_of(ids: Tensor, tokenizer: Tokenizer) -> int:
    """How many outputs a pass over ids B N must compute: to the longest word's end, or all where a GPU would be waited for."""
    outputs = ids.shape[1]
    return outputs if waiting_is_costly(ids.device) else min(outputs, 1 + int(word_lengths(ids, tokenizer).max()))


def decode_stepwise(decoder: Decoder, words: UnfinishedRows, tokenizer: Tokenizer, logits: Tensor) -> None:
    """Decode one output per step, from the first unverified one on; fills in `logits`.

    Finished words leave the batch whenever they are at least half of it.
    """
    start = int(words.certain.min())  # one position for all: words that are certain further on are read again, to the same
    words = words._replace(contexts=[layer.first(start) for layer in words.contexts])
    cache: list[KeysValues | None] = [*words.contexts] or [None] * len(decoder.layers)
    ids = words.ids[:, start - 1] if start else torch.full_like(words.rows, tokenizer.bos)
    ended = torch.zeros_like(words.rows, dtype=torch.bool)
    for position in range(start, decoder.max_outputs):
        found = decoder.step(ids, position, cache, words.memory)
        logits[words.rows, position] = found  # after a word's [E] too, until it leaves; the caller wipes that out
        ids = found.argmax(-1)
        ended |= ids == tokenizer.eos
        left = len(ended) - int(ended.sum())
        if not left:
            return
        if 2 * left <= len(ended):
            words = words._replace(contexts=cache).select(~ended, left)
            remaining = rows_where(~ended, left)
            cache, ids, ended = words.contexts, ids[remaining], ended[remaining]


def decode_in_place(decoder: Decoder, words: UnfinishedRows, tokenizer: Tokenizer, logits: Tensor) -> None:
    """`decode_stepwise` for a GPU: a few steps at once, in shapes that never change."""
    outputs = decoder.max_outputs
    ended = (words.certain > word_lengths(words.ids, tokenizer)) | (words.certain >= outputs)
    start = int(words.certain.masked_fill(ended, outputs).min())
    keys, heads = words.memory[0].keys, decoder.num_heads
    room = keys.new_zeros(len(keys), heads, outputs, keys.shape[-1])
    cache = [KeysValues(room.clone(), room.clone()) for _ in decoder.layers]
    for empty, context in zip(cache, words.contexts, strict=False):
        for place, tensor in zip(empty, context.first(start), strict=True):
            place[:, :, :start] = tensor
    ids = words.ids[:, start - 1] if start else torch.full_like(words.rows, tokenizer.bos)
    position = torch.full_like(words.rows[:1], start)
    for first in range(start, outputs, STEPS_UNASKED):
        found, ids, position, ended, cache, left = replayed(
            several_steps, decoder, words.memory, ids, position, ended, cache, settings=(tokenizer,)
        )
        logits[words.rows, first : first + STEPS_UNASKED] = found[:, : outputs - first]
        if first + STEPS_UNASKED < outputs and not on_host(left)[0]:
            return


def several_steps(
    decoder: Decoder,
    memory: list[KeysValues],
    ids: Tensor,
    position: Tensor,
    ended: Tensor,
    cache: list[KeysValues],
    tokenizer: Tokenizer,
) -> tuple[Tensor, Tensor, Tensor, Tensor, list[KeysValues], Tensor]:
    """S steps: their logits b S C; ids, position, ended and cache after them; and how many words have not ended."""
    logits, last = [], decoder.max_outputs - 1
    for _ in range(STEPS_UNASKED):
        found = decoder.step_in_place(ids, position, cache, memory)
        logits.append(found)
        ids = found.argmax(-1)
        ended = ended | (ids == tokenizer.eos)
        position = (position + 1).clamp(max=last)  # what comes after the last is not used
    return torch.stack(logits, 1), ids, position, ended, cache, together((~ended).sum())


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
