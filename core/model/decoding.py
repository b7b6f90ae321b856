"""From image and text memories to logits: Algorithm 1 (section III-C1) and Eq. (8).

B batch, N outputs, L context positions, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from core.model.decoder import Decoder, KeysValues
from core.model.permutations import cloze_mask, content_mask, forward_ranks, query_mask
from core.model.tokenizer import Tokenizer


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


def autoregressive(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer) -> Tensor:
    """Lines 3-7 and 9-13: left to right, stopping when every word of the batch has its [E]; what follows is zero."""
    batch = len(memory[0].keys)
    ids = torch.full((batch,), tokenizer.bos, device=memory[0].keys.device)
    ended = torch.zeros_like(ids, dtype=torch.bool)
    cache: list[KeysValues | None] = [None] * len(decoder.layers)
    steps = []
    for position in range(decoder.max_outputs):
        logits = decoder.step(ids, position, cache, memory)
        steps.append(logits)
        ids = logits.argmax(-1)
        ended |= ids == tokenizer.eos
        if ended.all():
            break
    logits = torch.stack(steps, 1)
    return torch.nn.functional.pad(logits, (0, 0, 0, decoder.max_outputs - len(steps)))  # B N C


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
    """Lines 15-16 and 18-19: every output again, from all other characters of the previous prediction."""
    ids, readable = context_of(logits, tokenizer)
    allowed = cloze_mask(decoder.max_outputs, logits.device) & readable[:, None]
    return decoder(ids, memory, allowed, content_allowed(decoder, readable))


def read_along(decoder: Decoder, memory: list[KeysValues], logits: Tensor, tokenizer: Tokenizer) -> Tensor:
    """Eq. (8): one left-to-right masked pass over another branch's prediction."""
    ids, readable = context_of(logits, tokenizer)
    allowed = query_mask(forward_ranks(decoder.max_outputs, logits.device))
    return decoder(ids, memory, allowed & readable[:, None], content_allowed(decoder, readable))


def content_allowed(decoder: Decoder, readable: Tensor) -> Tensor:
    """At inference the content of deeper decoders is read left to right, as it was learned: B L L."""
    return content_mask(forward_ranks(decoder.max_outputs, readable.device)) & readable[:, None]


FIRST_PASS: dict[str, Callable] = {"ar": autoregressive, "cloze": without_context}


def predict_and_refine(
    visual_decoder: Decoder,
    visual_memory: list[KeysValues],
    cross_decoder: Decoder | None,
    text_memory_of: Callable[[Tensor], list[KeysValues]],
    tokenizer: Tokenizer,
    *,
    refine_steps: int,
    decode: str,
    fast_cross: bool,
) -> Prediction:
    """Algorithm 1.

    Args:
        text_memory_of: visual logits B N C to the cross decoder's memory F_c of them (lines 8 and 17).
        refine_steps: T_i.
        decode: "ar" or "cloze", the first pass.
        fast_cross: Eq. (8) in place of lines 10-13.
    """
    if decode not in FIRST_PASS:
        raise ValueError(f"decode={decode!r}: expected one of {', '.join(map(repr, FIRST_PASS))}")
    if refine_steps < 0:
        raise ValueError(f"refine_steps={refine_steps} is negative")
    first_pass = FIRST_PASS[decode]
    visual = visual_ar = first_pass(visual_decoder, visual_memory, tokenizer)
    cross = cross_ar = None
    if cross_decoder is not None:
        cross_memory = text_memory_of(visual)
        if fast_cross:
            cross = read_along(cross_decoder, cross_memory, visual, tokenizer)
        else:
            cross = first_pass(cross_decoder, cross_memory, tokenizer)
        cross_ar = cross
    for _ in range(refine_steps):
        visual = refine(visual_decoder, visual_memory, visual, tokenizer)
        if cross_decoder is not None:
            cross = refine(cross_decoder, text_memory_of(visual), cross, tokenizer)
    return Prediction(visual, cross, visual_ar, cross_ar)
