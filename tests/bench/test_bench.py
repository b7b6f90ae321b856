"""What a benchmark measures: the words that were dictated, in as many steps as they take, against the floor."""

import json
import random
from collections import Counter

import pytest
import torch

from core.bench import __main__ as bench
from core.bench import timing, trained
from core.bench.dictation import dictated, other
from core.bench.read import Way, branch, floor, reading, way_of
from core.bench.run import protocols_of
from core.bench.words import GUESSES, IIIT5K_TEST, draw_words, mean_letters, typical_lengths
from core.data.lmdb import WordLmdb, find_lmdbs
from core.experiment.experiment import load
from core.weights.checkpoint import save_model

ROW = "ablations/table_IX/cross-ar.gin"
READ = ["read", "--scale", "smoke", "--threads", "1", "--repeats", "2"]
BOTH = Way("ar", 1, False, "cross")


@pytest.fixture(autouse=True)
def one_thread():
    """Command lines set the threads of the whole process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def count_calls(model) -> dict[str, list[int]]:
    """How many positions each branch classifies at a time from now on: 1 in a step."""
    calls = {"visual": [], "cross": []}
    for name, seen in calls.items():
        head = getattr(model, f"{name}_decoder").head
        head.register_forward_hook(lambda head, inputs, logits, seen=seen: seen.append(logits.shape[1]))
    return calls


def images_for(model, words) -> torch.Tensor:
    return torch.randn(len(words), 3, *model.towers.image_size)


def test_full_words_differ_and_right_guesses_take_one_pass(model):
    (words,) = draw_words("full", 3, 1, model.visual_decoder.max_outputs)
    calls = count_calls(model)
    with dictated(model) as dictation:
        dictation.say(words)
        prediction = reading(model, images_for(model, words), BOTH, "no")()
    assert calls == {"visual": [26, 52], "cross": [52]}  # without context; checked and refined; checked and refined
    assert len(set(words)) == 3 and {len(word) for word in words} == {26}
    for logits in (prediction.visual_ar, prediction.visual, prediction.cross_ar, prediction.cross):
        assert model.tokenizer.decode(logits)[0] == words


def test_wrong_guesses_take_every_step_and_captions_change(model):
    (words,) = draw_words("full", 3, 1, model.visual_decoder.max_outputs)
    calls, read = count_calls(model), []
    read_caption, model.read_caption = (
        model.read_caption,
        lambda towers, ids: read.append(len(ids)) or read_caption(towers, ids),
    )
    with dictated(model) as dictation:
        dictation.say(words, "wrong")
        prediction = reading(model, images_for(model, words), BOTH, "no")()
    assert calls["visual"] == [26, 52, *[1] * 26, 26] and read == [6]  # steps go from the start, then refinement
    assert calls["cross"] == [26, *[1] * 25, 26]
    decoded = [model.tokenizer.decode(logits)[0] for logits in (prediction.visual_ar, prediction.visual, prediction.cross)]
    assert decoded == [words, [other(word) for word in words], [other(other(word)) for word in words]]


@pytest.mark.parametrize("guesses", GUESSES)
def test_typical_words_end_after_their_own_letters(model, guesses):
    words = ["of", "tables", "a"]
    calls = count_calls(model)
    with dictated(model) as dictation:
        dictation.say(words, guesses)
        prediction = reading(model, images_for(model, words), BOTH, "no")()
    assert calls["visual"] == ([26, 2 * 7] if guesses == "right" else [26, 52, *[1] * 7, 7])
    assert model.tokenizer.decode(prediction.visual_ar)[0] == words
    if guesses == "right":
        assert model.tokenizer.decode(prediction.output)[0] == words


def test_dictation_ends_with_its_block_and_refuses_what_is_too_long(model):
    images = images_for(model, "ab")
    before = model.predict(images).output
    with dictated(model) as dictation:
        dictation.say(["one", "two"])
        assert not torch.equal(model.predict(images).output, before)
        with pytest.raises(ValueError, match="has 27 letters, a decoder 26 outputs"):
            dictation.say(["a" * 27])
    assert torch.equal(model.predict(images).output, before)
    assert "step" not in vars(model.visual_decoder)


def test_the_visual_output_is_read_without_the_cross_branch(model):
    calls = count_calls(model)
    images = images_for(model, "ab")
    visual = reading(model, images, Way("ar", 1, False, "visual"), "no")()
    assert visual.cross is None and calls["visual"] and not calls["cross"]
    assert model.cross_decoder is not None and branch(model, "cross") is model
    assert torch.equal(visual.output, model.predict(images).visual)


def test_the_floor_is_a_part_of_reading(model):
    """Both run the image tower once; the floor runs nothing else."""
    ran = Counter()
    parts = {"image": model.towers.visual.ln_post, "visual": model.visual_decoder.norm, "cross": model.cross_decoder.norm}
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: ran.update([name]))
    images = images_for(model, "ab")
    assert torch.equal(floor(model, images, "no")(), model.encode(images))
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
    floor(model, images, "no")()
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


def test_tasks_take_turns_after_a_warm_up(capsys):
    calls = []

    def task(name):
        def ready(number):
            calls.append(("ready", name, number))
            return lambda: calls.append(("run", name, number))

        return ready

    measured = timing.take_turns({"a": task("a"), "b": task("b")}, 2, torch.device("cpu"), "turns")
    rounds = ((0, "ba"), (0, "ab"), (1, "ba"))  # the first is to warm up
    order = [(kind, name, number) for number, names in rounds for name in names for kind in ("ready", "run")]
    assert calls == order and {name: len(seconds) for name, seconds in measured.items()} == {"a": 2, "b": 2}
    assert not capsys.readouterr().out


def test_the_clock_waits_for_a_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(timing.time, "perf_counter", lambda: calls.append("clock") or 0.0)
    timing.seconds_of(lambda: calls.append("work"), torch.device("cuda"))
    assert calls == ["wait", "clock", "work", "wait", "clock"]


def test_ratios_pair_neighbours():
    """Three rounds, the second on a machine half as fast: worked by hand."""
    assert timing.ratios([3.0, 8.0, 5.0], [1.0, 2.0, 1.0]) == timing.Spread(median=4.0, low=3.0, high=5.0)


def test_batches_add_up_to_passes():
    """Two repeats of two batches, ten images: 1 + 2 and 3 + 4 seconds."""
    assert trained.passes([1.0, 2.0, 3.0, 4.0], repeats=2, images=10) == [300.0, 700.0]
    found = trained.cost([300.0, 700.0, 400.0], [100.0, 100.0, 200.0], None)
    assert (found["ms_per_image"], found["low_ms"], found["high_ms"]) == (400.0, 300.0, 700.0)
    assert (found["floor_ms"], found["ratio"]) == (100.0, 3.0)  # of 3, 7 and 2


def test_read_prints_one_object_a_batch_size(capsys):
    bench.main([*READ, "--batch", "1", "3", "--lengths", "typical", "--json"])
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["batch"] for line in found] == [1, 3]
    for line in found:
        assert (line["what"], line["row"], line["scale"], line["lengths"]) == ("read", ROW, "smoke", "typical")
        assert (line["precision"], line["threads"], line["repeats"]) == ("float32", 1, 2)
        assert 0 < line["floor_low_s"] <= line["floor_s"] <= line["floor_high_s"] and line["device"]
        assert line["low_s"] <= line["median_s"] <= line["high_s"]
        assert line["cpu_ratio"] > 0 and line["cpu_share"] > 0
        assert line["ratio_low"] <= line["ratio"] <= line["ratio_high"]
        assert line["ms_per_image"] == pytest.approx(1000 * line["median_s"] / line["batch"])
        assert line["way"] == "ar, 1 refinement, both branches"


def test_read_says_what_it_did(capsys):
    bench.main(["read", "ablations/table_IX/visual-cloze.gin", *READ[1:], "--batch", "2"])
    text = " ".join(capsys.readouterr().out.split())
    assert "visual-cloze.gin: cloze, 1 refinement, visual branch alone" in text
    assert "no [E]" in text and "Medians of 2 repeats" in text


@pytest.fixture
def run_folder(model, smoke, tmp_path):
    save_model(model, smoke.training, {}, tmp_path / "run")
    return tmp_path / "run"


def test_a_trained_model_is_timed_on_test_images_under_each_row(run_folder, world_folder, tmp_path, capsys):
    rows = [f"ablations/table_IX/{name}.gin" for name in ("cross-ar", "cross-eq8", "visual-ar")]
    out = tmp_path / "timing" / "found.json"
    places = ["--model", str(run_folder), "--data", str(world_folder), *rows, "--out", str(out)]
    bench.main([*READ, *places, "--batch", "4", "--images", "6"])
    found = json.loads(out.read_text())
    assert set(found) == {"device", "precision", "batch", "threads", "images", "repeats", "mean_letters", "readings"}
    assert (found["batch"], found["threads"], found["images"], found["repeats"]) == (4, 1, 6, 2)
    assert 1 <= found["mean_letters"] <= 6
    assert list(found["readings"]) == ["cross-ar", "cross-eq8", "visual-ar"]
    for row in found["readings"].values():
        assert set(row["outputs"]) == {"visual", "cross"}
        own = row["outputs"][row["output"]]
        assert {key: row[key] for key in own} == own
        assert set(own) == {"ms_per_image", "low_ms", "high_ms", "floor_ms", "ratio", "cpu_ratio"}
        assert 0 < own["low_ms"] <= own["ms_per_image"] <= own["high_ms"]
    ar, eq8, visual = found["readings"].values()
    assert visual["output"] == "visual" and visual["outputs"] == ar["outputs"]
    assert eq8["outputs"]["visual"] == ar["outputs"]["visual"] and eq8["outputs"]["cross"] != ar["outputs"]["cross"]
    assert f"written to {out}" in capsys.readouterr().out


def test_the_sampled_images_are_seeded_and_of_all_benchmarks(model, world_folder, capsys):
    images, labels = trained.sample_images(model, world_folder, "clip", 40)
    again, _ = trained.sample_images(model, world_folder, "clip", 40)
    assert torch.equal(images, again) and len(labels) == 40
    everything, labels = trained.sample_images(model, world_folder, "clip", 1000)
    assert torch.equal(everything[:40], images)
    stored = [sample.label for path in find_lmdbs(world_folder / "test") for sample in WordLmdb(path).samples]
    assert sorted(labels) == sorted(stored) and labels != stored
    broken = world_folder.parent / "with-a-broken-one"
    (broken / "test" / "broken").mkdir(parents=True)
    (broken / "test" / "broken" / "data.mdb").write_bytes(b"no database")
    (broken / "test" / "regular").symlink_to(world_folder / "test" / "regular")
    assert len(trained.sample_images(model, broken, "clip", 1000)[1]) == 8
    assert "broken: left out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch", "1", "0"], "--batch: expected a whole number of at least 1, got '0'"),
        (["--repeats", "0"], "--repeats: expected a whole number of at least 1, got '0'"),
        (["--threads", "0"], "--threads: expected a whole number of at least 1, got '0'"),
        (["--data", "world", "--images", "3"], "--data, --images goes with a trained model: add --model RUN_DIR"),
        (["--model", "run"], "--model also needs --data and --out"),
        (["--model", "run", "--data", "d", "--out", "o"], "--model needs a ROW, a gin file"),
        ([ROW, "--model", "run", "--data", "d", "--out", "o", "--lengths", "full"], "ends its words itself; leave"),
        ([ROW, "--model", "run", "--data", "d", "--out", "o", "--batch", "1", "8"], "--batch 1 8: with --model give one"),
        (
            [ROW, "--model", "run", "--data", "d", "--out", "o", "--images", "0"],
            "--images: expected a whole number of at least 1",
        ),
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
        protocols_of([ROW, str(tmp_path / "cross-ar.gin")], "smoke")
