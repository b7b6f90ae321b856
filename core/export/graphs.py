"""Reading with a fixed number of steps as graphs of tensor operations.

A graph is Algorithm 1 as it is printed (section III-C1): one step per character, every step taken. `core.model.decoding` gives
the same result in fewer passes, but how many it needs depends on what it reads, which no graph can hold.

The cross-modal branch reads the visual branch's words through CLIP's byte-pair tokenizer. That is work on strings, so a model
with both branches is two graphs, with `core.export.reader` between them.

B batch, S passes (the first one and the refinements), N outputs, M memory tokens, L text positions, D width, C classes.
"""

import torch
from torch import Tensor, nn

from core.data.transforms import constants
from core.model.attention import KeysValues
from core.model.autoregressive import zero_after_eos
from core.model.clip4str import CLIP4STR
from core.model.decoder import Decoder
from core.model.decoding import context_of, nar_pass, reread
from core.model.tokenizer import Tokenizer


class VisualGraph(nn.Module):
    """The image tower with its adapter, and the visual decoder.

    Args:
        decode: "ar" or "cloze", the first pass.
        passes: S.
    """

    inputs = ("pixels",)

    def __init__(self, model: CLIP4STR, decode: str, passes: int):
        super().__init__()
        self.outputs = ("logits",) if model.cross_decoder is None else ("logits", "memory")
        self.model, self.decode, self.passes = model, decode, passes
        mean, std = constants(model.normalisation, torch.device("cpu"))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Pixels B 3 H W, uint8, to logits B S N C and, where there is a cross decoder, what it reads of the image, B M D."""
        memory = self.model.image_memory((pixels.to(torch.float32) - self.mean) / self.std)
        decoder = self.model.visual_decoder
        memories = [decoder.project_memory(memory)] * self.passes
        return (unrolled(decoder, memories, self.model.tokenizer, self.decode), memory)[: len(self.outputs)]

    def example(self) -> tuple[Tensor, ...]:
        """An input; the batch may have any size."""
        return (torch.zeros(2, 3, *self.model.towers.image_size, dtype=torch.uint8),)


class CrossGraph(nn.Module):
    """The text tower and the cross decoder.

    Args:
        decode, passes: as of `VisualGraph`.
    """

    inputs, outputs = ("memory", "tokens"), ("logits",)

    def __init__(self, model: CLIP4STR, decode: str, passes: int):
        super().__init__()
        self.model, self.decode, self.passes = model, decode, passes

    def forward(self, memory: Tensor, tokens: Tensor) -> tuple[Tensor]:
        """Image memory B M D and the captions of every visual pass, token ids B S L, to logits B S N C."""
        decoder = self.model.cross_decoder
        image = decoder.project_memory(memory)
        text = self.model.read_caption(self.model.towers, tokens.flatten(0, 1)).unflatten(0, (-1, self.passes))  # B S L D
        captions = [decoder.project_memory(text[:, number]) for number in range(self.passes)]
        memories = [[kv.join(own) for kv, own in zip(image, caption, strict=True)] for caption in captions]
        return (unrolled(decoder, memories, self.model.tokenizer, self.decode),)

    def example(self) -> tuple[Tensor, ...]:
        towers = self.model.towers
        with torch.no_grad():
            memory = self.model.image_memory(torch.zeros(2, 3, *towers.image_size))
        tokens = self.model.caption_tokenizer([""] * 2 * self.passes)
        return memory, tokens.unflatten(0, (2, self.passes))


def unrolled(decoder: Decoder, memories: list[list[KeysValues]], tokenizer: Tokenizer, decode: str) -> Tensor:
    """The first pass and a refinement for each memory after the first: logits B S N C."""
    logits = [(nar_pass if decode == "cloze" else stepwise)(decoder, memories[0], tokenizer)]
    for memory in memories[1:]:
        refined = reread(decoder, memory, *context_of(logits[-1].argmax(-1), tokenizer))
        logits.append(zero_after_eos(refined, decoder.max_outputs, tokenizer))
    return torch.stack(logits, 1)


def stepwise(decoder: Decoder, memory: list[KeysValues], tokenizer: Tokenizer) -> Tensor:
    """Lines 3-7 and 9-13 of Algorithm 1: logits B N C, zero after a word's [E]."""
    keys = memory[0].keys
    ids = torch.full((keys.shape[0],), tokenizer.bos, device=keys.device)  # B
    cache: list[KeysValues | None] = [None] * len(decoder.layers)
    logits = []
    for position in range(decoder.max_outputs):
        logits.append(decoder.step(ids, position, cache, memory))
        ids = logits[-1].argmax(-1)
    return zero_after_eos(torch.stack(logits, 1), decoder.max_outputs, tokenizer)
