"""Writes a model's graphs into a folder, and keeps the folder only if they read as the model does."""

import argparse
import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from core import config
from core.data.benchmarks import MICRO_WORLD
from core.data.images import read_image_file
from core.data.micro import World
from core.data.render.lexicon import vocabulary_words
from core.data.transforms import ToTensor
from core.data.words import WordSet
from core.errors import UserError
from core.export import WORDS
from core.export.check import LIMIT, GraphComparison, compare, medians
from core.export.graphs import CrossGraph, VisualGraph
from core.export.reader import DESCRIPTION, ExportedReader
from core.files import atomic_folder, refuse_existing, write_json
from core.model.captions import CaptionTokenizer
from core.model.clip4str import CLIP4STR
from core.read.image_files import image_files
from core.weights.checkpoint import load_model, model_file

EXTRA = ("onnx", "onnxscript", "onnxruntime")  # the packages of the optional extra [export]


def export(options: argparse.Namespace) -> None:
    """Write OUT as `core.export`'s options say, and print how it compares.

    Raises:
        UserError: a package is missing, the model lacks a branch or cannot be exported, or the graphs read otherwise.
        DataError: OUT exists.
    """
    if options.format == "onnx" and (missing := [name for name in EXTRA if importlib.util.find_spec(name) is None]):
        raise UserError(f"--format onnx needs {' and '.join(missing)}: pip install 'clip4str-ablations[export]'")
    refuse_existing(options.out)
    file = model_file(options.model)
    model = load_model(file)
    if options.branches == "both" and model.cross_decoder is None:
        raise UserError(f"{options.model} has the visual branch alone: leave --branches out")
    if options.branches == "visual":
        model.cross_decoder = None
    if options.refine_steps is None:
        options.refine_steps = model.refine_steps
    shown = list(pictures(model, options.check))  # before the graphs, which take minutes
    with atomic_folder(options.out) as folder:
        write_graphs(model, folder, options)
        reader = ExportedReader(folder)
        agreement = compare(model, reader, shown, options.decode, options.refine_steps)
        sizes = [sum(file.stat().st_size for file in files) for files in ([file], folder.iterdir())]
        report(agreement, sizes, options)
    print(f"written to {options.out}")


def write_graphs(model: CLIP4STR, folder: Path, options: argparse.Namespace) -> None:
    """Every graph, and reader.json, which says what the graphs do not hold."""
    if model.cross_decoder is not None and type(model.caption_tokenizer) is not CaptionTokenizer:
        raise UserError(
            f"{options.model}: captions of {culprit(model)} are tokenized by {model.caption_tokenizer.name}, exported readers "
            "know CLIP's byte pairs alone; export a model with the visual branch alone, or with another text tower"
        )
    kinds = {"visual": VisualGraph} | ({} if model.cross_decoder is None else {"cross": CrossGraph})
    for name, kind in kinds.items():
        try:
            with quiet():
                write_graph(kind(model, options.decode, 1 + options.refine_steps), folder / f"{name}.{options.format}")
        except Exception as error:  # tracing a module and translating its operators raise nearly anything
            cause = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
            fix = "take --format pt2, which translates no operator, or " if options.format == "onnx" else ""
            raise UserError(
                f"{options.model}: {culprit(model)} cannot be exported as {name}.{options.format} ({cause}): {fix}export a "
                "model whose tower and adapter take the same steps for every image"
            ) from error
    about = {
        "format": options.format,
        "graphs": [f"{name}.{options.format}" for name in kinds],
        "decode": options.decode,
        "refine_steps": options.refine_steps,
        "image_size": list(model.towers.image_size),
        "normalisation": model.normalisation,
        "charset": model.tokenizer.charset,
        "packages": {name: version(name) for name in ("torch", *(EXTRA if options.format == "onnx" else ()))},
    }
    if model.cross_decoder is not None:
        about["captions"] = {"charset": model.caption_charset, "positions": model.caption_tokenizer.context_length}
    write_json(folder / DESCRIPTION, about)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without torch's warnings about itself, and the graph it prints where a trace fails: the error says it in one line."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(action="ignore"), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(disabled)


