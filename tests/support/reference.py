"""CLIP4STR written a second time from the paper's equations, on the tensors of a released checkpoint.

It imports nothing of what it checks. One word is read at a time, one pass per character; nothing is cached, batched or
guessed. Sequences are counted as in the paper: context [B] y1 y2 ..., output i predicts y(i+1).

Q queries, L context positions, M memory tokens, D width, C classes.
"""

import math
import string

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

LETTERS_36 = string.digits + string.ascii_lowercase
LETTERS_94 = LETTERS_36 + string.ascii_uppercase + "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
OUTPUTS = ("visual", "cross", "visual_ar", "cross_ar")


class Reference:
    """Both towers and both decoders.

    Args:
        tensors: by their released names, of one floating-point type.
        image_heads, text_heads, decoder_heads: attention heads, which no tensor's shape tells.
        quick_gelu: the towers' activation, x sigmoid(1.702 x) or the exact GELU.
        context_length: of the captions.
        letters: the characters that the decoders write, in the order of their classes.
    """

    def __init__(
        self,
        tensors: dict[str, Tensor],
        image_heads: int,
        text_heads: int,
        decoder_heads: int,
        quick_gelu: bool = True,
        context_length: int = 16,
        letters: str = LETTERS_94,
    ):
        self.tensors = tensors
        self.image_heads, self.text_heads, self.decoder_heads = image_heads, text_heads, decoder_heads
        self.activation = (lambda x: x * torch.sigmoid(1.702 * x)) if quick_gelu else F.gelu
        self.context_length, self.letters, self.tokenizer = context_length, letters, SimpleTokenizer()
        self.end, self.begin, self.pad = 0, len(letters) + 1, len(letters) + 2

    # ---- towers (section III-A1)

    def linear(self, name: str, x: Tensor, bias: bool = True) -> Tensor:
        return x @ self.tensors[f"{name}.weight"].T + (self.tensors[f"{name}.bias"] if bias else 0)

    def norm(self, name: str, x: Tensor) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5)
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def attention(self, name: str, heads: int, queries: Tensor, source: Tensor, allowed: Tensor | None) -> Tensor:
        """softmax(Q K^T / sqrt(d)) V of each head; queries Q D, source L D, allowed Q L."""
        weights = self.tensors[f"{name}.in_proj_weight"].chunk(3)
        biases = self.tensors[f"{name}.in_proj_bias"].chunk(3)
        q, k, v = (x @ w.T + b for x, w, b in zip((queries, source, source), weights, biases, strict=True))
        width, read = len(weights[0]) // heads, []
        for head in range(heads):
            own = slice(head * width, (head + 1) * width)
            scores = q[:, own] @ k[:, own].T / math.sqrt(width)
            if allowed is not None:
                scores = scores.masked_fill(~allowed, -math.inf)
            read.append(scores.softmax(-1) @ v[:, own])
        return self.linear(f"{name}.out_proj", torch.cat(read, 1))

    def transformer(self, name: str, heads: int, x: Tensor, allowed: Tensor | None) -> Tensor:
        block = 0
        while f"{name}.resblocks.{block}.ln_1.weight" in self.tensors:
            here = f"{name}.resblocks.{block}"
            normed = self.norm(f"{here}.ln_1", x)
            x = x + self.attention(f"{here}.attn", heads, normed, normed, allowed)
            hidden = self.activation(self.linear(f"{here}.mlp.c_fc", self.norm(f"{here}.ln_2", x)))
            x = x + self.linear(f"{here}.mlp.c_proj", hidden)
            block += 1
        return x

    def image_tokens(self, image: Tensor) -> Tensor:
        """[CLASS] and patches through ln_post and the projection: 3 H W to M D."""
        name, kernel = "clip_model.visual", self.tensors["clip_model.visual.conv1.weight"]
        patches = F.conv2d(image[None], kernel, stride=kernel.shape[2:])[0].flatten(1).T
        tokens = torch.cat([self.tensors[f"{name}.class_embedding"][None], patches])
        tokens = self.norm(f"{name}.ln_pre", tokens + self.tensors[f"{name}.positional_embedding"])
        tokens = self.transformer(f"{name}.transformer", self.image_heads, tokens, None)
        return self.norm(f"{name}.ln_post", tokens) @ self.tensors[f"{name}.proj"]

    def text_tokens(self, word: str) -> Tensor:
        """All positions of a caption, each reading those before it: a predicted word to L D."""
        caption = "".join(letter for letter in word.lower() if letter in LETTERS_36)
        start, end = self.tokenizer.sot_token_id, self.tokenizer.eot_token_id
        ids = [start, *self.tokenizer.encode(caption)][: self.context_length - 1] + [end]
        ids += [0] * (self.context_length - len(ids))
        tokens = self.tensors["clip_model.token_embedding.weight"][ids]
        tokens = tokens + self.tensors["clip_model.positional_embedding"][: self.context_length]
        causal = torch.ones(self.context_length, self.context_length, dtype=torch.bool).tril()
        tokens = self.transformer("clip_model.transformer", self.text_heads, tokens, causal)
        return self.norm("clip_model.ln_final", tokens) @ self.tensors["clip_model.text_projection"]

    # ---- the decoder (Fig. 4, Eq. 4-6)

    def stream(self, layer: str, x: Tensor, normed: Tensor, context: Tensor, memory: Tensor, allowed: Tensor) -> Tensor:
        x = x + self.attention(f"{layer}.self_attn", self.decoder_heads, normed, context, allowed)
        x = x + self.attention(f"{layer}.cross_attn", self.decoder_heads, self.norm(f"{layer}.norm1", x), memory, None)
        hidden = F.gelu(self.linear(f"{layer}.linear1", self.norm(f"{layer}.norm2", x)))
        return x + self.linear(f"{layer}.linear2", hidden)

    def decode(self, branch: str, memory: Tensor, context: list[int], queries: Tensor, content: Tensor) -> Tensor:
        """Logits Q C of the first Q outputs.

        Args:
            context: ids, [B] first.
            queries: Q L, what each output may read of the context.
            content: L L, what each context position may read of it (used between two layers).
        """
        positions = self.tensors[f"{branch}.pos_queries"][0]
        embedded = self.tensors[f"{branch}.text_embed.embedding.weight"][context] * math.sqrt(positions.shape[1])
        text = embedded + torch.cat([torch.zeros_like(positions[:1]), positions[: len(context) - 1]])
        x, layer = positions[: len(queries)], 0
        while f"{branch}.layers.{layer}.norm_q.weight" in self.tensors:
            here = f"{branch}.layers.{layer}"
            normed = self.norm(f"{here}.norm_c", text)
            x = self.stream(here, x, self.norm(f"{here}.norm_q", x), normed, memory, queries)
            text = self.stream(here, text, normed, normed, memory, content)
            layer += 1
        return self.linear(f"{branch}.head", self.norm(f"{branch}.norm", x))

    # ---- reading (Algorithm 1)

    def longest(self, branch: str) -> int:
        return self.tensors[f"{branch}.pos_queries"].shape[1]

    def to_end(self, logits: Tensor) -> list[int]:
        """The predicted ids before the first [E]."""
        ids = logits.argmax(-1).tolist()
        return ids[: ids.index(self.end)] if self.end in ids else ids

    def spell(self, logits: Tensor) -> str:
        return "".join(self.letters[index - 1] for index in self.to_end(logits))

    def left_to_right(self, branch: str, memory: Tensor) -> Tensor:
        """Lines 3-7: a pass over everything read so far for each character, until [E]."""
        context, rows = [self.begin], []
        while len(rows) < self.longest(branch):
            causal = torch.ones(len(context), len(context), dtype=torch.bool).tril()
            rows.append(self.decode(branch, memory, context, causal, causal)[-1])
            context.append(int(rows[-1].argmax()))
            if context[-1] == self.end:
                break
        return torch.stack(rows)

    def without_context(self, branch: str, memory: Tensor) -> Tensor:
        """The first pass of "cloze" in Table IX: every output reads [B] alone."""
        one = torch.ones(self.longest(branch), 1, dtype=torch.bool)
        return self.decode(branch, memory, [self.begin], one, one[:1])

    def over(self, branch: str, memory: Tensor, logits: Tensor, cloze: bool) -> Tensor:
        """All outputs from a predicted word: each from all other characters (lines 15-16) or from those before (Eq. 8)."""
        word = self.to_end(logits)[: self.longest(branch) - 1]
        context = [self.begin, *word]
        outputs, length = self.longest(branch), len(context)
        queries = torch.zeros(outputs, length, dtype=torch.bool)
        content = torch.zeros(length, length, dtype=torch.bool)
        for position in range(length):  # position p holds the character that output p - 1 predicts
            for output in range(outputs):
                queries[output, position] = position != output + 1 if cloze else position <= output
            for reader in range(length):
                content[reader, position] = position <= reader
        return self.decode(branch, memory, context, queries, content)

    def predict(self, image: Tensor, refine_steps: int = 1, decode: str = "ar", fast_cross: bool = False) -> dict[str, Tensor]:
        """Algorithm 1 on one image 3 H W, with the first pass of "cloze" or Eq. (8) where asked for: logits by name."""
        first_pass = self.left_to_right if decode == "ar" else self.without_context
        image_memory = self.image_tokens(image)
        visual = visual_ar = first_pass("visual_decoder", image_memory)

        def both(visual: Tensor) -> Tensor:
            return torch.cat([image_memory, self.text_tokens(self.spell(visual))])

        if fast_cross:
            cross = cross_ar = self.over("cross_decoder", both(visual), visual, cloze=False)
        else:
            cross = cross_ar = first_pass("cross_decoder", both(visual))
        for _ in range(refine_steps):
            visual = self.over("visual_decoder", image_memory, visual, cloze=True)
            cross = self.over("cross_decoder", both(visual), cross, cloze=True)
        return dict(zip(OUTPUTS, (visual, cross, visual_ar, cross_ar), strict=True))

    # ---- training (section III-A2, Eq. 7)

    def losses(
        self, images: Tensor, words: list[str], orders: list[list[int]], predicted_context: bool = False
    ) -> tuple[Tensor, Tensor]:
        """The visual and the cross-modal loss: the mean cross entropy over the tokens of all orders and images.

        Args:
            orders: each lists the positions of [B] y1 ... yT [E] as they are predicted, T the longest word.
            predicted_context: the cross decoder reads the visual branch's prediction in the place of the label.
        """
        visual_losses, cross_losses = [], []
        for image, word in zip(images, words, strict=True):
            context = [self.begin, *(self.letters.index(letter) + 1 for letter in word)]
            targets = [*context[1:], self.end]
            image_memory = self.image_tokens(image)
            for number, order in enumerate(orders):
                scored = len(targets) if number < 2 else len(targets) - 1  # [E] is learned in the first two orders
                wanted = torch.tensor(targets[:scored], dtype=torch.long)
                # outputs after the word take part in nothing but the caption, which ends at the first predicted [E]
                visual = self.decode("visual_decoder", image_memory, context, *self.masks(order, len(context)))
                visual_losses.append(F.cross_entropy(visual[:scored], wanted, reduction="none"))
                memory = torch.cat([image_memory.detach(), self.text_tokens(self.spell(visual))])
                known = [self.begin, *self.to_end(visual)][: len(context)] if predicted_context else context
                cross = self.decode("cross_decoder", memory, known, *self.masks(order, len(known)))
                cross_losses.append(F.cross_entropy(cross[:scored], wanted, reduction="none"))
        return torch.cat(visual_losses).mean(), torch.cat(cross_losses).mean()

    @staticmethod
    def masks(order: list[int], length: int) -> tuple[Tensor, Tensor]:
        """Table I: output i reads what the order predicts before position i + 1; content reads itself as well."""
        outputs = len(order) - 1
        queries = torch.zeros(outputs, length, dtype=torch.bool)
        content = torch.zeros(length, length, dtype=torch.bool)
        for turn, position in enumerate(order):
            for earlier in order[:turn]:
                if earlier < length:
                    if position > 0:
                        queries[position - 1, earlier] = True
                    if position < length:
                        content[position, earlier] = True
            if position < length:
                content[position, position] = True
        return queries, content


