"""From image and text memories to logits: Algorithm 1 (section III-C1) and Eq. (8).

B batch, N outputs, L context positions, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.errors import UserError
from core.model.attention import KeysValues
from core.model.autoregressive import STEPS_A_PASS, autoregressive, letters, zero_after_eos
from core.model.decoder import Decoder
from core.model.permutations import cloze_mask, content_mask, forward_ranks, query_mask
from core.model.tokenizer import Tokenizer

DECODE = ("ar", "cloze")


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


def without_context(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer) -> Tensor:
    """The non-autoregressive first pass ("Cloze" in Table IX): every output sees [B] alone."""
    batch = len(memory[0].keys)
    device = memory[0].keys.device
    ids = torch.full((batch, 1), tokenizer.bos, device=device)
    allowed = torch.ones(decoder.max_outputs, 1, dtype=torch.bool, device=device)
    return decoder(ids, memory, allowed, torch.ones(1, 1, dtype=torch.bool, device=device))


def context_of(logits: Tensor, tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """Predictions as context: ids [B] y1 ... yN-1 (B L), and which may be read (nothing from the first [E] on)."""
    return as_context(logits.argmax(-1), tokenizer)


def as_context(said: Tensor, tokenizer: Tokenizer) -> tuple[Tensor, Tensor]:
    """`context_of` outputs that are known as ids, B N."""
    ids = torch.cat([torch.full_like(said[:, :1], tokenizer.bos), said[:, :-1]], 1)
    return ids, (ids == tokenizer.eos).cumsum(1) == 0


def refine(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Lines 15-16 and 18-19: every output again, from all other characters of the previous prediction; zero after [E].

    What comes after the longest word of the batch is read where a word has become longer, and not otherwise.
    """
    ids, readable = context_of(logits, tokenizer)
    outputs = decoder.max_outputs
    width = min(outputs, 1 + int(letters(ids[:, 1:], tokenizer).max()))
    allowed = cloze_mask(outputs, logits.device) & readable[:, None]
    content = content_allowed(readable)
    for looked in dict.fromkeys((width, outputs)):
        near = slice(looked)
        refined = decoder(ids[:, near], memory, allowed[:, near, near], content[:, near, near])
        if looked == outputs or bool((letters(refined.argmax(-1), tokenizer) < looked).all()):
            break
    return zero_after_eos(refined, outputs, tokenizer)


def read_and_refine(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer, guess: Tensor) -> tuple[Tensor, Tensor]:
    """Lines 3-7 (9-13) and the first turn of lines 15-16 (18-19): `autoregressive` and `refine` of what it read.

    A guess that is right is the word that refinement reads. So one pass asks for every output twice, from the characters
    before it and from all others. That is enough of every word: the output that ends it has no letters after it, so it reads
    the same both times, and refinement makes no word longer. Words whose guess was wrong are read once more.

    Args:
        guess: ids B N.
    """
    outputs = decoder.max_outputs
    width = min(outputs, 1 + int(letters(guess, tokenizer).max()))
    ids, readable = as_context(guess[:, :width], tokenizer)
    places = torch.arange(width, device=guess.device)
    masks = torch.cat([query_mask(forward_ranks(width, guess.device))[0], cloze_mask(width, guess.device)])  # 2W W
    found = decoder(ids, memory, masks & readable[:, None], content_allowed(readable), positions=places.repeat(2))
    first, refined = found.chunk(2, 1)
    said, ends = first.argmax(-1), letters(guess, tokenizer)[:, None]
    certain = 1 + ((said != guess[:, :width]) & (places <= ends)).cumsum(1).eq(0).sum(1)  # outputs that are true
    again = certain <= width
    first, refined = (zero_after_eos(logits, outputs, tokenizer) for logits in (first, refined))
    if again.any():
        mended = torch.cat([said, guess[:, width:]], 1)[again]
        own = [layer.take(again) for layer in memory]
        useless = certain[again].float().mean() < STEPS_A_PASS
        first[again] = autoregressive(decoder, own, tokenizer, None if useless else mended)
        refined[again] = refine(decoder, own, first[again], tokenizer)
    return first, refined


def single_pass(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Eq. (8): one left-to-right masked pass over another branch's prediction."""
    ids, readable = context_of(logits, tokenizer)
    allowed = query_mask(forward_ranks(decoder.max_outputs, logits.device))
    return decoder(ids, memory, allowed & readable[:, None], content_allowed(readable))


def content_allowed(readable: Tensor) -> Tensor:
    """At inference the content of deeper decoders is read left to right, as it was learned: B L L."""
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
    """Algorithm 1, its lines in another order: all of the visual branch, the text tower once, all of the other branch.

    Args:
        cross_memories: visual predictions, ids B N, to the cross decoder's memory F_c of each (lines 8 and 17).
        refine_steps: T_i.
        decode: "ar" or "cloze", the first pass.
        fast_cross: Eq. (8) in place of lines 10-13.
        cloze_guess: the visual branch has learned to read without context, which guesses what "ar" will read.
    """
    if decode not in DECODE:
        raise UserError(f"decode={decode!r}: expected one of {', '.join(map(repr, DECODE))}")
    if refine_steps < 0:
        raise UserError(f"refine_steps={refine_steps} is negative")
    guess = None
    if decode == "cloze" or cloze_guess:
        guess = without_context(visual_decoder, visual_memory, tokenizer)
    memories = [visual_memory] * (1 + refine_steps)
    if decode == "cloze":
        visual = refinements(visual_decoder, memories, guess, tokenizer)
    else:
        visual = rounds(visual_decoder, memories, tokenizer, None if guess is None else guess.argmax(-1))
    if cross_decoder is None:
        return Prediction(visual[-1], None, visual[0], None)

    memories = cross_memories([logits.argmax(-1) for logits in visual])
    if fast_cross:
        cross = refinements(cross_decoder, memories, single_pass(cross_decoder, memories[0], visual[0], tokenizer), tokenizer)
    elif decode == "cloze":
        cross = refinements(cross_decoder, memories, without_context(cross_decoder, memories[0], tokenizer), tokenizer)
    else:
        cross = rounds(cross_decoder, memories, tokenizer, visual[-1].argmax(-1))
    return Prediction(visual[-1], cross[-1], visual[0], cross[0])


def rounds(decoder: Decoder, memories: list[list[KeysValues]], tokenizer: Tokenizer, guess: Tensor | None) -> list[Tensor]:
    """A branch's autoregressive first pass and its refinements: logits B N C of each.

    Args:
        memories: what each of them reads; the same object where it is the same.
        guess: ids B N of what the first pass may read.
    """
    if guess is None or len(memories) == 1 or memories[1] is not memories[0]:
        return refinements(decoder, memories, autoregressive(decoder, memories[0], tokenizer, guess), tokenizer)
    first, refined = read_and_refine(decoder, memories[0], tokenizer, guess)
    return [first, *refinements(decoder, memories[1:], refined, tokenizer)]


def refinements(decoder: Decoder, memories: list[list[KeysValues]], first: Tensor, tokenizer: Tokenizer) -> list[Tensor]:
    """Given logits, and those refined from each memory but the first."""
    read = [first]
    for memory in memories[1:]:
        read.append(refine(decoder, memory, read[-1], tokenizer))
    return read
