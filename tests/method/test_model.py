import pytest
import torch
import torch.nn.functional as F

from core.experiment.experiment import load
from core.model.captions import CaptionTokenizer
from core.model.permutations import content_mask, query_mask, ranks_of, sample_permutations
from tests.support.checkout import BASELINE, MICRO_SIZE

WORDS = ["cat", "Table", "no!"]


def images(count=3):
    return torch.randn(count, 3, *MICRO_SIZE, generator=torch.Generator().manual_seed(1))


def build(*bindings, row=BASELINE):
    torch.manual_seed(0)
    return load(row, "smoke", bindings).experiment.model(load_weights=False)


def test_loss_equals_the_plain_loop(model):
    """One order after another, one caption after another, as the equations read."""
    permutations = sample_permutations(5, 6, True, torch.Generator().manual_seed(3))
    ids = model.tokenizer.encode(WORDS)
    context, targets = ids[:, :-1], ids[:, 1:].clone()
    readable = (context != model.tokenizer.eos) & (context != model.tokenizer.pad)
    image_memory = model.towers.encode_image(images())
    total, tokens = torch.zeros(2), 0
    for k, order in enumerate(permutations):
        if k == 2:
            targets[targets == model.tokenizer.eos] = model.tokenizer.pad
        ranks = ranks_of(order[None])
        masks = (query_mask(ranks) & readable[:, None], content_mask(ranks) & readable[:, None])
        visual = model.visual_decoder(context, model.visual_decoder.project_memory(image_memory), *masks)
        captions = [text.lower().replace("!", "") for text in model.tokenizer.decode_ids(visual.argmax(-1))]
        captions = ["".join(c for c in text if c in model.caption_charset) for text in captions]
        text = torch.cat([model.read_caption(model.towers, model.caption_tokenizer([c])) for c in captions])
        memory = model.cross_decoder.project_memory(torch.cat([image_memory, text], 1))
        cross = model.cross_decoder(context, memory, *masks)
        for i, logits in enumerate((visual, cross)):
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=model.tokenizer.pad, reduction="sum")
            total[i] += loss.detach()
        tokens += (targets != model.tokenizer.pad).sum()
    losses = model.losses(images(), WORDS, permutations)
    assert losses.visual.item() == pytest.approx((total[0] / tokens).item(), abs=1e-5)
    assert losses.cross.item() == pytest.approx((total[1] / tokens).item(), abs=1e-5)
    assert losses.total.item() == pytest.approx((total.sum() / tokens).item(), abs=1e-5)


def test_cross_branch_sends_no_gradient_to_the_image_tower(model):
    losses = model.losses(images(), WORDS, sample_permutations(5, 6, True, torch.Generator()))
    losses.cross.backward()
    clip = model.towers.clip
    assert all(parameter.grad is None for parameter in clip.visual.parameters())
    assert all(parameter.grad is None for parameter in model.visual_decoder.parameters())
    assert clip.text_projection.grad is not None and model.cross_decoder.head.weight.grad is not None


