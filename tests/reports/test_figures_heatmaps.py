import json
import shutil
import xml.etree.ElementTree as ElementTree
from itertools import combinations

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from core.data.lmdb import write_lmdb
from core.errors import DataError
from core.figures.attention import main as attend
from core.figures.maps import Maps, load_maps
from core.figures.zero_shot import main as zero_shot
from reports.figures import style
from reports.figures.__main__ import main
from reports.figures.clip_maps import FIGURES, cut, overlay, percent, shown
from tests.support.checkout import MICRO_GRID

ATTENTION, ZERO_SHOT = "ablations/figures/attention.gin", "ablations/figures/zero_shot.gin"
LONG = "a_benchmark_with_a_name_that_is_wider_than_its_column"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, world_folder):
    """What both verbs write for the rendered world."""
    root = tmp_path_factory.mktemp("maps")
    zero_shot([ZERO_SHOT, "--out", str(root / "figure_1")])
    attend([ATTENTION, "--data", str(world_folder), "--out", str(root / "figure_2")])
    return root


def square_pictures():
    """Figure 1 as it comes at paper scale: square pictures, 7 x 7 patches, longer words."""
    words, rng = ["airplane", "automobile", "ship"], np.random.default_rng(0)
    cases = [{"word": None, "variant": "none"}] + [{"word": w, "variant": v} for w in words[:2] for v in ("clean", "noise")]
    tower = {"arch": "ViT-B-32", "weights": "openai", "digest": None, "image_size": [224, 224], "grid": [7, 7]}
    about = {"figure": "figure_1", "scale": "paper", "method": "Grad-CAM", "tower": tower, "seed": 0, "cases": cases}
    about |= {"candidates": words, "captions": {word: [f"a $photo of {word}."] for word in words}, "picture_of": None}
    about |= {"stickers": 4, "stickers_read": 1}
    images = [rng.integers(0, 255, (56, 56, 3), dtype=np.uint8) for _ in cases]
    return Maps(images, rng.random((5, 7, 7)), about, {"probabilities": rng.dirichlet([1, 1, 1], 5)})


def mixed_words():
    """Figure 2 with crops of all shapes, and names too long for their columns."""
    rng = np.random.default_rng(0)
    sizes = [(30, 100), (100, 30), (20, 300), (64, 64), (7, 9)]
    cases = [{"benchmark": LONG, "lmdb": ".", "index": i, "label": "W" * 25 if i else "$5_^"} for i in range(5)]
    tower = {"arch": "ViT-B-32", "weights": None, "digest": None, "image_size": [224, 224], "grid": [7, 7]}
    about = {"figure": "figure_2", "scale": "paper", "method": "attention rollout", "tower": tower, "seed": 0, "cases": cases}
    return Maps([rng.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes], rng.random((5, 7, 7)), about)


@pytest.mark.parametrize("case", ["figure_1", "figure_2", "square", "mixed"])
def test_no_text_covers_another_or_leaves_the_figure(folders, case):
    made = {"square": square_pictures, "mixed": mixed_words}
    found = made[case]() if case in made else load_maps(folders / case, case)
    with matplotlib.rc_context(style.RC):
        figure = FIGURES[found.about["figure"]](found)
        figure.set_dpi(200)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    width, height = figure.get_size_inches() * figure.dpi
    for text, box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
    for (one, a), (other, b) in combinations(boxes, 2):
        shared = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
        assert min(shared) <= 1, (one, other)


