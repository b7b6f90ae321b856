"""CLIP4STR: two encoder-decoder branches over CLIP's towers (section III, Fig. 3).

B batch, K permutations, N outputs, L context positions, M memory tokens, D width, C classes.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from core.charset import check_charset
from core.errors import UserError
from core.model import early_backward
from core.model.attention import KeysValues
from core.model.captions import CaptionReader
from core.model.checks import check_branches, check_orders, check_references, check_text_freezing
from core.model.cuda_graphs import can_replay, replayed, room_for
from core.model.decoder import Decoder
from core.model.decoding import Prediction, context_of, predict_and_refine
from core.model.freezing import Freezing
from core.model.permutations import ranks_of, sample_permutations
from core.model.tokenizer import Tokenizer
from core.model.transfer import Download, upload

LAUNCH_BOUND = 64  # images at once up to which a GPU reads them faster than the host can ask for it (docs/gpu.md)


class Losses(NamedTuple):
    """Eq. (7): the sum that is minimised and its two parts."""

    total: Tensor
    visual: Tensor
    cross: Tensor | None


class CLIP4STR(nn.Module):
    """The visual branch predicts, the cross-modal branch refines the prediction read back through the text tower.

    Args:
        towers: an `ImageTextTowers` of `core.model.tower_protocols`; a `Tower` where there is only a visual branch.
        decoder: makes a decoder from (embed_dim, num_classes, max_outputs); called once per branch.
        read_image: (towers, image tokens B M D) to the memory of both decoders, `memory.all_tokens` or
            `memory.class_token`.
        read_caption: (towers, caption ids B L) to text memory B L D, of `core.model.memory`; None leaves the
            cross-modal branch out.
        adapter: makes a module of (towers) whose forward (towers, images) gives the image tokens in place of the
            image tower's own (see `adapters`); None for none.
        freezing: which weights of the towers are trained.
        charset: the characters the model can write, in the order of its outputs.
        caption_charset: the characters of the captions the text tower reads.
        max_letters: the longest word.
        num_permutations: K; 1 is left-to-right only (no permuted sequence modelling).
        mirrored: each random permutation comes with its mirror image.
        block_image_gradient: the cross-modal branch sends no gradient to the image tower (section III-B).
        predicted_context: in training the cross decoder's context is the visual branch's prediction, not the label. Nothing
            after its first [E] is read, as in decoding; the released code hides the label's padding alone.
        load_weights: fill the towers with their pretrained weights before anything is frozen or adapted.
        start: fills the model with another one's weights after that (`core.weights.start.Start.fill`); what it returns is
            kept as `started_from`.

    Raises:
        UserError: a value is out of its range, or a switch is set that could change nothing.
    """

    def __init__(
        self,
        towers: nn.Module,
        decoder: Callable[..., Decoder],
        read_image: Callable[[nn.Module, Tensor], Tensor],
        read_caption: Callable[[nn.Module, Tensor], Tensor] | None,
        adapter: Callable[[nn.Module], nn.Module] | None,
        freezing: Freezing,
        charset: str,
        caption_charset: str,
        max_letters: int,
        num_permutations: int,
        mirrored: bool,
        block_image_gradient: bool,
        predicted_context: bool,
        load_weights: bool,
        start: Callable[["CLIP4STR"], object] | None = None,
    ):
        super().__init__()
        check_charset("CLIP4STR.charset", charset)
        check_charset("CLIP4STR.caption_charset", caption_charset)
        check_orders(num_permutations, mirrored)
        check_references(read_image, read_caption)
        if type(max_letters) is not int or max_letters < 1:
            raise UserError(f"CLIP4STR.max_letters = {max_letters!r}: expected a whole number of at least 1")
        check_branches(towers, read_caption, block_image_gradient, predicted_context)
        check_text_freezing(read_caption, freezing)
        self.tokenizer = Tokenizer(charset)
        self.normalisation = "clip"  # of the images it is used to; set by whoever trains or loads it
        self.max_letters, self.num_permutations, self.mirrored = max_letters, num_permutations, mirrored
        self.block_image_gradient, self.predicted_context = block_image_gradient, predicted_context
        sizes = {"embed_dim": towers.embed_dim, "num_classes": self.tokenizer.num_classes, "max_outputs": max_letters + 1}
        self.towers = towers
        self.visual_decoder = decoder(**sizes)
        self.cross_decoder = None
        self.read_image, self.read_caption = read_image, read_caption
        if read_caption is not None:
            self.cross_decoder = decoder(**sizes)
            self.caption_charset = caption_charset
            self.caption_tokenizer = towers.caption_tokenizer()
            self.captions = CaptionReader(self.tokenizer, self.caption_charset, self.caption_tokenizer)
        if load_weights:  # before the adapter is made: a ladder is pruned from the tower's pretrained weights
            towers.load_pretrained()
            if self.cross_decoder is not None:
                self.caption_tokenizer.prepare()
        self.started_from = start(self) if start is not None else None
        freezing.apply(towers)
        before = list(self.parameters())  # kept alive: an adapter may replace some, and their identity must not pass on
        known = {id(parameter) for parameter in before}  # of before the adapter, so the rest are the adapter's
        own = {id(parameter) for parameter in towers.parameters()} - {id(parameter) for parameter in towers.added()}
        self.adapter = adapter(towers) if adapter is not None else None
        named = [(name, id(parameter)) for name, parameter in self.named_parameters()]
        self.tower_names = frozenset(name for name, identity in named if identity in own)
        self.adapter_names = frozenset(name for name, identity in named if identity not in known)

    @property
    def captions_cut(self) -> int:
        """Distinct captions so far that were longer than the text tower's context."""
        return 0 if self.cross_decoder is None else self.caption_tokenizer.truncated

    @captions_cut.setter
    def captions_cut(self, count: int) -> None:
        if self.cross_decoder is not None:
            self.caption_tokenizer.truncated = count

    def kept_tensors(self) -> dict[str, Tensor]:
        """The tensors to save: all, or of an adapted tower all but frozen weights that are the pretrained file's."""
        tensors = self.state_dict()
        if self.adapter is None or self.towers.weights is None or self.started_from is not None:
            return tensors
        added = {id(parameter) for parameter in self.towers.added()}
        ours = {name for name, parameter in self.named_parameters() if parameter.requires_grad or id(parameter) in added}
        return {name: tensor for name, tensor in tensors.items() if not name.startswith("towers.") or name in ours}

    def image_memory(self, images: Tensor) -> Tensor:
        """Images B 3 H W to what the decoders read of them: B M D."""
        if self.adapter is None:
            return self.read_image(self.towers, self.towers.encode_image(images))
        return self.read_image(self.towers, self.adapter(self.towers, images))

    def caption_memory(self, begun: tuple[Download, torch.device]) -> tuple[list[KeysValues], Tensor]:
        """The text memory for the cross decoder, from the captions of M predicted words.

        Args:
            begun: the result of `self.captions.begin` on their ids.

        Returns:
            Of each distinct caption once, and M rows, on the host: which of them belongs to which word.
        """
        tokens, rows = self.captions.finish(begun)
        if can_replay(self, tokens.device):
            count = len(tokens)
            tokens = F.pad(tokens, (0, 0, 0, room_for(count, len(rows), tokens.device) - count))
        return replayed(project_captions, self, [], tokens), rows

    def forward(self, images: Tensor, words: list[str], generator: torch.Generator) -> Losses:
        """One training step's losses with freshly drawn permutations.

        Args:
            images: B 3 H W.
            words: their normalised labels.
            generator: draws the permutations (on the CPU).
        """
        longest = max(map(len, words))
        permutations = sample_permutations(longest, self.num_permutations, self.mirrored, generator)  # K T+2
        return self.losses(images, words, permutations)

    def losses(self, images: Tensor, words: list[str], permutations: Tensor, tokens: Tensor | None = None) -> Losses:
        """Eq. (7) over K orders, weighted by tokens; [E] is a target of the first two orders only.

        Args:
            permutations: K T+2 over [B] y1 ... yT [E], T the longest word, of these or of a larger batch they are part of;
                or B K T+2, where not all images are read in the same orders.
            tokens: what the image tower makes of the images, B M D, where it is known already.
        """
        ids = self.tokenizer.encode(words)
        ids = upload(F.pad(ids, (0, permutations.shape[-1] - ids.shape[1]), value=self.tokenizer.pad), images.device)
        context, targets = ids[:, :-1], ids[:, 1:]  # B L, B N
        readable = (context != self.tokenizer.eos) & (context != self.tokenizer.pad)  # B L
        ranks = ranks_of(upload(permutations, images.device))  # (B) K T+2
        orders = ranks.shape[-2]
        targets = targets[:, None].repeat(1, orders, 1)  # B K N
        # Every order but the reverse one predicts [E] from the whole word, so a third one would teach nothing new (as PARSeq).
        targets[:, 2:].masked_fill_(targets[:, 2:] == self.tokenizer.eos, self.tokenizer.pad)

        image_memory = self.image_memory(images) if tokens is None else self.read_image(self.towers, tokens)  # B M D
        visual_memory = self.visual_decoder.project_memory(image_memory)
        visual_logits = self.visual_decoder.permuted(context, visual_memory, ranks, readable)  # B K N C
        visual_loss = self.cross_entropy(visual_logits, targets)
        if self.cross_decoder is None:
            return Losses(visual_loss, visual_loss, None)

        # The order of what follows is for a GPU. The host needs the predictions to make captions, so their copy comes first;
        # image memory and the visual branch's backward pass are queued behind it and run while the host tokenizes.
        predicted = visual_logits.detach().flatten(0, 1).argmax(-1)  # BK N
        begun = self.captions.begin(predicted)
        if self.block_image_gradient:
            image_memory = image_memory.detach()
        image_kv = self.cross_decoder.project_memory(image_memory)
        ahead = None
        if self.block_image_gradient and visual_loss.requires_grad and early_backward.saves_time(images.device):
            ahead = early_backward.backward_early(visual_loss, self.parameters())
        caption_kv, rows = self.caption_memory(begun)  # waits for the copy
        if self.predicted_context:
            context, before_end = context_of(predicted, self.tokenizer)  # BK L
            readable = readable.repeat_interleave(orders, 0) & before_end
        rows = upload(rows, images.device)
        captions = [text.take(rows) for text in caption_kv]  # of BK rows
        cross_logits = self.cross_decoder.permuted(context, image_kv, ranks, readable, captions)  # B K N C
        cross_loss = self.cross_entropy(cross_logits, targets)
        if ahead is not None:
            visual_loss = ahead.attached()  # last, so that autograd hands these gradients on first
        return Losses(visual_loss + cross_loss, visual_loss, cross_loss)

    def cross_entropy(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 2).float(), targets.flatten(), ignore_index=self.tokenizer.pad)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> Tensor:
        """The image memory, which every way of decoding shares: B 3 H W to B M D."""
        if can_replay(self, images.device) and len(images) <= LAUNCH_BOUND:
            return replayed(image_memory, self, [], images)
        return self.image_memory(images)

    @torch.inference_mode()
    def decode(self, image_memory: Tensor, refine_steps: int, decode: str, fast_cross: bool) -> Prediction:
        """Algorithm 1 on the image memory, with all four outputs kept (see `core.model.decoding`).

        Args:
            refine_steps: T_i of Algorithm 1.
            decode: "ar" or "cloze", how the first pass goes.
            fast_cross: Eq. (8) instead of the cross-modal branch's own autoregressive pass.
        """
        visual_memory = self.visual_decoder.project_memory(image_memory)
        image_kv = self.cross_decoder.project_memory(image_memory) if self.cross_decoder is not None else []

        def cross_memories(predictions: list[Tensor]) -> list[list[KeysValues]]:
            caption_kv, captions = self.caption_memory(self.captions.begin(torch.cat(predictions)))
            memories: list[list[KeysValues]] = []
            before = None
            for rows in captions.chunk(len(predictions)):
                if before is not None and torch.equal(rows, before):  # the same object lets passes be shared
                    memories.append(memories[-1])
                else:
                    own = upload(rows, image_memory.device)
                    memories.append([image.join(text.take(own)) for image, text in zip(image_kv, caption_kv, strict=True)])
                before = rows
            return memories

        return predict_and_refine(
            self.visual_decoder,
            visual_memory,
            self.cross_decoder,
            cross_memories,
            self.tokenizer,
            refine_steps=refine_steps,
            decode=decode,
            fast_cross=fast_cross,
            cloze_guess=self.num_permutations > 1,
        )

    @property
    def refine_steps(self) -> int:
        """Refinement steps where nobody names a number: 1, as published; none if their contexts were never trained (K = 1)."""
        return 1 if self.num_permutations > 1 else 0

    def predict(
        self, images: Tensor, refine_steps: int | None = None, decode: str = "ar", fast_cross: bool = False
    ) -> Prediction:
        """`decode` of `encode`: Algorithm 1 on images B 3 H W; None takes the model's own `refine_steps`."""
        steps = self.refine_steps if refine_steps is None else refine_steps
        return self.decode(self.encode(images), steps, decode, fast_cross)


def image_memory(model: CLIP4STR, _memory: list[KeysValues], images: Tensor) -> Tensor:
    """`CLIP4STR.image_memory`, as a part of reading."""
    return model.image_memory(images)


def project_captions(model: CLIP4STR, _memory: list[KeysValues], tokens: Tensor) -> list[KeysValues]:
    """Caption ids D L as the cross decoder's memory of D rows."""
    return model.cross_decoder.project_memory(model.read_caption(model.towers, tokens))
