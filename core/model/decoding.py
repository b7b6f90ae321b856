"""From image and text memories to logits: Algorithm 1 (section III-C1) and Eq. (8).

B batch, N outputs, L context positions, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.choices import DECODE
from core.errors import UserError
from core.model.attention import KeysValues
from core.model.autoregressive import STEPS_PER_PASS, autoregressive, width_of, word_lengths, zero_after_eos
from core.model.cuda_graphs import replayed, room_for
from core.model.decoder import Decoder
from core.model.permutations import cloze_mask, content_mask, forward_ranks, query_mask
from core.model.tokenizer import Tokenizer
from core.model.transfer import on_host, rows_where, together, waiting_is_costly


@dataclass
class Prediction:
    """Logits B N C of both branches; `cross` fields are None where a model has no cross-modal branch.

    `visual_ar` and `cross_ar` are the first pass, `visual` and `cross` what refinement made of them.
    """

    visual: Tensor
    cross: Tensor | None
    visual_ar: Tensor
    cross_ar: Tensor | None

    @property
    def output(self) -> Tensor:
        """What Algorithm 1 returns: the cross-modal branch where there is one."""
        return self.visual if self.cross is None else self.cross


def nar_pass(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer) -> Tensor:
    """The non-autoregressive first pass ("Cloze" in Table IX): every output reads [B] alone."""
    keys = memory[0].keys
    return replayed(cloze, decoder, memory, torch.full((keys.shape[0], 1), tokenizer.bos, device=keys.device))


def cloze(decoder: Decoder, memory: list[KeysValues], ids: Tensor) -> Tensor:
    """Logits B N C after the ids B 1 of [B]."""
    allowed = torch.ones(decoder.max_outputs, 1, dtype=torch.bool, device=ids.device)  # N 1
    return decoder(ids, memory, allowed, torch.ones(1, 1, dtype=torch.bool, device=ids.device))


def context_of(predicted: Tensor, tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """Predicted ids B N as context: [B] y1 ... yN-1 (B L), and which may be read (nothing from the first [E] on)."""
    ids = torch.cat([torch.full_like(predicted[:, :1], tokenizer.bos), predicted[:, :-1]], 1)  # B L
    return ids, (ids == tokenizer.eos).cumsum(1) == 0


def refine(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Lines 15-16 and 18-19: every output again, from all other characters of the previous prediction; zero after [E].

    Outputs beyond the batch's longest word are computed only if a word has become longer.
    """
    ids, readable = context_of(logits.argmax(-1), tokenizer)
    outputs = decoder.max_outputs
    longest = outputs if waiting_is_costly(ids.device) else min(outputs, 1 + int(word_lengths(ids[:, 1:], tokenizer).max()))
    for width in dict.fromkeys((longest, outputs)):
        refined = replayed(reread, decoder, memory, ids[:, :width], readable[:, :width])  # B W C
        if width == outputs or bool((word_lengths(refined.argmax(-1), tokenizer) < width).all()):
            break
    return zero_after_eos(refined, outputs, tokenizer)


def reread(decoder: Decoder, memory: list[KeysValues], ids: Tensor, readable: Tensor) -> Tensor:
    """Every output from the image and all other characters of a context that may be read: B W (twice) to logits B W C."""
    allowed = cloze_mask(ids.shape[1], ids.device) & readable[:, None]  # B W W
    return decoder(ids, memory, allowed, content_allowed(readable))


