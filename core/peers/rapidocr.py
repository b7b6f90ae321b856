"""RapidOCR's recogniser (PP-OCRv6 small, in ONNX) as its wheel brings it: no detection, no angle classifier."""

import importlib.util
import os
from pathlib import Path

import numpy as np

from core.errors import PeerUnavailable
from core.peers.reader import Reader, Reading, identify, require

NAME = "rapidocr"
PACKAGES = (NAME, "onnxruntime")
MODEL = "PP-OCRv6_rec_small.onnx"


def open_reader(threads: int) -> Reader:
    """RapidOCR on the CPU, one image at a time, so that a reading depends on nothing but its image.

    The weights are named by file: RapidOCR would otherwise fetch those it does not find.

    Args:
        threads: threads of the inference engine; 0 for all cores.

    Raises:
        PeerUnavailable: it is not installed, or its wheel holds other weights.
    """
    require(NAME, PACKAGES)
    model = Path(importlib.util.find_spec(NAME).origin).parent / "models" / MODEL
    if not model.is_file():
        raise PeerUnavailable(
            f"{model} is missing: this version of rapidocr brings other weights; pip install 'clip4str-ablations[peers]' "
            "installs the version whose wheel holds them"
        )
    identity = identify(NAME, PACKAGES, model, "cpu")
    from rapidocr import RapidOCR

    settings = {
        "Rec.model_path": str(model),
        "Global.use_det": False,
        "Global.use_cls": False,
        "Global.use_preprocess_img": False,  # a resizing meant for the detector; the recogniser does its own
        "Global.log_level": "error",
        "EngineConfig.onnxruntime.intra_op_num_threads": threads or -1,
    }
    engine = RapidOCR(params=settings)

    def read(image: np.ndarray) -> Reading:
        result = engine(np.ascontiguousarray(image[:, :, ::-1]))  # arrays are taken as BGR
        if result.txts is None:
            return Reading("", 0.0)
        return Reading(result.txts[0], float(result.scores[0]))

    return Reader(identity, threads or os.cpu_count() or 1, read)
