"""Every other verb of the bench: what it measures beside what, and the one shape that all print."""

import json
from unittest.mock import ANY

import pytest
import torch

from core.bench import measure, profile, scaling
from core.bench.__main__ import main
from core.bench.captions import ArrayCaptions, StringCaptions, ids_of, words_of
from core.bench.data import SIZES, rendered_words
from core.bench.index import index_costs, plain_scan, write_labels
from core.bench.measure import Seconds
from core.bench.profile import ALL, REST, TOWER, Stopwatch, named_parts
from core.bench.read import forget_captions
from core.bench.train import AFTER_LOSSES, tower_step
from core.data.lmdb import WordLmdb, write_lmdb
from core.data.render.sheet import png_bytes
from core.experiment.experiment import load
from core.experiment.optim import Optimisation
from core.model.captions import CaptionTokenizer
from core.model.clip4str import CLIP4STR
from reports.figures.__main__ import main as draw

ROW = "ablations/table_IX/cross-ar.gin"


def run(command: str) -> None:
    main(command.split())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("read --repeats 0", "--repeats"),
        ("captions --captions 0", "--captions"),
        ("profile read --repeats 0", "--repeats"),
        ("data --images 0", "--images"),
        ("data --size 0 8", "--size"),
        ("index --labels 0", "--labels"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, option, capsys):
    with pytest.raises(SystemExit):
        run(arguments)
    assert f"{option}: expected a whole number of at least 1, got '0'" in capsys.readouterr().err


def test_tasks_take_turns_after_a_warm_up(capsys):
    calls = []

    def task(name):
        def ready(number):
            calls.append(("ready", name, number))
            return lambda: calls.append(("run", name, number))

        return ready

    measured = measure.take_turns({"a": task("a"), "b": task("b")}, 2, torch.device("cpu"), "turns")
    rounds = ((0, "ba"), (0, "ab"), (1, "ba"))  # the first is to warm up
    order = [(kind, name, number) for number, names in rounds for name in names for kind in ("ready", "run")]
    assert calls == order and {name: len(seconds) for name, seconds in measured.items()} == {"a": 2, "b": 2}
    assert not capsys.readouterr().out


def test_the_clock_waits_for_a_gpu(monkeypatch):
    calls = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: calls.append("wait"))
    monkeypatch.setattr(measure.time, "perf_counter", lambda: calls.append("clock") or 0.0)
    measure.seconds_of(lambda: calls.append("work"), torch.device("cuda"))
    assert calls == ["wait", "clock", "work", "wait", "clock"]


def test_ratios_pair_neighbours():
    """Three rounds, the second on a machine half as fast: worked by hand."""
    found = measure.measurement("a", [3.0, 8.0, 5.0], [1.0, 2.0, 1.0], torch.device("cpu"), "ms", {})
    assert found.ratio == measure.Spread(median=4.0, low=3.0, high=5.0) and found.n == 3


@pytest.mark.parametrize(("guesses", "captions"), [("right", 2), ("wrong", 4)])
def test_a_training_step_reads_the_captions_that_are_forced(monkeypatch, lines, guesses, captions):
    """Two images under two orders: one caption an image where the orders agree, one an order where they do not."""
    read, caption_memory = [], CLIP4STR.caption_memory

    def counted(model, ids):
        found = caption_memory(model, ids)
        if found[0][0].keys.device.type != "meta":  # there operations are counted
            read.append(len(found[0][0].keys))
        return found

    monkeypatch.setattr(CLIP4STR, "caption_memory", counted)
    made, optimiser = [], Optimisation.optimiser
    monkeypatch.setattr(Optimisation, "optimiser", lambda *given: made.append(optimiser(*given)) or made[-1])
    (line,) = lines(f"train --scale smoke --threads 1 --repeats 2 --batch 2 --guesses {guesses}")
    assert (line["name"], line["n"]) == ("train", 2) and line["ratio"]["median"] > 1
    described = {"row": ROW, "batch": 2, "lengths": "full", "guesses": guesses, "orders": 2, "mean letters": 25}
    assert line["details"] == described | {"scale": "smoke", "precision": "float32", "images/s": ANY, "model TFLOP/s": ANY}
    assert read == [captions] * 3  # a warm-up and two repeats
    assert len(made) == 1 and all(int(state["step"]) == 3 for state in made[0].state.values())  # which none of them set up anew


