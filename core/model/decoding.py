"""From image and text memories to logits: Algorithm 1 (section III-C1) and Eq. (8).

B batch, N outputs, L context positions, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.model.autoregressive import autoregressive, letters, until_end
from core.model.decoder import Decoder, KeysValues
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
    bos = torch.full((len(logits), 1), tokenizer.bos, device=logits.device)
    ids = torch.cat([bos, logits[:, :-1].argmax(-1)], 1)
    return ids, (ids == tokenizer.eos).cumsum(1) == 0


def refine(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Lines 15-16 and 18-19: every output again, from all other characters of the previous prediction; zero after [E].

    What comes after the longest word of the batch is read where a word has become longer, and not otherwise.
    """
    ids, readable = context_of(logits, tokenizer)
    outputs = decoder.max_outputs
    width = min(outputs, 1 + int(letters(ids[:, 1:], tokenizer).max()))
    allowed = cloze_mask(outputs, logits.device) & readable[:, None]
    content = content_allowed(decoder, readable)
    for looked in dict.fromkeys((width, outputs)):
        near = slice(looked)
        refined = decoder(ids[:, near], memory, allowed[:, near, near], content[:, near, near])
        if looked == outputs or bool((letters(refined.argmax(-1), tokenizer) < looked).all()):
            break
    return until_end(refined, outputs, tokenizer)


def read_along(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Eq. (8): one left-to-right masked pass over another branch's prediction."""
    ids, readable = context_of(logits, tokenizer)
    allowed = query_mask(forward_ranks(decoder.max_outputs, logits.device))
    return decoder(ids, memory, allowed & readable[:, None], content_allowed(decoder, readable))


def content_allowed(decoder: Decoder, readable: Tensor) -> Tensor:
    """At inference the content of deeper decoders is read left to right, as it was learned: B L L."""
    return content_mask(forward_ranks(decoder.max_outputs, readable.device)) & readable[:, None]


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
        raise ValueError(f"decode={decode!r}: expected one of {', '.join(map(repr, DECODE))}")
    if refine_steps < 0:
        raise ValueError(f"refine_steps={refine_steps} is negative")
    guess = None
    if decode == "cloze" or cloze_guess:
        guess = without_context(visual_decoder, visual_memory, tokenizer)
    if decode == "cloze":
        visual = [guess]
    else:
        visual = [autoregressive(visual_decoder, visual_memory, tokenizer, None if guess is None else guess.argmax(-1))]
    for _ in range(refine_steps):
        visual.append(refine(visual_decoder, visual_memory, visual[-1], tokenizer))
    if cross_decoder is None:
        return Prediction(visual[-1], None, visual[0], None)

    first, *rest = cross_memories([logits.argmax(-1) for logits in visual])
    if fast_cross:
        cross = cross_ar = read_along(cross_decoder, first, visual[0], tokenizer)
    elif decode == "cloze":
        cross = cross_ar = without_context(cross_decoder, first, tokenizer)
    else:
        cross = cross_ar = autoregressive(cross_decoder, first, tokenizer, visual[-1].argmax(-1))
    for memory in rest:
        cross = refine(cross_decoder, memory, cross, tokenizer)
    return Prediction(visual[-1], cross, visual[0], cross_ar)
