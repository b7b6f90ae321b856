"""Dictation: a model with random weights reads the words it is told to, at the cost of reading any others.

B batch, N outputs, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from core.model.clip4str import CLIP4STR
from core.model.decoder import Decoder

LOUD = 1e4  # far above any logit, within the range of half precision


class Dictation:
    """What is added to the logits of both decoders, the timed code itself unchanged: one addition a step or pass."""

    def __init__(self, model: CLIP4STR):
        self.tokenizer, self.outputs = model.tokenizer, model.visual_decoder.max_outputs
        self.device = next(model.parameters()).device
        self.bonus = torch.zeros(1, self.outputs, self.tokenizer.num_classes, device=self.device)  # B N C

    def say(self, words: list[str]) -> None:
        """From now on the images of a batch hold these words: letters and [E] win where they belong.

        A word of N letters has no [E].

        Raises:
            ValueError: a word has more letters than a decoder has outputs.
        """
        bonus = torch.zeros(len(words), self.outputs, self.tokenizer.num_classes)
        for row, word in enumerate(words):
            if len(word) > self.outputs:
                raise ValueError(f"word {word!r} has {len(word)} letters, a decoder {self.outputs} outputs")
            ids = self.tokenizer.encode([word])[0, 1 : self.outputs + 1]  # letters, and [E] where there is room
            bonus[row, torch.arange(len(ids)), ids] = LOUD
        self.bonus = bonus.to(self.device)

    def after_pass(self, decoder: nn.Module, inputs: tuple, logits: Tensor) -> Tensor:
        """A forward hook of a decoder, whose passes ask for all positions."""
        return logits + self.bonus

    def stepping(self, decoder: Decoder):
        """The decoder's `step`, with this addition."""
        step = decoder.step

        def told(ids: Tensor, position: int, *rest: object) -> Tensor:
            return step(ids, position, *rest) + self.bonus[:, position]

        return told


@contextmanager
def dictated(model: CLIP4STR) -> Iterator[Dictation]:
    """Let both decoders of the model write what `Dictation.say` says, until the block ends."""
    dictation = Dictation(model)
    decoders = [decoder for decoder in (model.visual_decoder, model.cross_decoder) if decoder is not None]
    hooks = [decoder.register_forward_hook(dictation.after_pass) for decoder in decoders]
    for decoder in decoders:
        decoder.step = dictation.stepping(decoder)
    try:
        yield dictation
    finally:
        for decoder, hook in zip(decoders, hooks, strict=True):
            hook.remove()
            del decoder.step
