"""Models as folders of the Hugging Face hub: complete in themselves, with a card from the run, pushed and fetched."""

import contextlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from core.errors import UserError
from core.evaluate.__main__ import main as evaluate
from core.evaluate.previous_readings import model_digest
from core.experiment.experiment import load
from core.export.hub import main
from core.export.model_folder import write_folder
from core.files import ROOT, write_json
from core.weights.checkpoint import load_model, save_model
from tests.support.fake_hub import fake_hub
from tests.support.golden import random_checkpoint

PROTOCOL = {"normalisation": "clip", "decode": "ar", "refine_steps": 1, "output": "cross", "batch": 8}


@pytest.fixture
def run(smoke, model, tmp_path):
    """A run directory as the workflow leaves it, with one evaluation."""
    folder = tmp_path / "runs" / "micro-01234567" / "seed0"
    folder.mkdir(parents=True)
    save_model(model, smoke.training, {"training": "x"}, folder)
    write_json(folder.parent / "rows.json", {"rows": [{"table": "table_VI", "row": "image0-text6", "evaluation": "e"}]})
    command = ["/home/me/core/train/__main__.py", "/home/me/train.gin"]
    record = {
        "command": command,
        "data": "/home/me/data",
        "data_fingerprint": "feedc0de",
        "seed": 3,
        "packages": {"torch": "9"},
    }
    write_json(folder / "provenance.json", {**record, "train": {"images": 1234, "steps": 77}})
    scores = {"n": 600, "visual": {"accuracy": 60.0}, "cross": {"accuracy": 66.8}}
    metrics = {"protocol": PROTOCOL, "benchmarks": {"IC15": scores, "SVT": {"error": "gone"}}}
    write_json(folder / "evaluations" / "e" / "metrics.json", metrics)
    return folder


def outputs(model):
    images = torch.randn(3, 3, *model.towers.image_size, generator=torch.Generator().manual_seed(1))
    return model.predict(images).output


