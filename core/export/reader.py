"""Reads words with exported graphs, without the model.

    from core.export.reader import ExportedReader

    reader = ExportedReader("my-reader")
    reader.read([PIL.Image.open("word.png").convert("RGB")])      # [("word", 0.98)]

Graphs hold numbers only. What is left for this file: resize the image; where there are two graphs, spell the visual branch's
words and give their byte-pair tokens to the second one; spell the result.

B batch, S passes, N outputs, C classes, L text positions.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from core.data.transforms import ToTensor
from core.errors import UserError
from core.model.captions import CaptionReader, CaptionTokenizer
from core.model.tokenizer import Tokenizer

DESCRIPTION = "reader.json"
Graph = Callable[..., Sequence[Tensor]]  # tensors in, tensors out


def open_onnx(path: Path) -> Graph:
    """A graph in onnxruntime, on the CPU, with torch's number of threads."""
    import onnxruntime  # of the optional extra [export]

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    names = [argument.name for argument in session.get_inputs()]

    def run(*inputs: Tensor) -> list[Tensor]:
        arrays = [tensor.numpy() for tensor in inputs]
        return [torch.from_numpy(output) for output in session.run(None, dict(zip(names, arrays, strict=True)))]

    return run


def open_pt2(path: Path) -> Graph:
    """A graph of torch.export."""
    return torch.no_grad()(torch.export.load(path).module())


OPENERS = {"onnx": open_onnx, "pt2": open_pt2}  # by the suffix of the files


class ExportedReader:
    """The graphs of a folder that `core.export` wrote.

    Raises:
        UserError: the folder was not written by `core.export`.
    """

    def __init__(self, folder: Path | str):
        description = Path(folder) / DESCRIPTION
        if not description.is_file():
            raise UserError(f"{description} is missing: name a folder that python -m core.export wrote")
        about = json.loads(description.read_text())
        opened = [OPENERS[about["format"]](description.with_name(name)) for name in about["graphs"]]
        self.visual, self.cross = opened[0], opened[1] if len(opened) > 1 else None
        self.transform = ToTensor(tuple(about["image_size"]), about["normalisation"])
        self.tokenizer = Tokenizer(about["charset"])
        if self.cross is not None:
            captions = about["captions"]
            self.captions = CaptionReader(self.tokenizer, captions["charset"], CaptionTokenizer(captions["positions"]))

    def read(self, images: Sequence[Image.Image]) -> list[tuple[str, float]]:
        """The word in each RGB image, and its confidence."""
        logits = self.logits(torch.stack([self.transform.pixels(image) for image in images]))
        return list(zip(*self.tokenizer.decode(logits[-1][:, -1]), strict=True))

    def logits(self, pixels: Tensor) -> list[Tensor]:
        """Pixels B 3 H W, uint8, to the logits of every pass, B S N C, of each branch; the last one's is what is read."""
        visual, *memory = self.visual(pixels.contiguous())
        if self.cross is None:
            return [visual]
        predicted = visual.argmax(-1)  # B S N
        captions = self.captions.finish(self.captions.begin(predicted.flatten(0, 1)))
        tokens = captions.tokens[captions.rows].unflatten(0, predicted.shape[:2])  # B S L
        return [visual, *self.cross(*memory, tokens)]
