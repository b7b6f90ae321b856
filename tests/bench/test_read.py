"""Reading: the outputs that were forced, in as many passes as they take, against the image tower's own forward pass."""

import json
import random
from collections import Counter

import pytest
import torch

from core.bench import __main__ as bench
from core.bench import trained
from core.bench.forced_outputs import forced_outputs, other
from core.bench.measure import Seconds, compare
from core.bench.read import Way, branch, reading, tower_forward, way_of
from core.bench.words import GUESSES, IIIT5K_TEST, draw_words, mean_letters, typical_lengths
from core.data.lmdb import WordLmdb
from core.data.sets import find_lmdbs
from core.experiment.experiment import load
from core.weights.checkpoint import save_model

ROW = "ablations/table_IX/cross-ar.gin"
READ = ["read", "--scale", "smoke", "--threads", "1", "--repeats", "2"]
BOTH = Way("ar", 1, False, "cross")


def count_calls(model) -> dict[str, list[int]]:
    """How many positions each branch classifies at a time from now on: 1 in a step."""
    calls = {"visual": [], "cross": []}
    for name, sizes in calls.items():
        head = getattr(model, f"{name}_decoder").head
        head.register_forward_hook(lambda head, inputs, logits, sizes=sizes: sizes.append(logits.shape[1]))
    return calls


def images_for(model, words) -> torch.Tensor:
    return torch.randn(len(words), 3, *model.towers.image_size)


def read(model, words, guesses="right"):
    """What the model reads with its outputs forced, and the positions each branch classified at a time."""
    calls = count_calls(model)
    with forced_outputs(model) as outputs:
        outputs.force(words, guesses)
        return reading(model, images_for(model, words), BOTH, "no")(), calls


def test_full_words_differ_and_right_guesses_take_one_pass(model):
    (words,) = draw_words("full", 3, 1, model.visual_decoder.max_outputs)
    prediction, calls = read(model, words)
    assert calls == {"visual": [26, 52], "cross": [52]}  # without context; checked and refined; checked and refined
    assert len(set(words)) == 3 and {len(word) for word in words} == {26}
    for logits in (prediction.visual_ar, prediction.visual, prediction.cross_ar, prediction.cross):
        assert model.tokenizer.decode(logits)[0] == words


def test_wrong_guesses_take_every_step_and_captions_change(model):
    (words,) = draw_words("full", 3, 1, model.visual_decoder.max_outputs)
    captions, read_caption = [], model.read_caption
    model.read_caption = lambda towers, ids: captions.append(len(ids)) or read_caption(towers, ids)
    prediction, calls = read(model, words, "wrong")
    assert calls["visual"] == [26, 52, *[1] * 26, 26] and captions == [6]  # steps go from the start, then refinement
    assert calls["cross"] == [26, *[1] * 25, 26]
    decoded = [model.tokenizer.decode(logits)[0] for logits in (prediction.visual_ar, prediction.visual, prediction.cross)]
    assert decoded == [words, [other(word) for word in words], [other(other(word)) for word in words]]


@pytest.mark.parametrize("guesses", GUESSES)
def test_typical_words_end_after_their_own_letters(model, guesses):
    words = ["of", "tables", "a"]
    prediction, calls = read(model, words, guesses)
    assert calls["visual"] == ([26, 2 * 7] if guesses == "right" else [26, 52, *[1] * 7, 7])
    assert model.tokenizer.decode(prediction.visual_ar)[0] == words
    if guesses == "right":
        assert model.tokenizer.decode(prediction.output)[0] == words


def test_outputs_are_forced_until_the_block_ends(model):
    images = images_for(model, "ab")
    before = model.predict(images).output
    with forced_outputs(model) as outputs:
        outputs.force(["one", "two"])
        assert not torch.equal(model.predict(images).output, before)
        with pytest.raises(ValueError, match="has 27 letters, a decoder 26 outputs"):
            outputs.force(["a" * 27])
    assert torch.equal(model.predict(images).output, before)
    assert "step" not in vars(model.visual_decoder)


def test_the_visual_output_is_read_without_the_cross_branch(model):
    calls = count_calls(model)
    images = images_for(model, "ab")
    visual = reading(model, images, Way("ar", 1, False, "visual"), "no")()
    assert visual.cross is None and calls["visual"] and not calls["cross"]
    assert model.cross_decoder is not None and branch(model, "cross") is model
    assert torch.equal(visual.output, model.predict(images).visual)


def test_the_reference_is_a_part_of_reading(model):
    """Both run the image tower once; the reference runs nothing else."""
    ran = Counter()
    parts = {"image": model.towers.visual.ln_post, "visual": model.visual_decoder.norm, "cross": model.cross_decoder.norm}
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: ran.update([name]))
    images = images_for(model, "ab")
    assert torch.equal(tower_forward(model, images, "no")(), model.encode(images))
    assert ran == {"image": 2}
    reading(model, images, BOTH, "no")()
    assert ran["image"] == 3 and ran["visual"] > 1 and ran["cross"] > 1