def test_a_frozen_tower_has_no_backward_pass(monkeypatch):
    backward = []
    monkeypatch.setattr(torch.Tensor, "backward", lambda *_: backward.append(1))
    model = load("ablations/table_VI/image12-text6.gin", "smoke").experiment.model(load_weights=False)
    tower_step(model, torch.randn(2, 3, *model.towers.image_size), "no")()
    assert not backward


CALLS = {
    "image tower, forward": 1,
    "text tower, forward": 1,
    "captions to tokens": 1,
    "visual decoder: memory projection": 1,
    "cross decoder: memory projection": 2,  # the image's, the captions'
}
PASSES = {"read": {"visual decoder: passes": 2, "cross decoder: passes": 1}}  # a guess; each branch checks and refines at once
PASSES["train"] = {"visual decoder: passes": 1, "cross decoder: passes": 1} | dict.fromkeys(AFTER_LOSSES, 1)


@pytest.mark.parametrize("what", PASSES)
def test_every_part_is_timed_and_the_rest(what, lines):
    found = lines(f"profile {what} --scale smoke --batch 2 --repeats 1 --threads 1")
    parts = {line["name"]: line for line in found}
    assert list(parts)[0] == TOWER and list(parts)[-2:] == [REST, ALL] and parts[TOWER]["ratio"]["median"] == 1
    assert {name: part["details"]["calls"] for name, part in list(parts.items())[1:-2]} == CALLS | PASSES[what]
    ms = {name: part["ours"]["median"] for name, part in parts.items()}
    assert sum(ms[name] for name in ms.keys() - {ALL, TOWER}) == pytest.approx(ms[ALL])


@pytest.mark.parametrize("what", PASSES)
def test_captions_are_tokenized_in_every_pass(what, monkeypatch):
    tokenized, encode = [], CaptionTokenizer.tokenize
    monkeypatch.setattr(CaptionTokenizer, "tokenize", lambda *given: tokenized.append(given[1]) or encode(*given))
    known = []
    monkeypatch.setattr(profile, "forget_captions", lambda model: known.append(len(tokenized)) or forget_captions(model))
    profile.parts_of(what, ROW, "smoke", batch=1, lengths="full", repeats=2)
    assert known == [0, 1, 2] and len(tokenized) == 3


def test_a_profiled_model_is_left_as_it_was():
    model = load(ROW, "smoke").experiment.model(load_weights=False)
    before = {name: getattr(owner, attribute) for owner, attribute, name in named_parts(model)}
    watch = Stopwatch(torch.device("cpu"))
    watch.begin()
    with pytest.raises(KeyError), watch.on(model):
        assert all(getattr(owner, attribute) != before[name] for owner, attribute, name in named_parts(model))
        raise KeyError
    assert {name: getattr(owner, attribute) for owner, attribute, name in named_parts(model)} == before


def test_a_visual_branch_has_no_captions(capsys):
    run("profile read ablations/table_V/vit-b.gin --scale smoke --batch 1 --repeats 1")
    printed = capsys.readouterr().out
    assert "visual decoder" in printed and "cross decoder" not in printed and "captions" not in printed


@pytest.mark.parametrize("workers", (0, 1))
def test_data_is_loaded_beside_the_released_loaders_steps(tmp_path, lines, workers):
    words = rendered_words(tmp_path / "words", 24)
    assert [words[0].image(i + 1).size for i in range(20)] == list(SIZES)
    sizes = f"--images 10 --batch 4 --repeats 2 --size 32 64 --workers {workers} --threads 1"
    found = lines(f"data --data {tmp_path} {sizes}")
    names = [f"{what}{normalised}" for what in ("augmented", "as they are") for normalised in ("", ", normalised")]
    assert [line["name"] for line in found] == names
    described = {"source": str(tmp_path), "images": 10, "size": "32 x 64", "batch": 4, "workers": workers}
    assert all(line["details"] == described and line["unit"] == "images/s" for line in found)


def test_data_renders_words_where_none_are_given(capsys):
    run("data --images 4 --repeats 1 --size 16 32")
    text = " ".join(capsys.readouterr().out.split())
    assert "augmented" in text and "source rendered words, images 4, size 16 x 32" in text