RELEASED = (
    ("towers.clip.", "clip_model."),
    (".position_queries", ".pos_queries"),
    (".context_embedding.", ".text_embed.embedding."),
    (".context_attn.", ".self_attn."),
    (".memory_attn.", ".cross_attn."),
    (".out.", ".out_proj."),
    (".norm_m.", ".norm1."),
    (".norm_f.", ".norm2."),
    (".mlp.0.", ".linear1."),
    (".mlp.3.", ".linear2."),
)


def released_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """A model's tensors by the names of a released checkpoint."""
    renamed = {}
    for name, tensor in tensors.items():
        for ours, theirs in RELEASED:
            name = name.replace(ours, theirs)
        if ".kv." in name:
            continue
        if ".q." in name:
            tensor = torch.cat([tensor, tensors[name_of_keys(name, tensors)]])
            name = name.replace(".q.", ".in_proj_")
        renamed[name] = tensor[None] if name.endswith("pos_queries") else tensor
    return renamed


def name_of_keys(released: str, tensors: dict[str, Tensor]) -> str:
    ours = released.replace(".q.", ".kv.").replace(".self_attn.", ".context_attn.").replace(".cross_attn.", ".memory_attn.")
    assert ours in tensors, ours
    return ours


def reference_of(model) -> Reference:
    """With the tensors of a model that is not quick in its GELUs, as those of the micro world."""
    clip = model.towers.clip
    return Reference(
        released_names(model.state_dict()),
        image_heads=clip.visual.transformer.resblocks[0].attn.num_heads,
        text_heads=clip.transformer.resblocks[0].attn.num_heads,
        decoder_heads=model.visual_decoder.num_heads,
        quick_gelu=False,
        context_length=model.towers.context_length,
    )
