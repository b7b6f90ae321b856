"""A model as a folder in the layout of the Hugging Face hub: model.safetensors, config.json, and a card filled from its run."""

import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from core.errors import UserError, one_line
from core.evaluate.previous_readings import model_digest, own_evaluations
from core.files import atomic_folder, read_json_object, refuse_existing, write_json
from core.model.clip4str import CLIP4STR
from core.moved import with_new_settings
from core.run_files import METRICS, MODEL, PROVENANCE
from core.runtime.tracking.run_info import rows_of
from core.weights.checkpoint import load_model, model_file, self_contained
from core.weights.hub import CONFIG, PREFIX, WEIGHTS
from core.weights.tensor_file import save_tensors

HEAD = {"library_name": "clip4str-ablations", "pipeline_tag": "image-to-text", "tags": ["scene-text-recognition", "clip4str"]}
LICENCE = (
    "This card grants no licence. Whoever publishes the weights states one, within the terms of the pretrained towers that "
    "they began from and of the data that they were trained on."
)


def push(model: Path, name: str, private: bool) -> str:
    """Make or update a repository on the hub; returns its address.

    Args:
        name: hf-hub:OWNER/NAME.

    Raises:
        UserError: the name is not one, or the hub refuses.
    """
    from huggingface_hub import (  # not before it is needed: it reads HF_ENDPOINT and its like when imported
        CommitOperationAdd,
        HfApi,
    )

    repository = name.removeprefix(PREFIX)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UserError(f"{name}: expected {PREFIX}OWNER/NAME")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        write_folder(model, folder, name)
        try:
            hub = HfApi()
            address = hub.create_repo(repository, private=private, exist_ok=True)
            files = [CommitOperationAdd(path.name, path) for path in sorted(folder.iterdir())]
            hub.create_commit(repository, files, commit_message="A model of clip4str-ablations")  # all of them or none
        except Exception as error:  # the hub client raises many kinds
            raise UserError(
                f"{name} could not be pushed ({one_line(error)}): log in with `hf auth login` as somebody who may write there"
            ) from error
    return str(address)


def write_folder(model: Path, out: Path | str, name: str = "") -> None:
    """Write the three files.

    Args:
        model: as `load_model` takes it.
        name: as the card's example names the model; the folder if left out.

    Raises:
        DataError: `out` holds something already.
    """
    out = Path(out)
    refuse_existing(out)
    model = model_file(model)
    description, tensors = self_contained(model)
    with atomic_folder(out) as folder:
        save_tensors(tensors, folder / WEIGHTS, {"format": "pt"})
        write_json(folder / CONFIG, description)
        (folder / "README.md").write_text(card(load_model(folder), model, name or out.absolute().name))


def card(model: CLIP4STR, file: Path, name: str) -> str:
    """The model card; of what is not recorded beside the model's file it says so."""
    run, trained_here = file.parent, file.name == MODEL and file.with_name(PROVENANCE).is_file()
    title = name.removeprefix(PREFIX).rpartition("/")[2]
    sections = {
        "Use": "In a checkout of clip4str-ablations:\n\n"
        f"    python -m core.read {name} word.png\n\n"
        "It reads an image of one word, cropped, and prints the word with its confidence.",
        "Model": facts(of_model(model)),
        "Training": facts(of_training(run)) if trained_here else "Not recorded with the model.",
        "Accuracy": accuracies(file) or "Not evaluated.",
        "Licence": LICENCE,
    }
    body = "\n".join(f"## {heading}\n\n{text}\n" for heading, text in sections.items())
    about = "CLIP4STR ([paper](https://arxiv.org/abs/2305.14014)), a reader of scene text made from CLIP."
    return f"---\n{yaml.safe_dump(HEAD)}---\n\n# {title}\n\n{about}\n\n{body}"


def of_model(model: CLIP4STR) -> dict[str, Any]:
    towers, height, width = model.towers, *model.towers.image_size
    return {
        "towers": towers.arch if isinstance(towers.arch, str) else "CLIP",
        "their weights before training": towers.weights,
        "branches": "visual" if model.cross_decoder is None else "visual and cross-modal",
        "adapter": None if model.adapter is None else type(model.adapter).__name__,
        "parameters": f"{sum(weight.numel() for weight in model.parameters()):,}",
        "images": f"{height} x {width} pixels, normalisation {model.normalisation}",
        "refinement steps": model.refine_steps,
        "writes": f"{len(model.tokenizer.charset)} characters, words of at most {model.max_letters}",
    }


def of_training(run: Path) -> dict[str, Any]:
    record = read_json_object(run / PROVENANCE)
    files = [Path(word) for word in record.get("command", ()) if str(word).endswith(".gin")]
    train = record.get("train", {})
    start = train.get("start")
    return {
        "table row": ", ".join(rows_of(run, "/".join(files[0].with_suffix("").parts[-2:]) if files else "")),
        "data fingerprint": record.get("data_fingerprint"),
        "images": train.get("images"),
        "steps": train.get("steps"),
        "began with": start and f"{start['taken']:,} weights of a trained CLIP4STR (digest {start['digest']})",
        "seed": record.get("seed"),
        "precision": record.get("precision"),
        "device": record.get("device"),
        "commit": record.get("commit"),
        "versions": ", ".join(f"{package} {number}" for package, number in record.get("packages", {}).items()),
    }


def facts(values: dict[str, Any]) -> str:
    """A table of two columns, of those values that there are."""
    known = {key: value for key, value in values.items() if value not in (None, "")}
    return "\n".join(["| | |", "|:--|:--|", *(f"| {key} | {value} |" for key, value in known.items())])


def accuracies(file: Path) -> str:
    """Word accuracy on every benchmark, for each protocol under which these weights were evaluated."""
    tables, digest = [], model_digest(file)
    for path in sorted(own_evaluations(file).glob(f"*/{METRICS}")):
        record = read_json_object(path)
        if record.get("model") not in (None, digest):  # of earlier weights; None of an evaluation of long ago
            continue
        protocol = with_new_settings(record["protocol"])
        if "scoring_charset" in protocol:  # not of an evaluation of long ago
            protocol["scoring_charset"] = f"of {len(protocol['scoring_charset'])} characters"
        settings = ", ".join(f"{key} {value}" for key, value in protocol.items() if key != "batch")
        lines = [f"Protocol: {settings}.", "", "| benchmark | images | fingerprint | word accuracy |", "|:--|--:|:--|--:|"]
        for name, entry in record["benchmarks"].items():
            score = entry.get(record["protocol"]["output"]) or entry.get("visual")
            if score and score["accuracy"] is not None:  # which it is without an image to score
                words = entry.get("fingerprint", "not recorded")
                lines.append(f"| {name} | {entry['n']:,} | {words} | {score['accuracy']:.1f} % |")
        if len(lines) > 4:  # with a line below the head
            tables.append("\n".join(lines))
    return "\n\n".join(tables)
