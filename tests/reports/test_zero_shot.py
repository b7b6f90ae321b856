import numpy as np
import pytest
import torch
from PIL import Image

from core import config
from core.data.render.stickers import VARIANTS, Sticker, draw_picture, fit_picture
from core.data.transforms import ToTensor
from core.figures.maps import load_maps
from core.figures.zero_shot import main
from core.figures.zero_shot_maps import ZeroShot, classify, text_features, zero_shot
from core.model.captions import CaptionTokenizer
from core.pretrain.pretraining import Pretraining
from tests.support.checkout import MICRO_GRID, MICRO_SIZE

PLAN = "ablations/figures/zero_shot.gin"
WORDS = ("plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def plan(*bindings, scale="micro"):
    return config.build(ZeroShot, PLAN, scale, bindings)


@pytest.fixture(scope="module")
def seen():
    """What the shipped micro towers make of every word, twice: seeds 0 and 1."""
    found = []
    for seed in (0, 1):
        towers = plan(f"STICKERS = {WORDS}", f"SEED = {seed}")
        towers.towers.load_pretrained()
        found.append(zero_shot(towers, None, "micro"))
    return found


def test_the_micro_towers_read_what_is_on_the_sticker(seen):
    """Of 20 words a variant, 2 are read by luck."""
    read = dict.fromkeys(VARIANTS, 0)
    for found in seen:
        for case in found.about["cases"][1:]:
            read[case["variant"]] += case["predicted"] == case["word"]
    assert read["clean"] >= 17 and read["noise"] >= 15 and read["occlusion"] >= 12 and read["rotation"] >= 8, read
    assert sum(found.about["stickers_read"] for found in seen) == sum(read.values())


def test_probabilities_and_maps_are_of_the_same_cases(seen):
    found = seen[0]
    probabilities, cases = found.more["probabilities"], found.about["cases"]
    assert probabilities.shape == (41, 10) and found.maps.shape == (41, *MICRO_GRID) and (found.maps >= 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert [found.about["candidates"][i] for i in probabilities.argmax(1)] == [case["predicted"] for case in cases]
    assert cases[0] == {"word": None, "variant": "none", "predicted": cases[0]["predicted"]}
    assert found.about["captions"]["dog"] == ["dog", "d o g"]


def test_what_the_towers_read_lies_on_the_sticker(seen):
    """Grey over one patch costs more similarity to the sticker's caption where the sticker is than beside it.

    Grad-CAM does not show it: on these towers its heat lies as often beside the sticker as on it.
    """
    micro = plan()
    micro.towers.load_pretrained()
    towers, transform, texts = micro.towers.eval(), ToTensor(MICRO_SIZE, "clip"), text_features(micro)
    on_sticker, beside = [], []
    for found in seen:
        for image, case in zip(found.images, found.about["cases"], strict=True):
            if case["variant"] == "clean":
                pixels = transform(Image.fromarray(image))
                covered = pixels.repeat(17, 1, 1, 1)  # each patch in turn, and none
                for patch in range(16):
                    covered[patch, :, :, 4 * patch : 4 * patch + 4] = pixels.mean()
                with torch.no_grad():
                    features = torch.nn.functional.normalize(towers.encode_image(covered)[:, 0], dim=-1)
                likeness = features @ texts[micro.candidates.index(case["word"])]
                loss = (likeness[16] - likeness[:16]).relu().numpy()
                share = (image != found.images[0]).any(2).mean(0).reshape(16, -1).mean(1)
                on_sticker.append((loss * share).sum() / share.sum())
                beside.append((loss * (1 - share)).sum() / (1 - share).sum())
    assert np.mean(on_sticker) > 2 * np.mean(beside)


def test_candidates_are_words_that_the_towers_learned():
    """Tokens that no caption had keep random embeddings: a candidate among them would be noise."""
    task = config.build(Pretraining, "ablations/micro/clip.gin").task
    micro, tokenize = plan(), CaptionTokenizer(8)
    assert set(micro.candidates) <= set(task.words)
    for word in micro.candidates:
        assert (tokenize(micro.captions(word)) > 0).sum(1).tolist() == [3, 2 + len(word)]


def test_variants_differ_in_nothing_but_the_variant():
    sticker = Sticker(width=0.5, height=0.5, margin=0.1, stretched=True, noise=40.0, rotation=10.0, occlusion=0.2)
    bare = draw_picture("✈", (64, 128), np.random.default_rng(0))
    images = {v: np.asarray(sticker.put(bare, "cat", v, np.random.default_rng(3))).astype(int) for v in VARIANTS}
    changed = {v: (image != np.asarray(bare)).any(2) for v, image in images.items()}
    boxes = {v: [np.flatnonzero(mask.any(axis))[[0, -1]].tolist() for axis in (1, 0)] for v, mask in changed.items()}
    (top, bottom), (left, right) = boxes["clean"]
    assert (bottom - top, right - left) == (31, 63)
    assert boxes["noise"] == boxes["occlusion"] == boxes["clean"]
    (higher, lower), (lefter, righter) = boxes["rotation"]
    assert (
        higher < top < bottom < lower and abs(higher + lower - top - bottom) <= 2 and abs(lefter + righter - left - right) <= 2
    )
    bar = np.flatnonzero((images["occlusion"] != images["clean"]).any((0, 2)))
    assert np.ptp(bar) < 13 and (images["occlusion"][top:bottom, bar] == 128).all()
    assert np.array_equal(images["clean"], np.asarray(sticker.put(bare, "cat", "clean", np.random.default_rng(3))))


def test_letters_keep_their_shape_where_they_are_not_stretched():
    shapes = {}
    for stretched in (True, False):
        sticker = Sticker(width=1.0, height=1.0, margin=0.0, stretched=stretched, noise=0, rotation=0, occlusion=0.1)
        board = sticker.board("ox", 400, 40)
        rows, columns = (np.flatnonzero((board < 130).any(axis)) for axis in (1, 0))
        shapes[stretched] = np.ptp(columns) / np.ptp(rows)
    assert shapes[True] > 8 and shapes[False] < 3


def test_the_middle_of_a_picture_is_kept():
    picture = Image.fromarray(np.repeat(np.arange(200, dtype=np.uint8)[None, :, None], 100, 0).repeat(3, 2))
    fitted = np.asarray(fit_picture(picture, (50, 50)))
    assert fitted.shape == (50, 50, 3) and abs(int(fitted[25, 0, 0]) - 50) <= 2 and abs(int(fitted[25, -1, 0]) - 149) <= 2


def test_the_paper_scale_is_built_whole():
    with torch.device("meta"):  # shapes alone, no memory for 151 M parameters
        paper = plan("WEIGHTS = None", scale="paper")
        assert text_features(paper).shape == (10, 512)
        assert classify(paper.towers, torch.empty(2, 3, 224, 224), torch.empty(10, 512))[1].shape == (2, 7, 7)
    assert paper.towers.arch == "ViT-B-32-quickgelu" and paper.captions("dog") == ["a photo of the dog."]


def test_a_users_picture_and_the_files(tmp_path, capsys):
    Image.new("RGB", (90, 60), (200, 30, 30)).save(tmp_path / "red.png")
    main([PLAN, "--out", str(tmp_path / "out"), "--image", str(tmp_path / "red.png"), "--set", "STICKERS = ('cat',)"])
    assert "of 4 stickers read" in capsys.readouterr().out
    found = load_maps(tmp_path / "out", "figure_1")
    assert (found.images[0] == (200, 30, 30)).all() and found.images[0].shape == (64, 256, 3)
    assert found.about["picture_of"] is None and found.about["seed"] == 0 and found.about["scale"] == "micro"
    assert len(found.images) == 5 and found.about["tower"]["weights"] == "ablations/micro/clip.safetensors"


def test_features_of_prompts_are_averaged_word_by_word():
    both, plain, spelled = plan(), plan("PROMPTS = ('{word}',)"), plan("PROMPTS = ('{letters}',)")
    for each in (both, plain, spelled):
        torch.manual_seed(0)
        each.towers.load_pretrained()
    expected = torch.nn.functional.normalize(text_features(plain) + text_features(spelled), dim=-1)
    torch.testing.assert_close(text_features(both), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "STICKERS = ('zebra',)"], "'zebra' is not one of the candidates plane, car"),
        (["--set", "STICKERS = 'dog'"], "ZeroShot.stickers = 'dog': expected one or more texts"),
        (["--set", "PROMPTS = ('a word',)"], "'a word' names no word; write {word} or {letters} in it"),
        (["--set", "PROMPTS = ('it says the word {letters}',)"], "'it says the word p l a n e' is cut at CONTEXT_LENGTH = 8"),
        (["--set", "STICKER_WIDTH = 2.0"], "Sticker.width = 2.0: a share lies in (0, 1]"),
        (["--set", "STICKRS = ('dog',)"], "nothing reads STICKRS"),
        (["--image", "none.png"], "none.png: no such file"),
        (["--scale", "huge"], "--scale: invalid choice: 'huge'"),
    ],
)
def test_errors_name_what_is_wrong(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit):
        main([PLAN, "--out", str(tmp_path / "out"), *arguments])
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