def test_ways_that_cost_the_same_are_one(smoke):
    eq8 = load("ablations/table_IX/cross-eq8.gin", "smoke").protocol
    assert way_of(eq8, "visual") == way_of(smoke.protocol, "visual")
    assert way_of(eq8, "cross") != way_of(smoke.protocol, "cross")


def test_captions_are_tokenized_anew(model):
    images = images_for(model, "ab")
    reading(model, images, BOTH, "no")()
    assert model.caption_tokenizer.known
    ready = reading(model, images, BOTH, "no")
    assert not model.caption_tokenizer.known
    ready()
    tower_forward(model, images, "no")()
    assert model.caption_tokenizer.known


def test_typical_lengths_have_the_shape_of_the_histogram():
    assert sum(IIIT5K_TEST) == 3000
    mean = sum(length * words for length, words in enumerate(IIIT5K_TEST)) / 3000
    assert mean == pytest.approx(15269 / 3000)
    assert Counter(typical_lengths(3000, random.Random(0))) == {n: words for n, words in enumerate(IIIT5K_TEST) if words}
    assert typical_lengths(1, random.Random(0)) == [5]  # the median
    few = [word for batch in draw_words("typical", 8, 5, 26) for word in batch]
    assert mean_letters(few) == pytest.approx(mean, abs=0.2) and max(map(len, few)) <= 25
    assert {len(word) for batch in draw_words("typical", 8, 5, 4) for word in batch} == {1, 2, 3}


def test_the_histogram_is_that_of_the_real_words(realdata):
    found = Counter(len(sample.label) for sample in WordLmdb(realdata / "test" / "IIIT5k").samples)
    assert found == {length: words for length, words in enumerate(IIIT5K_TEST) if words}


def test_batches_add_up_to_passes():
    """Three repeats of two batches of five images each."""
    cpu, device = torch.device("cpu"), 0
    clocks = {"read": (1, 2, 3, 4, 2, 2), "reference": (0.5, 0.5, 0.5, 0.5, 1, 1)}
    passes = [trained.whole_passes([Seconds(s, s / 2) for s in clocks[task]], 2) for task in clocks]
    assert passes[device] == [Seconds(3, 1.5), Seconds(7, 3.5), Seconds(4, 2)]
    found = trained.as_entry(compare("read", *passes, cpu, {}, value=lambda seconds: 1000 / 10 * seconds))
    assert (found["ms_per_image"], found["low_ms"], found["high_ms"]) == (400.0, 300.0, 700.0)
    assert (found["floor_ms"], found["ratio"], found["cpu_ratio"]) == (100.0, 3.0, 3.0)  # of 3, 7 and 2
    assert found["cpu_share"] == 0.5  # 7 of 14 seconds, on one thread


def test_the_file_says_how_many_jobs_were_beside(model, smoke, world_folder, monkeypatch):
    """Whichever is more, before or after."""
    for seen, expected in (([None], None), ([0, 0], 0), ([0, 2], 2), ([1, 0], 1)):
        counts = iter(seen)
        monkeypatch.setattr(trained, "jobs_beside", lambda counts=counts: next(counts))
        _, content = trained.measure_trained(model, world_folder, {"a": smoke.protocol}, batch=2, images=2, repeats=1)
        assert content["other_jobs"] == expected


def test_read_measures_every_batch_size(lines):
    for line, batch in zip(lines(" ".join([*READ, "--batch 1 3 --lengths typical"])), (1, 3), strict=True):
        details = line["details"]
        assert (line["name"], details["row"], details["scale"], details["lengths"]) == ("read", ROW, "smoke", "typical")
        assert (details["precision"], details["batch"], line["threads"], line["n"]) == ("float32", batch, 1, 2)
        assert line["cpu_ratio"] > 0 and line["cpu_share"] > 0
        assert details["ms per image"] == pytest.approx(line["ours"]["median"] / batch)
        assert details["way"] == "ar, 1 refinement, both branches"


def test_read_describes_what_it_did(capsys):
    bench.main(["read", "ablations/table_IX/visual-cloze.gin", *READ[1:], "--batch", "2"])
    text = " ".join(capsys.readouterr().out.split())
    assert "visual-cloze.gin, scale smoke, way cloze, 1 refinement, visual branch alone" in text
    assert "as the decoder has room for" in text and "Medians of 2" in text


@pytest.fixture
def run_folder(model, smoke, tmp_path):
    save_model(model, smoke.training, {}, tmp_path / "run")
    return tmp_path / "run"