@pytest.mark.parametrize("image", [0.0, 0.25, 0.5, 0.75, 1.0, None])
def test_frozen_weights_do_not_move_and_the_others_do(image):
    model = build(f"IMAGE_FROZEN = {image}", "TEXT_FROZEN = 0.5", "PERMUTATIONS = 6")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    model.losses(images(), WORDS, sample_permutations(5, 6, True, torch.Generator())).total.backward()
    optimiser.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert moved <= trained
    unused = {name for name in trained - moved if name != "towers.clip.logit_scale"}
    assert not {name for name in unused if "visual" in name.split(".")[:3] and "head" not in name}, unused
    blocks = {int(n.split("resblocks.")[1].split(".")[0]) for n in trained if n.startswith("towers.clip.visual.transformer")}
    frozen = round((image or 0) * 4)
    assert blocks == set(range(frozen, 4))
    assert ("towers.clip.visual.proj" in trained) == (image != 1.0)
    assert ("towers.clip.visual.positional_embedding" in trained) == (image is None)


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("IMAGE_FROZEN = 1.5", r"IMAGE_FROZEN = 1.5: a fraction of the blocks lies in \[0, 1\]"),
        ("TEXT_FROZEN = 0.3", "TEXT_FROZEN = 0.3 of 4 layers is 1.2 layers: choose a multiple of 1/4"),
        ("IMAGE_SIZE = (16, 62)", r"image_size \(16, 62\) is not a multiple of the patch size \(16, 4\)"),
        ("CONTEXT_LENGTH = 99", "context_length 99: .*clip.json has 16 text positions"),
        ("PERMUTATIONS = 0", r"PERMUTATIONS \(num_permutations\) = 0: expected a whole number"),
        ("DECODER_HEADS = 5", "decoder width 96 is not a multiple of its 5 heads"),
        ("DECODER_HEADS = 1.5", "DECODER_HEADS = 1.5: expected a whole number"),
        ("DECODER_DEPTH = 'a'", "DECODER_DEPTH = 'a': expected a whole number"),
        ("DROPOUT = 'a'", r"DROPOUT = 'a': expected a share from 0 to 1"),
        ("DROPOUT = 1.3", r"DROPOUT = 1.3: expected a share from 0 to 1"),
        ("ARCH = None", "ARCH = None: expected the name of an open_clip architecture"),
        ("WEIGHTS = 5", "WEIGHTS = 5: expected an open_clip tag, a weights file, or None"),
        ("TRAIN_DATA = 1", "TRAIN_DATA = 1: expected folders below DATA/train"),
        ("TRAIN_DATA = (1,)", r"TRAIN_DATA = \(1,\): expected folders below DATA/train"),
        ("experiment.Experiment.augment = 'RandAugment'", "Experiment.augment = 'RandAugment': expected a reference"),
        ("clip4str.CLIP4STR.read_image = 'all_tokens'", "CLIP4STR.read_image = 'all_tokens': expected a reference"),
        ("clip4str.CLIP4STR.max_letters = -1", "CLIP4STR.max_letters = -1: expected a whole number of at least 1"),
        ("IMAGE_FROZEN = False", "IMAGE_FROZEN = False: a fraction .* None freezes nothing"),
        ("MIRRORED = 'False'", "MIRRORED = 'False': expected True or False"),
        ("PREDICTED_CONTEXT = 1", "PREDICTED_CONTEXT = 1: expected True or False"),
        ("BLOCK_IMAGE_GRADIENT = 'no'", "BLOCK_IMAGE_GRADIENT = 'no': expected True or False"),
        ("FAST_CROSS = 'no'", "FAST_CROSS = 'no': expected True or False"),
        ("protocol.Protocol.batch = -1", "Protocol.batch = -1: expected a whole number, 1 or more"),
        (
            "CHARSET = 'ablations/charsets/greek.txt'",
            "CAPTION_CHARSET has none of the letters of CHARSET .* captions would be empty",
        ),
    ],
)
def test_bad_values_are_refused_with_the_constraint(binding, message):
    with pytest.raises(ValueError, match=message):
        build(binding)


def test_token_row_reads_the_embeddings_alone():
    model = build(row="ablations/table_VI/image0-token.gin").eval()
    ids = model.caption_tokenizer(["table", "xqz"])
    torch.testing.assert_close(model.read_caption(model.towers, ids), model.towers.clip.token_embedding(ids))
    trainable = [n for n, p in model.named_parameters() if p.requires_grad and n.startswith("towers.")]
    assert trainable and all(name.startswith("towers.clip.visual.") for name in trainable)


def test_prediction_of_several_equals_one_by_one(model):
    together = model.predict(images(), refine_steps=1)
    for i in range(3):
        alone = model.predict(images()[i : i + 1], refine_steps=1)
        assert model.tokenizer.decode(alone.cross)[0][0] == model.tokenizer.decode(together.cross)[0][i]


def test_captions_are_cut_with_their_end_kept_and_counted():
    tokenizer = CaptionTokenizer(5)
    ids = tokenizer(["table", "8 4 1 9 5 7 2"])
    assert ids.shape == (2, 5) and tokenizer.truncated == 1
    assert ids[1, -1] == ids.max() and ids[0].tolist()[3:] == [0, 0]