def test_a_folder_is_a_model_and_its_card_says_what_the_run_recorded(run, model, tmp_path):
    main([str(run), str(tmp_path / "mine")])
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["README.md", "config.json", "model.safetensors"]
    torch.testing.assert_close(outputs(load_model(tmp_path / "mine")), outputs(model), rtol=0, atol=0)
    _, head, body = (tmp_path / "mine" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["pipeline_tag"] == "image-to-text"
    recorded = {"table row": "table_VI/image0-text6", "data fingerprint": "feedc0de", "images": 1234, "versions": "torch 9"}
    lines = [f"| {fact} | {value} |" for fact, value in recorded.items()]
    for line in (*lines, "| IC15 | 600 | not recorded | 66.8 % |", "refine_steps 1", "## Licence"):
        assert line in body, line
    assert "SVT" not in body and "/home" not in body and "None" not in body


def test_a_row_trained_by_hand_and_one_without_a_record(run, tmp_path):
    (run.parent / "rows.json").unlink()
    record = json.loads((run / "provenance.json").read_text())
    write_json(run / "provenance.json", record | {"command": ["x.py", "/home/me/ablations/table_V/cross.gin"]})
    write_folder(run, tmp_path / "first")
    assert "| table row | table_V/cross |" in (tmp_path / "first" / "README.md").read_text()
    write_folder(tmp_path / "first", tmp_path / "second")
    card = (tmp_path / "second" / "README.md").read_text()
    assert "Not recorded with the model." in card and "Not evaluated." in card
    assert model_digest(tmp_path / "first") == model_digest(tmp_path / "second")


@pytest.mark.parametrize("row", ["lst-r4", "lora", "vera"])
def test_an_adapted_model_needs_no_other_file(row, tmp_path, monkeypatch):
    smoke = load(f"ablations/table_VIII/{row}.gin", "smoke")
    torch.manual_seed(0)
    adapted = smoke.experiment.model(load_weights=True).eval()
    save_model(adapted, smoke.training, {}, tmp_path / "run")
    write_folder(tmp_path / "run", tmp_path / "mine")
    monkeypatch.setattr("core.model.towers.ClipImageTower.load_pretrained", None)
    monkeypatch.setattr("core.model.towers.ClipTowers.load_pretrained", None)
    torch.testing.assert_close(outputs(load_model(tmp_path / "mine")), outputs(adapted), rtol=0, atol=0)
    assert (tmp_path / "mine" / "model.safetensors").stat().st_size > (tmp_path / "run" / "model.safetensors").stat().st_size


def test_the_settings_of_a_released_checkpoint_go_with_it(tmp_path):
    """How many tokens a caption has, and that a model of one order is not refined."""
    checkpoint = random_checkpoint(0, 1, 0.5)
    checkpoint["hyper_parameters"] |= {"context_length": 12, "perm_num": 1}
    torch.save(checkpoint, tmp_path / "released.ckpt")
    write_folder(tmp_path / "released.ckpt", tmp_path / "mine")
    released, mine = load_model(tmp_path / "released.ckpt"), load_model(tmp_path / "mine")
    for found in (released, mine):
        assert (found.towers.context_length, found.num_permutations, found.refine_steps) == (12, 1, 0)
    torch.testing.assert_close(outputs(mine), outputs(released), rtol=0, atol=0)


def test_a_released_checkpoint_becomes_safetensors(tmp_path):
    torch.save(random_checkpoint(0, 1, 0.5), tmp_path / "released.ckpt")
    write_folder(tmp_path / "released.ckpt", tmp_path / "mine")
    write_folder(tmp_path / "mine", tmp_path / "again")
    released = load_model(tmp_path / "released.ckpt")
    for name in ("mine", "again"):
        found = load_model(tmp_path / name)
        torch.testing.assert_close(outputs(found), outputs(released), rtol=0, atol=0)
        assert found.normalisation == "half"


def scored(card):
    """The lines of a card's tables of accuracies."""
    return [line for line in card.read_text().splitlines() if line.startswith("| regular ")]


def test_each_of_two_checkpoints_in_a_folder_has_its_own_evaluation_and_card(world_folder, tmp_path, capsys):
    shutil.copytree(world_folder / "test" / "regular", tmp_path / "data" / "test" / "regular")
    row = ["ablations/released/as_published.gin", "--data", str(tmp_path / "data"), "--scale", "smoke", "--tracking", "off"]
    for seed, name in enumerate(("b.ckpt", "l.ckpt")):
        torch.save(random_checkpoint(seed, 1, 0.5), tmp_path / name)
        evaluate([str(tmp_path / name), *row])
        (folder,) = (tmp_path / "evaluations" / name).iterdir()
        record = json.loads((folder / "metrics.json").read_text())
        assert (folder / "predictions.parquet").is_file() and record["model"] == model_digest(tmp_path / name)
        record["benchmarks"]["regular"]["cross"]["accuracy"] = 40.0 + seed  # random weights read all words wrongly
        write_json(folder / "metrics.json", record)
    for seed, name in enumerate(("b", "l")):
        write_folder(tmp_path / f"{name}.ckpt", tmp_path / name)
        words = record["benchmarks"]["regular"]["fingerprint"]
        assert scored(tmp_path / name / "README.md") == [f"| regular | 8 | {words} | {40 + seed:.1f} % |"]
    for model, stops in (("b.ckpt", False), ("b.ckpt", False), ("l.ckpt", True)):
        with pytest.raises(SystemExit) if stops else contextlib.nullcontext():
            evaluate([str(tmp_path / model), *row, "--out", str(tmp_path / "out")])
    assert "as_published holds an evaluation of another model: name another --out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        evaluate([str(tmp_path / "l.ckpt"), *row, "--update"])
    assert "l.ckpt: expected a run directory or its model.safetensors" in capsys.readouterr().err


def test_a_card_has_no_scores_of_earlier_weights(run, tmp_path):
    record = json.loads((run / "evaluations" / "e" / "metrics.json").read_text())
    for name, digest in (("earlier", "feedc0defeedc0de"), ("own", model_digest(run))):
        write_json(run / "evaluations" / "e" / "metrics.json", record | {"model": digest})
        write_folder(run, tmp_path / name)
    cards = {name: (tmp_path / name / "README.md").read_text() for name in ("earlier", "own")}
    assert "Not evaluated." in cards["earlier"] and "IC15" not in cards["earlier"] and "| IC15 | 600 |" in cards["own"]


def test_an_evaluation_deletes_nothing_else(run, world_folder, tmp_path, capsys):
    """--out . writes into a folder of the row's name, here the model's own."""
    shutil.copy("ablations/table_VI/image0-text6.gin", tmp_path / "seed0.gin")
    row = [str(tmp_path / "seed0.gin"), "--data", str(world_folder), "--scale", "smoke", "--out", str(run.parent)]
    with pytest.raises(SystemExit):
        evaluate([str(run), *row])
    assert f"{run} exists and is not an empty folder, it holds evaluations" in capsys.readouterr().err
    assert (run / "model.safetensors").is_file() and (run / "evaluations" / "e" / "metrics.json").is_file()


def test_what_is_there_is_not_overwritten_and_names_are_checked(run, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    for out, message in (
        (tmp_path / "full", "exists and is not an empty folder"),
        ("hf-hub:name", "hf-hub:name: expected hf-hub:OWNER/NAME"),
        ("hf-hub:owner/name/more", "expected hf-hub:OWNER/NAME"),
    ):
        with pytest.raises(SystemExit) as stop:
            main([str(run), str(out)])
        assert stop.value.code == 1 and message in capsys.readouterr().err


PROGRAM = """
import contextlib, importlib, io, json, os, sys

for module, token, *arguments in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"], status = token, 0
    out, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            importlib.import_module(module).main(arguments)
        except SystemExit as stop:
            status = stop.code
    out.seek(0)
    print(json.dumps([status, out.read(), errors.getvalue()]))
"""


def test_a_model_is_pushed_fetched_and_read_again_without_a_network(run, tmp_path):
    """In processes of their own, since the hub's client reads HF_ENDPOINT when it is imported."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 128, 3), np.uint8)).save(tmp_path / "word.png")
    word = str(tmp_path / "word.png")

    def call(*commands):
        settings = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HOME": str(tmp_path / "home")}
        environment = {**os.environ, **settings}
        command = [sys.executable, "-c", PROGRAM, json.dumps(commands)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    read = ("core.read.__main__", "")
    with fake_hub() as hub:
        pushed, own, theirs, other, refused = call(
            ("core.export.hub", "secret", str(run), "hf-hub:me/words", "--private"),
            (*read, str(run), word, "--json"),
            (*read, "hf-hub:me/words", word, "--json"),
            (*read, "hf-hub:me/other", word),
            ("core.export.hub", "", str(run), "hf-hub:me/more"),
        )
    assert pushed[0] == 0 and pushed[1].strip().endswith("/me/words") and "private" in str(hub.created[0]), pushed
    assert set(hub.files) == {("me/words", name) for name in ("README.md", "config.json", "model.safetensors")}
    assert "core.read hf-hub:me/words" in hub.files["me/words", "README.md"].decode()
    assert own[0] == 0 and theirs[:2] == own[:2], theirs
    assert other[0] == 1 and other[2].startswith("error: hf-hub:me/other could not be downloaded") and other[2].count("\n") == 1
    assert refused[0] == 1 and "could not be pushed" in refused[2] and "hf auth login" in refused[2]
    (cached,) = call((*read, "hf-hub:me/words", word, "--json"))  # the hub is gone
    assert cached[:2] == own[:2], cached


def test_an_evaluation_of_the_hubs_model_names_its_folder(tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate(["hf-hub:me/words", "ablations/table_VI/image0-text6.gin", "--data", str(tmp_path)])
    assert "hf-hub:me/words is not a folder to write into: add --out FOLDER" in capsys.readouterr().err


def test_a_hostile_config_is_refused(run, tmp_path):
    write_folder(run, tmp_path / "mine")
    config = json.loads((tmp_path / "mine" / "config.json").read_text())
    write_json(tmp_path / "mine" / "config.json", config | {"gin": "import os\n" + config["gin"]})
    with pytest.raises(UserError, match="config.json is refused"):
        load_model(tmp_path / "mine")
    for wrong in ([], {}, {"hyper_parameters": 3}):
        write_json(tmp_path / "mine" / "config.json", wrong)
        with pytest.raises(UserError, match="config.json: key 'gin'"):
            load_model(tmp_path / "mine")