def culprit(model: CLIP4STR) -> str:
    """What of a model decides whether it can be exported."""
    arch = model.towers.arch if isinstance(model.towers.arch, str) else "CLIP"
    return f"tower {arch}" + (f" with adapter {type(model.adapter).__name__}" if model.adapter is not None else "")


def write_graph(graph: nn.Module, path: Path) -> None:
    """Trace a graph for batches of any size and write it; the suffix decides the format."""
    inputs = graph.example()
    with torch.no_grad():
        program = torch.export.export(graph, inputs, dynamic_shapes=tuple({0: Dim.DYNAMIC} for _ in inputs))
    leave_out_unused(program)
    if path.suffix == ".pt2":
        torch.export.save(program, path)
        return
    translated = torch.onnx.export(
        program, input_names=list(graph.inputs), output_names=list(graph.outputs), dynamo=True, verbose=False
    )
    for node in translated.model.graph:
        node.metadata_props.clear()  # where in the source each operator comes from
    translated.save(path, external_data=True)  # the weights in a file beside it: a graph itself ends at 2 GB


def leave_out_unused(program: ExportedProgram) -> None:
    """Empty the tensors that a graph does not read (the other branch's), and forget the source's paths on this machine."""
    used = {node.name for node in program.graph.nodes if node.users}
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    for entry in program.graph_signature.input_specs:
        tensor = program.state_dict.get(entry.target)
        if tensor is not None and entry.arg.name not in used:
            empty = tensor.detach().new_empty(0)
            program.state_dict[entry.target] = (
                nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
            )


def pictures(model: CLIP4STR, named: Sequence[Path] | None) -> Iterator[tuple[str, Tensor]]:
    """Name and pixels of the images to compare on: the files that are named, or rendered words.

    Raises:
        UserError: a file is not an image, or a folder has none.
    """
    transform = ToTensor(model.towers.image_size, model.normalisation)
    if named is None:
        world = config.build(World, MICRO_WORLD)
        recipe = WordSet(0, world.families, vocabulary_words(), world.page)
        for drawn in map(recipe.draw, range(WORDS)):
            yield f"a rendered {drawn.word!r}", transform.pixels(drawn.image.convert("RGB"))
    else:
        for path in image_files(named):
            if isinstance(path, UserError):
                raise path
            yield str(path), transform.pixels(read_image_file(path))


def report(agreement: GraphComparison, sizes: Sequence[int], options: argparse.Namespace) -> None:
    """Print sizes and times, and whether the graphs read as the model does.

    Raises:
        UserError: they do not.
    """
    if not agreement.largest:
        raise UserError(
            f"{options.out} is not written: all {agreement.images} images are left out as ties, of which two characters are "
            "equally likely to the model; name other images with --check"
        )
    alone, together = medians(agreement.alone), medians(agreement.together)
    print(f"{'':8}{'size':>12}{'ms per image, alone':>24}{'in batches':>14}")
    for name, size, *times in zip(("model", options.format), sizes, alone, together, strict=True):
        print(f"{name:8}{size / 1e6:9.1f} MB" + f"{times[0]:24.1f}{times[1]:14.1f}")
    differences = " and ".join(f"{value:.1e} ({branch})" for branch, value in agreement.largest.items())
    print(f"{agreement.images} images; largest difference of logits {differences}, allowed are {LIMIT:.0e}")
    if agreement.tied:
        print(f"left out: {agreement.tied}, of which two characters are equally likely to the model, so that rounding decides")
    if not agreement.holds:
        strings = [
            f"{image} is {ours!r} to the model and {theirs!r} to the graphs" for image, ours, theirs in agreement.different
        ]
        raise UserError(
            f"{options.out} is not written: the graphs read otherwise than {options.model}: "
            + (f"{len(strings)} strings differ, first: {strings[0]}" if strings else f"logits differ by {differences}")
            + f"; try other versions of {', '.join(EXTRA)}, or --format pt2"
        )
    print("all strings are equal")
