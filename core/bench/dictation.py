"""Dictation: a model with random weights reads the words it is told to, at the cost of reading any others.

How long reading takes also depends on how well a first guess, the other branch and refinement agree (see
`core.model.autoregressive`). Of a trained model they mostly do; random weights know neither, so both ends are dictated:
`GUESSES`, where everything agrees, or nothing does.

B batch, b words of it, N outputs, S of them, C classes.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from core.bench.words import GUESSES
from core.charset import LOWER
from core.errors import UserError
from core.model.attention import KeysValues
from core.model.clip4str import CLIP4STR
from core.model.decoder import Decoder

LOUD = 1e4  # far above any logit, within the range of half precision


def other(word: str) -> str:
    """A word that has another letter in the place of every one."""
    return word.translate(str.maketrans(LOWER, LOWER[1:] + LOWER[:1]))


class Speech:
    """What one decoder says: an addition to its logits, the timed code itself unchanged."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.letters = self.refined = decoder.position_queries.new_zeros(1, decoder.max_outputs, decoder.num_classes)
        self.ids = torch.zeros(1, decoder.max_outputs, dtype=torch.long, device=self.letters.device)
        self.chained = False  # a letter comes only after the right letters
        self.batch: Tensor | None = None

    def say(self, letters: Tensor, refined: Tensor, chained: bool) -> None:
        """From now on the first pass says `letters` and refinement `refined`, both B N C."""
        self.letters, self.refined, self.chained, self.batch = letters, refined, chained, None
        self.ids = letters.argmax(-1)

    def rows(self, memory: list[KeysValues]) -> Tensor:
        """Which words of the batch are asked for: their images' keys tell, and the first to ask has them all."""
        sign = memory[0].keys[:, 0, 0, 0]
        if self.batch is None or len(self.letters) == 1:
            self.batch = sign
        return (sign[:, None] == self.batch).int().argmax(1).clamp(max=len(self.letters) - 1)

    def after_pass(self, decoder: nn.Module, inputs: tuple, named: dict, logits: Tensor) -> Tensor:
        """A forward hook: logits b S C."""
        context, memory = inputs[:2]
        rows = self.rows(memory)
        if "positions" in named:  # first pass and refinement in one
            outputs = logits.shape[1] // 2
            return logits + torch.cat([self.first_pass(context, rows, outputs), self.refined[rows, :outputs]], 1)
        outputs = logits.shape[1]
        if context.shape[1] > 1 and "contexts" not in named:  # neither a first guess nor a check of one
            return logits + self.refined[rows, :outputs]
        return logits + self.first_pass(context, rows, outputs)

    def first_pass(self, context: Tensor, rows: Tensor, outputs: int) -> Tensor:
        """What the first pass says to these words (`rows`) after a context b L: b S C."""
        said = self.letters[rows, :outputs]
        if self.chained:
            right = torch.zeros(said.shape[:2], dtype=torch.bool, device=said.device)  # b S
            seen = min(outputs, context.shape[1])
            right[:, 0] = True
            right[:, 1:seen] = (context[:, 1:seen] == self.ids[rows, : seen - 1]).cumprod(1).bool()
            said = torch.where(right[..., None], said, said.roll(1, -1))
        return said

    def stepping(self, step):
        """The decoder's `step`, with this addition."""

        def told(ids: Tensor, position: int, cache: list, memory: list[KeysValues]) -> Tensor:
            return step(ids, position, cache, memory) + self.letters[self.rows(memory), position]

        return told


class Dictation:
    """What both decoders of a model say."""

    def __init__(self, model: CLIP4STR):
        self.tokenizer = model.tokenizer
        self.visual = Speech(model.visual_decoder)
        self.cross = None if model.cross_decoder is None else Speech(model.cross_decoder)

    @property
    def speeches(self) -> list[Speech]:
        return [speech for speech in (self.visual, self.cross) if speech is not None]

    def say(self, words: list[str], guesses: str = "right") -> None:
        """From now on the images of a batch hold these words: letters and [E] win where they belong.

        A word of N letters has no [E].

        Args:
            guesses: "right": every pass of both branches says the same words. "wrong": no guess is worth anything,
                refinement changes every caption, and the branches agree in no letter.

        Raises:
            UserError: a word has more letters than a decoder has outputs, or `guesses` is something else.
        """
        if guesses not in GUESSES:
            raise UserError(f"--guesses {guesses}: expected one of {', '.join(GUESSES)}")
        letters = self.bonus(words)
        if guesses == "right":
            for speech in self.speeches:
                speech.say(letters, letters, chained=False)
            return
        changed = [other(word) for word in words]
        self.visual.say(letters, self.bonus(changed), chained=True)
        if self.cross is not None:
            differing = self.bonus([other(word) for word in changed])
            self.cross.say(differing, differing, chained=True)

    def bonus(self, words: list[str]) -> Tensor:
        """B N C."""
        outputs = self.visual.decoder.max_outputs
        bonus = torch.zeros(len(words), outputs, self.tokenizer.num_classes)
        for row, word in enumerate(words):
            if len(word) > outputs:
                raise UserError(f"word {word!r} has {len(word)} letters, a decoder {outputs} outputs")
            ids = self.tokenizer.encode([word])[0, 1 : outputs + 1]  # letters, and [E] where there is room
            bonus[row, torch.arange(len(ids)), ids] = LOUD
        return bonus.to(self.visual.letters.device)


@contextmanager
def dictated(model: CLIP4STR) -> Iterator[Dictation]:
    """Let both decoders of the model write what `Dictation.say` says, until the block ends."""
    dictation = Dictation(model)
    hooks = []
    for speech in dictation.speeches:
        hooks.append(speech.decoder.register_forward_hook(speech.after_pass, with_kwargs=True))
        speech.decoder.step = speech.stepping(speech.decoder.step)
    try:
        yield dictation
    finally:
        for speech, hook in zip(dictation.speeches, hooks, strict=True):
            hook.remove()
            del speech.decoder.step
