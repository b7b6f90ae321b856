"""Image-text pretraining: rendered words and their captions, as CLIP learns (section II-A), through open_clip's loss.

Half of the captions are the word ("table"), half its spelling ("t a b l e"): as web captions do, they say the same
thing in tokens that words share, which takes the loss off chance within 200 steps.
"""

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss
from torch import Tensor

from core.data.micro import World
from core.data.render.lexicon import WordList, lexicon
from core.errors import UserError
from core.model.captions import CaptionTokenizer
from core.model.memory import text_tokens
from core.model.towers import ClipTowers
from core.weights.pretrained import save_sparse

LARGEST_SCALE = np.log(100)  # CLIP's clamp of the logit scale


class Contrastive:
    """Words and captions find each other in a batch; the accuracy is the share of images that find theirs.

    Captions are in lower case, as CLIP's tokenizer makes them, whatever the case on the image.

    Args:
        world: images are drawn as its training images are; its unseen words are never shown.
        towers: with random weights.
        lexicon_size: words captions are made of, the most frequent of CLIP's vocabulary.
        spelled: share of captions that spell the word.
    """

    def __init__(self, world: World, towers: ClipTowers, lexicon_size: int, spelled: float):
        self.network, self.spelled = towers, spelled
        unseen = set(world.words()[1])
        known = lexicon(lexicon_size, world.min_letters, world.max_letters)
        self.words = WordList(word for word in known if word not in unseen)
        self.draw = partial(world.draw, "pretrain", None, words=self.words)
        self.image_size = towers.image_size
        self.tokenize = CaptionTokenizer(towers.context_length)
        self.contrast = ClipLoss()
        rows = torch.zeros(len(towers.clip.token_embedding.weight), dtype=torch.bool)
        towers.register_buffer("trained_rows", rows)  # of the token embedding; with the towers, so that a state has it

    def choose(self, labels: list[str], batch: int, rng: np.random.Generator) -> list[int]:
        """Images of a batch, no word twice: its second image would have the same caption, and be counted as a wrong answer.

        Images are drawn, not words, so that numbers, of which there are many, keep their share.

        Raises:
            UserError: the images have too few different words.
        """
        positions: dict[str, int] = {}  # of eight times as many images as needed, so that frequent words leave enough others
        for position in rng.choice(len(labels), min(8 * batch, len(labels)), replace=False).tolist():
            positions.setdefault(labels[position].lower(), position)
        if len(positions) < batch:
            raise UserError(f"a batch of {batch} different words cannot be made: {len(positions)} were met; show more images")
        return list(positions.values())[:batch]

    def loss(self, images: Tensor, words: list[str], rng: np.random.Generator) -> tuple[Tensor, float]:
        """Symmetric cross-entropy of images B 3 H W and their captions, and the in-batch accuracy."""
        clip = self.network.clip
        with torch.no_grad():
            clip.logit_scale.clamp_(0, LARGEST_SCALE)
        captions = [" ".join(word) if rng.random() < self.spelled else word for word in map(str.lower, words)]
        ids = self.tokenize(captions).to(images.device)
        self.network.trained_rows[ids.unique()] = True
        images, texts = self.network.encode_image(images)[:, 0], text_tokens(self.network, ids)
        with torch.autocast(images.device.type, enabled=False):  # logits of up to 100 have no place after the point in bfloat16
            image_features = F.normalize(images.float(), dim=-1)
            text_features = F.normalize(texts[torch.arange(len(ids), device=ids.device), ids.argmax(1)].float(), dim=-1)
            loss = self.contrast(image_features, text_features, clip.logit_scale.exp())
        best = (image_features @ text_features.T).argmax(1)
        return loss, (best == torch.arange(len(best), device=best.device)).float().mean().item()

    def save(self, path: Path, metadata: dict[str, str] | None) -> None:
        """Both towers, without the token embeddings that no caption used."""
        save_sparse(self.network.clip, self.network.trained_rows.nonzero()[:, 0], path, metadata)