def test_svg_and_png_are_written_the_same_each_time(folders, tmp_path):
    for name in ("once", "again"):
        main(["figure_2", str(folders / "figure_2"), str(tmp_path / name)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again.png", "again.svg", "once.png", "once.svg"]
    for kind in ("svg", "png"):
        assert (tmp_path / f"once.{kind}").read_bytes() == (tmp_path / f"again.{kind}").read_bytes()
    assert ElementTree.parse(tmp_path / "once.svg").getroot().tag.endswith("svg")
    assert Image.open(tmp_path / "once.png").width == round(300 * style.PAGE)


def test_captions_say_scale_method_and_tower(folders):
    texts = {}
    for figure, draw in FIGURES.items():
        drawn = draw(load_maps(folders / figure, figure))
        texts[figure] = " ".join(text.get_text().replace("\n", " ") for text in drawn.texts)
    assert "Grad-CAM" in texts["figure_1"] and "attention rollout" in texts["figure_2"]
    for text in texts.values():
        assert "micro scale" in text and "weights clip.safetensors; 16 x 64 pixels in 1 x 16 patches" in text
    assert "what they call the bare picture means nothing" in texts["figure_1"]
    assert "bare picture" not in " ".join(
        text.get_text().replace("\n", " ") for text in FIGURES["figure_1"](square_pictures()).texts
    )


def test_the_hottest_patch_has_the_last_colour_and_cold_ones_the_first():
    heat = np.zeros((1, 4))
    heat[0, 2] = 5.0
    drawn = overlay(np.full((8, 36, 3), 100, np.uint8), heat).astype(int)
    first, last = (np.rint(0.4 * 100 + 0.6 * 255 * np.array(matplotlib.colormaps["viridis"](v)[:3])) for v in (0.0, 1.0))
    assert (drawn[4, 0] == first).all() and (drawn[4, 22] == last).all()
    none = overlay(np.full((8, 32, 3), 100, np.uint8), np.zeros((1, 4)))
    assert (none == first).all()


def test_bars_are_the_likeliest_and_the_word_itself():
    names, probabilities = list("abcde"), np.array([0.1, 0.5, 0.05, 0.3, 0.05])
    assert shown(names, probabilities, None) == [1, 3, 0]
    assert shown(names, probabilities, "d") == [1, 3, 0]
    assert shown(names, probabilities, "e") == [1, 3, 4]
    assert [percent(p) for p in (0.0, 0.004, 0.006, 0.994, 0.996)] == ["< 1 %", "< 1 %", "1 %", "99 %", "> 99 %"]
    assert cut("short", 1.0) == "short" and cut(LONG, 1.0).endswith("…") and style.text_width(cut(LONG, 1.0)) <= 1.0


def test_attention_takes_some_of_every_benchmark_by_name(folders, world_folder, tmp_path):
    found = load_maps(folders / "figure_2", "figure_2")
    names = [case["benchmark"] for case in found.about["cases"]]
    benchmarks = sorted(path.name for path in (world_folder / "test").iterdir())
    assert names == [name for name in benchmarks for _ in range(2)] and found.maps.shape == (2 * len(benchmarks), *MICRO_GRID)
    shutil.copytree(world_folder / "test" / "rotated", tmp_path / "test" / "rotated")
    attend([ATTENTION, "--data", str(tmp_path), "--out", str(tmp_path / "out"), "--set", "attention_maps.Attention.images = 1"])
    alone = load_maps(tmp_path / "out", "figure_2")
    assert alone.about["cases"] == [found.about["cases"][names.index("rotated")]]
    np.testing.assert_allclose(alone.maps[0], found.maps[names.index("rotated")], rtol=1e-4)


def test_attention_on_real_images_of_any_size(realdata, tmp_path):
    attend([ATTENTION, "--data", str(realdata), "--out", str(tmp_path / "out")])
    found = load_maps(tmp_path / "out", "figure_2")
    assert len({image.shape for image in found.images}) > 1 and {case["benchmark"] for case in found.about["cases"]} >= {"SVT"}
    main(["figure_2", str(tmp_path / "out"), str(tmp_path / "drawn")])
    assert (tmp_path / "drawn.svg").is_file()


def test_errors_of_the_verbs(tmp_path, capsys):
    write_lmdb(tmp_path / "data" / "test" / "broken", [(b"no image", "word")])
    for data, message in [("data", "broken: none of 1 images can be decoded"), ("none", "test: no benchmark here")]:
        with pytest.raises(SystemExit):
            attend([ATTENTION, "--data", str(tmp_path / data), "--out", str(tmp_path / "out")])
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        attend([ATTENTION, "--data", "x", "--out", "y", "--set", "attention_maps.Attention.images = 0"])
    assert "Attention.images = 0: at least one" in capsys.readouterr().err


def test_maps_replace_maps_and_nothing_else(tmp_path, capsys):
    out = tmp_path / "out"
    for _ in range(2):
        mixed_words().save(out)
    (out / "thesis_figure.pdf").touch()
    for command, arguments in ((zero_shot, [ZERO_SHOT]), (attend, [ATTENTION, "--data", "none"])):
        with pytest.raises(SystemExit):
            command([*arguments, "--out", str(out)])
        assert "out exists and is not an empty folder, it holds thesis_figure.pdf" in capsys.readouterr().err
    with pytest.raises(DataError, match="it holds thesis_figure.pdf"):
        mixed_words().save(out)
    assert sorted(path.name for path in out.iterdir()) == ["maps.json", "maps.npz", "thesis_figure.pdf"]


def test_errors_of_the_drawing(folders, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["figure_2", str(folders / "figure_1"), str(tmp_path / "x")])
    assert "key 'figure' is 'figure_1', expected 'figure_2'" in capsys.readouterr().err
    with pytest.raises(DataError, match="maps.npz is missing: make it with python -m core.figures.zero_shot"):
        load_maps(tmp_path, "figure_1")
    broken = tmp_path / "broken"
    shutil.copytree(folders / "figure_1", broken)
    (broken / "maps.npz").write_bytes((broken / "maps.npz").read_bytes()[:2000])
    with pytest.raises(DataError, match="maps.npz is damaged"):
        load_maps(broken, "figure_1")
    shutil.copy(folders / "figure_1" / "maps.npz", broken)
    about = json.loads((broken / "maps.json").read_text())
    for change, message in [
        ({"cases": about["cases"][1:]}, "13 images, 13 maps, 12 cases"),
        ({"seed": ...}, "'seed' is missing"),
    ]:
        changed = {key: value for key, value in (about | change).items() if value is not ...}
        (broken / "maps.json").write_text(json.dumps(changed))
        with pytest.raises(DataError, match=message):
            load_maps(broken, "figure_1")
