"""Forced outputs: a model with random weights reads given words, in the time that any other words would take.

How long reading takes also depends on how well a first guess, the other branch and refinement agree (see
`core.model.autoregressive`). Of a trained model they mostly do; random weights know neither, so both ends are forced:
`GUESSES`, where everything agrees, or nothing does.

B batch, b words of it, K orders, L context positions, N outputs, S of them, C classes.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch import Tensor, nn

from core.bench.words import GUESSES, letters_of
from core.charset import LOWER
from core.errors import UserError
from core.model.attention import KeysValues
from core.model.clip4str import CLIP4STR
from core.model.cuda_graphs import forget
from core.model.decoder import Decoder

BIAS = 1e4  # far above any logit, within the range of half precision


def other(word: str, letters: str = LOWER) -> str:
    """A word of the same length and letters that differs in every place."""
    return word.translate(str.maketrans(letters, letters[1:] + letters[:1]))


class ForcedDecoder:
    """A bias on the logits of one decoder; the timed code itself is unchanged."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.first = self.refined = decoder.position_queries.new_zeros(1, decoder.max_outputs, decoder.num_classes)
        self.ids = torch.zeros(1, decoder.max_outputs, dtype=torch.long, device=self.first.device)
        self.signs = self.first.new_zeros(1, decoder.embed_dim // decoder.num_heads)
        self.chained = False  # a letter comes only after the right letters
        self.known = True  # whose images the signs are of

    def force(self, first: Tensor, refined: Tensor, chained: bool) -> None:
        """From now on the first pass reads `first` and refinement `refined`, biases B N C.

        Recorded graphs read from where the biases are, so these stay there while nothing but their values changes.
        """
        if self.chained != chained or self.first.shape != first.shape:
            self.chained, self.first, self.refined = chained, first.clone(), refined.clone()
            self.ids, self.signs = first.argmax(-1), first.new_zeros(len(first), self.signs.shape[1])
            forget(self.decoder)
        self.known = False
        for place, tensor in ((self.first, first), (self.refined, refined), (self.ids, first.argmax(-1))):
            place.copy_(tensor)

    def projected(self, project):
        """The decoder's `project_memory`, which knows a whole batch by its images."""

        def noted(memory: Tensor) -> list[KeysValues]:
            layers = project(memory)
            if not self.known and len(memory) == len(self.signs):  # the first memory is the images'
                self.signs.copy_(layers[0].keys[:, 0, 0])
                self.known = True
            return layers

        return noted

    def rows(self, memory: list[KeysValues]) -> Tensor:
        """Which words of the batch are read, as their images' keys tell."""
        sign = memory[0].keys[:, 0, 0].to(self.signs)  # b D/H: one number alone is the same for some images in bfloat16
        return (sign[:, None] == self.signs).all(-1).int().argmax(1)

    def after_pass(self, decoder: nn.Module, inputs: tuple, named: dict, logits: Tensor) -> Tensor:
        """A forward hook: logits b S C."""
        context, memory = inputs[:2]
        rows = self.rows(memory)
        if "positions" in named:  # first pass and refinement in one
            outputs = logits.shape[1] // 2
            return logits + torch.cat([self.first_pass(context, rows, outputs), self.refined[rows, :outputs]], 1).to(logits)
        outputs = logits.shape[1]
        if context.shape[1] > 1 and "contexts" not in named:  # neither a first guess nor a check of one
            return logits + self.refined[rows, :outputs].to(logits)
        return logits + self.first_pass(context, rows, outputs).to(logits)

    def first_pass(self, context: Tensor, rows: Tensor, outputs: int) -> Tensor:
        """The bias of the first pass over these words (`rows`) after a context b L: b S C."""
        bias = self.first[rows, :outputs]
        if self.chained:
            right = torch.zeros(bias.shape[:2], dtype=torch.bool, device=bias.device)  # b S
            known = min(outputs, context.shape[1])
            right[:, 0] = True
            right[:, 1:known] = (context[:, 1:known] == self.ids[rows, : known - 1]).cumprod(1).bool()
            bias = torch.where(right[..., None], bias, bias.roll(1, -1))
        return bias

    def biased(self, step):
        """The decoder's `step`, with the bias."""

        def forced(ids: Tensor, position: int, cache: list, memory: list[KeysValues]) -> Tensor:
            found = step(ids, position, cache, memory)
            return found + self.first[self.rows(memory), position].to(found)

        return forced

    def biased_in_place(self, step):
        """The decoder's `step_in_place`, with the bias."""

        def forced(ids: Tensor, position: Tensor, cache: list[KeysValues], memory: list[KeysValues]) -> Tensor:
            found = step(ids, position, cache, memory)
            return found + self.first[self.rows(memory)].index_select(1, position)[:, 0].to(found)

        return forced


class ForcedOutputs:
    """The words that both decoders of a model are forced to read."""

    def __init__(self, model: CLIP4STR):
        self.tokenizer, self.letters = model.tokenizer, letters_of(model.tokenizer.charset)
        branches = (model.visual_decoder, model.cross_decoder)
        self.decoders = [ForcedDecoder(decoder) for decoder in branches if decoder is not None]

    def force(self, words: list[str], guesses: str = "right") -> None:
        """From now on the images of a batch hold these words: letters and [E] win where they belong.

        A word of N letters has no [E].

        Args:
            guesses: "right": every pass of both branches reads the same words. "wrong": no guess is worth anything,
                refinement changes every caption, and the branches agree in no letter.

        Raises:
            UserError: a word has more letters than a decoder has outputs, or `guesses` is something else.
        """
        if guesses not in GUESSES:
            raise UserError(f"--guesses {guesses}: expected one of {', '.join(GUESSES)}")
        bias = self.bias(words)
        if guesses == "right":
            for decoder in self.decoders:
                decoder.force(bias, bias, chained=False)
            return
        changed = [other(word, self.letters) for word in words]
        self.decoders[0].force(bias, self.bias(changed), chained=True)
        for cross in self.decoders[1:]:
            differing = self.bias([other(word, self.letters) for word in changed])
            cross.force(differing, differing, chained=True)

    def bias(self, words: list[str]) -> Tensor:
        """B N C."""
        decoder = self.decoders[0].decoder
        bias = torch.zeros(len(words), decoder.max_outputs, self.tokenizer.num_classes)
        for row, word in enumerate(words):
            if len(word) > decoder.max_outputs:
                raise UserError(f"word {word!r} has {len(word)} letters, a decoder {decoder.max_outputs} outputs")
            ids = self.tokenizer.encode([word])[0, 1 : decoder.max_outputs + 1]  # letters, and [E] where there is room
            bias[row, torch.arange(len(ids)), ids] = BIAS
        return bias.to(self.decoders[0].first.device)


@contextmanager
def forced_outputs(model: CLIP4STR) -> Iterator[ForcedOutputs]:
    """Let both decoders of the model read what `ForcedOutputs.force` says, until the block ends."""
    outputs = ForcedOutputs(model)
    with ExitStack() as stack:
        for forced in outputs.decoders:
            decoder = forced.decoder
            stack.callback(decoder.register_forward_hook(forced.after_pass, with_kwargs=True).remove)
            stack.callback(forget, decoder)
            for name, changed in (
                ("step", forced.biased),
                ("step_in_place", forced.biased_in_place),
                ("project_memory", forced.projected),
            ):
                stack.enter_context(patch.object(decoder, name, changed(getattr(decoder, name))))
        yield outputs


@contextmanager
def forced_in_training(model: CLIP4STR, words: list[str], guesses: str) -> Iterator[None]:
    """Let the visual branch read these words in training, whatever the order, or with "wrong" others in every order."""

    letters = letters_of(model.tokenizer.charset)

    def after_pass(decoder: nn.Module, inputs: tuple, logits: Tensor) -> Tensor:
        outputs = max(map(len, words)) + 1
        orders = logits.shape[0] * logits.shape[1] // (len(words) * outputs)
        read, bias = list(words), []
        for _ in range(orders):
            ids = model.tokenizer.encode(read)[:, 1:].clamp(max=logits.shape[-1] - 1)  # B N
            bias.append(torch.nn.functional.one_hot(ids, logits.shape[-1]))
            read = [other(word, letters) for word in read] if guesses == "wrong" else read
        return logits + BIAS * torch.stack(bias, 1).to(logits).view(logits.shape)  # B KN C or BK N C

    with model.visual_decoder.register_forward_hook(after_pass):  # a handle is a context that removes the hook
        yield