def test_a_trained_model_is_timed_on_test_images_under_each_row(run_folder, world_folder, tmp_path, capsys):
    rows = [f"ablations/table_IX/{name}.gin" for name in ("cross-ar", "cross-eq8", "visual-ar")]
    out = tmp_path / "timing" / "times.json"
    places = ["--model", str(run_folder), "--data", str(world_folder), *rows, "--out", str(out)]
    bench.main([*READ, *places, "--batch", "4", "--images", "6"])
    found = json.loads(out.read_text())
    settings = {"device", "precision", "batch", "threads", "images", "repeats", "mean_letters"}
    assert set(found) == {*settings, "other_jobs", "readings"}
    assert (found["batch"], found["threads"], found["images"], found["repeats"]) == (4, 1, 6, 2)
    assert 1 <= found["mean_letters"] <= 6
    assert list(found["readings"]) == ["cross-ar", "cross-eq8", "visual-ar"]
    for row in found["readings"].values():
        assert set(row["outputs"]) == {"visual", "cross"}
        own = row["outputs"][row["output"]]
        assert {key: row[key] for key in own} == own
        assert set(own) == {"ms_per_image", "low_ms", "high_ms", "floor_ms", "ratio", "cpu_ratio", "cpu_share"}
        assert 0 < own["cpu_share"] <= 1.1  # of one thread's time; clocks differ a little
        assert 0 < own["low_ms"] <= own["ms_per_image"] <= own["high_ms"]
    ar, eq8, visual = found["readings"].values()
    assert visual["output"] == "visual" and visual["outputs"] == ar["outputs"]
    assert eq8["outputs"]["visual"] == ar["outputs"]["visual"] and eq8["outputs"]["cross"] != ar["outputs"]["cross"]
    assert f"written to {out}" in capsys.readouterr().out


def test_the_sampled_images_are_seeded_and_of_all_benchmarks(model, world_folder, capsys):
    protocol = load(ROW, "smoke").protocol
    images, labels = trained.sample_images(model, world_folder, protocol, 40)
    again, _ = trained.sample_images(model, world_folder, protocol, 40)
    assert torch.equal(images, again) and len(labels) == 40
    everything, labels = trained.sample_images(model, world_folder, protocol, 1000)
    assert torch.equal(everything[:40], images)
    stored = [sample.label for path in find_lmdbs(world_folder / "test") for sample in WordLmdb(path).samples]
    assert sorted(labels) == sorted(stored) and labels != stored
    broken = world_folder.parent / "with-a-broken-one"
    (broken / "test" / "broken").mkdir(parents=True)
    (broken / "test" / "broken" / "data.mdb").write_bytes(b"no database")
    (broken / "test" / "regular").symlink_to(world_folder / "test" / "regular")
    assert len(trained.sample_images(model, broken, protocol, 1000)[1]) == 8
    assert "broken: left out" in capsys.readouterr().err


MODEL = [ROW, "--model", "run", "--data", "d", "--out", "o"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "1", "0"], "--batch: expected a whole number of at least 1, got '0'"),
        (["--threads", "0"], "--threads: expected a whole number of at least 1, got '0'"),
        (["--data", "world", "--images", "3"], "--data, --images goes with a trained model: add --model RUN_DIR"),
        (["--model", "run"], "--model also needs --data and --out"),
        (MODEL[1:], "--model needs a ROW, a gin file"),
        ([*MODEL, "--lengths", "full"], "ends its words itself; leave"),
        ([*MODEL, "--batch", "1", "8"], "--batch 1 8: with --model give one"),
        ([*MODEL, "--images", "0"], "--images: expected a whole number of at least 1"),
    ],
)
def test_wrong_options_are_refused_with_the_fix(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["read", *arguments])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_missing_model_is_named(capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["read", ROW, "--model", "no-run", "--data", "d", "--out", "o"])
    assert stop.value.code == 1 and "no-run: no such model file" in capsys.readouterr().err


def test_rows_that_cannot_share_a_measurement_are_refused(model, smoke, tmp_path):
    half = load("ablations/released/as_published.gin", "smoke").protocol
    with pytest.raises(ValueError, match="b: normalisation = 'half', but a has 'clip'; measure them in two calls"):
        trained.ways_of(model, {"a": smoke.protocol, "b": half})
    with pytest.raises(ValueError, match="a: OUTPUT = 'cross', but the model has the visual branch alone; say 'visual'"):
        trained.ways_of(branch(model, "visual"), {"a": smoke.protocol})
    (tmp_path / "cross-ar.gin").write_text("include 'ablations/base.gin'\n")
    with pytest.raises(ValueError, match="another ROW has the stem 'cross-ar', the key of the file; rename one"):
        trained.protocols_of([ROW, str(tmp_path / "cross-ar.gin")], "smoke")