def read_and_refine(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Lines 3-7 (9-13) and the first turn of lines 15-16 (18-19): `autoregressive` and `refine` of what it read.

    If a guess is right, it is the word that refinement reads. So one pass asks for every output twice, from the characters
    before it and from all others. That is enough of every word: the output that ends it has no letters after it, so it reads
    the same both times, and refinement makes no word longer. Words whose guess was wrong are read once more.

    Args:
        guess: ids B N.
    """
    width = width_of(guess, tokenizer)
    first, refined, predicted, certain, again, numbers = replayed(
        both_passes, decoder, memory, guess, settings=(tokenizer, width)
    )
    count, gain = on_host(numbers)
    if count:
        rows = rows_where(again, room_for(int(count), len(guess), guess.device))  # a right word more is read to the same
        mended = torch.cat([predicted, guess[:, width:]], 1)[rows]
        own = [layer.take(rows) for layer in memory]
        useless = gain < STEPS_PER_PASS * count
        first[rows] = autoregressive(decoder, own, tokenizer, None if useless else mended)
        refined[rows] = refine(decoder, own, first[rows], tokenizer)  # after `first`, which it reads
    return first, refined


def both_passes(
    decoder: Decoder, memory: list[KeysValues], guess: Tensor, tokenizer: Tokenizer, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The first pass and refinement of `read_and_refine`, W outputs each.

    Returns:
        The logits of both, B N C; the first pass's ids B W; how many of them are certain and whether any is not, B each;
        and in one tensor, of how many words, and how many outputs of those are certain.
    """
    outputs = decoder.max_outputs
    ids, readable = context_of(guess[:, :width], tokenizer)  # B W
    places = torch.arange(width, device=guess.device)
    masks = torch.cat([query_mask(forward_ranks(width, guess.device))[0], cloze_mask(width, guess.device)])  # 2W W
    logits = decoder(ids, memory, masks & readable[:, None], content_allowed(readable), positions=places.repeat(2))
    first, refined = logits.chunk(2, 1)  # B W C each
    predicted, ends = first.argmax(-1), word_lengths(guess, tokenizer)[:, None]
    # An output is certain if all before it were guessed right, for then it has read what autoregression would read. So the
    # first wrong one is certain too; what a guess holds after its [E] decides nothing.
    certain = 1 + ((predicted != guess[:, :width]) & (places <= ends)).cumsum(1).eq(0).sum(1)  # B
    again = certain <= width  # B: words with a wrong guess, of which both halves read something else than they should
    first, refined = (zero_after_eos(half, outputs, tokenizer) for half in (first, refined))  # B N C
    return first, refined, predicted, certain, again, together(again.sum(), (certain * again).sum())


def single_pass(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Eq. (8): one left-to-right masked pass over another branch's prediction."""
    return replayed(left_to_right_once, decoder, memory, *context_of(logits.argmax(-1), tokenizer))


def left_to_right_once(decoder: Decoder, memory: list[KeysValues], ids: Tensor, readable: Tensor) -> Tensor:
    """Every output from the image and the characters of a context before it that may be read: B N (twice) to logits B N C."""
    allowed = query_mask(forward_ranks(decoder.max_outputs, ids.device))  # 1 N L
    return decoder(ids, memory, allowed & readable[:, None], content_allowed(readable))


def content_allowed(readable: Tensor) -> Tensor:
    """Content mask of decoders with two or more layers at inference: left to right, as in training: B L L.

    In refinement the characters after an output have then read its own one, so from two layers on an output is not wholly
    read from the others (Table I, middle, holds for one layer, the published depth).
    """
    return content_mask(forward_ranks(readable.shape[1], readable.device)) & readable[:, None]


def predict_and_refine(
    visual_decoder: Decoder,
    visual_memory: list[KeysValues],
    cross_decoder: Decoder | None,
    cross_memories: Callable[[list[Tensor]], list[list[KeysValues]]],
    tokenizer: Tokenizer,
    *,
    refine_steps: int,
    decode: str,
    fast_cross: bool,
    cloze_guess: bool,
) -> Prediction:
    """Algorithm 1 with its lines reordered: the whole visual branch, the text tower once, the whole cross-modal branch.

    Args:
        cross_memories: visual predictions, ids B N, to the cross decoder's memory F_c of each (lines 8 and 17).
        refine_steps: T_i.
        decode: "ar" or "cloze", the first pass.
        fast_cross: Eq. (8) in place of lines 10-13.
        cloze_guess: whether the visual branch was trained to predict without context; that prediction then serves as the
            guess that speeds up the "ar" pass.
    """
    if decode not in DECODE:
        raise UserError(f"decode={decode!r}: expected one of {', '.join(map(repr, DECODE))}")
    if refine_steps < 0:
        raise UserError(f"refine_steps={refine_steps} is negative")
    guess = nar_pass(visual_decoder, visual_memory, tokenizer) if decode == "cloze" or cloze_guess else None
    memories = [visual_memory] * (1 + refine_steps)
    if decode == "cloze":
        visual = refine_n(visual_decoder, memories, guess, tokenizer)
    else:
        visual = ar_then_refine(visual_decoder, memories, tokenizer, None if guess is None else guess.argmax(-1))
    if cross_decoder is None:
        return Prediction(visual[-1], None, visual[0], None)

    # The cross-modal branch's memories depend on the visual branch alone, so one pass of the text tower serves all of them.
    memories = cross_memories([logits.argmax(-1) for logits in visual])
    if fast_cross:
        cross = refine_n(cross_decoder, memories, single_pass(cross_decoder, memories[0], visual[0], tokenizer), tokenizer)
    elif decode == "cloze":
        cross = refine_n(cross_decoder, memories, nar_pass(cross_decoder, memories[0], tokenizer), tokenizer)
    else:
        cross = ar_then_refine(cross_decoder, memories, tokenizer, visual[-1].argmax(-1))
    return Prediction(visual[-1], cross[-1], visual[0], cross[0])


def ar_then_refine(
    decoder: Decoder, memories: list[list[KeysValues]], tokenizer: Tokenizer, guess: Tensor | None
) -> list[Tensor]:
    """A branch's autoregressive first pass and its refinements: logits B N C of each.

    Args:
        memories: one for each pass; the same object where it is the same.
        guess: a guess of the first pass's result, ids B N, or None.
    """
    if guess is None or len(memories) == 1 or memories[1] is not memories[0]:
        return refine_n(decoder, memories, autoregressive(decoder, memories[0], tokenizer, guess), tokenizer)
    first, refined = read_and_refine(decoder, memories[0], tokenizer, guess)
    return [first, *refine_n(decoder, memories[1:], refined, tokenizer)]


def refine_n(decoder: Decoder, memories: list[list[KeysValues]], first: Tensor, tokenizer: Tokenizer) -> list[Tensor]:
    """The given logits, followed by those of one refinement per memory after the first."""
    logits = [first]
    for memory in memories[1:]:
        logits.append(refine(decoder, memory, logits[-1], tokenizer))
    return logits