def test_damaged_images_are_passed_over(tmp_path, lines, capsys):
    words = rendered_words(tmp_path / "words", 3)[0]
    samples = [(png_bytes(words.image(i)), "good") for i in (1, 2, 3)]
    write_lmdb(tmp_path / "some", [(b"junk", "x"), *samples, (b"", "y")])
    found = lines(f"data --data {tmp_path / 'some'} --images 9 --repeats 1 --size 8 16")
    assert {line["details"]["images"] for line in found} == {3}
    write_lmdb(tmp_path / "none", [(b"junk", "x")] * 3)
    for folder, message in (("none", "none of 3 images can be decoded"), ("nowhere", "")):
        with pytest.raises(SystemExit):
            run(f"data --data {tmp_path / folder} --images 2 --repeats 1")
        assert f"{tmp_path / folder}: {message}" in capsys.readouterr().err


def test_an_index_is_measured_beside_a_plain_scan(lines, capsys):
    found = lines("index --labels 12000 --repeats 1")
    assert [line["name"] for line in found] == ["fetching", "first", "second"]
    assert all(line["unit"] == "s" and line["details"] == {"labels": 12_000} for line in found)
    run("index --labels 300 --repeats 1")
    assert "labels 300" in capsys.readouterr().out


def test_the_plain_scan_finds_what_the_index_holds(tmp_path):
    write_labels(tmp_path / "set", 12_000)
    words = WordLmdb(tmp_path / "set")
    assert words.samples == plain_scan(tmp_path / "set", 12_000) and 0 < len(words) < 12_000
    assert words.ledger.as_dict().keys() == {"empty label", "longer than 25 characters"}
    assert len(index_costs(200, 1)) == 3


def test_strings_and_arrays_make_the_same_captions():
    ids = ids_of([*words_of("typical", 20, 0), *words_of("25", 3, 0), "Don't!", "a"])
    for one, other in zip(StringCaptions()(ids), ArrayCaptions()(ids.clone()), strict=True):
        assert torch.equal(one, other)


def test_cold_captions_are_tokenized_in_every_repeat_warm_ones_before_it(monkeypatch, lines):
    forgotten, forget = [], ArrayCaptions.forget
    monkeypatch.setattr(ArrayCaptions, "forget", lambda maker: forgotten.append(len(maker.tokenizer.known)) or forget(maker))
    found = lines("captions --captions 6 --repeats 2")
    settings = [(line["details"]["lengths"], line["details"]["memory"]) for line in found]
    assert settings == [(lengths, memory) for lengths in ("typical", "25") for memory in ("cold", "warm")]
    assert forgotten == [0, 6, 6] * 4  # a warm-up and two repeats of each


def test_the_line_is_the_least_squares_one():
    fixed, each, r2 = scaling.line([1, 2, 3], [3.0, 5.0, 7.0])
    assert (fixed, each, r2) == pytest.approx((1, 2, 1))
    fixed, each, r2 = scaling.line([0, 1, 2], [0.0, 3.0, 0.0])
    assert (fixed, each, r2) == pytest.approx((1, 0, 0), abs=1e-12)


def test_every_factor_is_measured_and_drawn(tmp_path, monkeypatch, capsys):
    """Every task runs once and the clock is made up: seconds are the value itself."""

    def take_turns(tasks, repeats, device, title):
        for ready in tasks.values():
            ready(0)()
        return {x: [Seconds(2 * x + 1, 1)] * repeats for x in tasks}

    monkeypatch.setattr(scaling, "take_turns", take_turns)
    out = tmp_path / "scaling.json"
    run(f"scaling --scale smoke --repeats 1 --threads 1 --out {out}")
    found = json.loads(out.read_text())
    factors = {growth["factor"]: growth for growth in found["growths"]}
    assert list(factors["orders K"]["x"]) == [2, 4, 6, 12, 24] and factors["orders K"]["what"] == "train"
    assert factors["patches"]["x"] == [factors["patches"]["x"][0] * n for n in (1, 2, 3, 4)]
    assert all((growth["fixed"], growth["each"]) == pytest.approx((1, 2)) for growth in found["growths"])
    assert len(factors) == 8 and "1 to 32" in capsys.readouterr().out
    draw(["scaling", str(out), str(tmp_path / "drawn")])
    assert (tmp_path / "drawn.svg").stat().st_size > 10_000 and (tmp_path / "drawn.png").is_file()


def test_a_file_of_something_else_is_refused(tmp_path, capsys):
    path = tmp_path / "other.json"
    path.write_text('{"rows": []}')
    with pytest.raises(SystemExit):
        draw(["scaling", str(path), str(tmp_path / "drawn")])
    assert "other.json: key 'growths' is missing; write it with" in capsys.readouterr().err
