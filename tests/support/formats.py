"""Tiny sources in their published layouts, for the tests of the converters."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat


def picture(seed=0, size=(60, 40), form="PNG") -> bytes:
    """Noise: no two seeds alike, and any crop can be told from another."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def put(path: Path, content: str | bytes | dict | list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, dict | list):
        content = json.dumps(content)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_pictures(folder: Path, names, form="PNG") -> dict[str, bytes]:
    made = {name: picture(seed, form=form) for seed, name in enumerate(names)}
    for name, content in made.items():
        put(folder / name, content)
    return made


def cells(rows: list[dict]) -> np.ndarray:
    """A struct array as MATLAB saves one."""
    array = np.empty((1, len(rows)), dtype=[(name, object) for name in rows[0]])
    for i, row in enumerate(rows):
        for name, value in row.items():
            array[name][0, i] = value
    return array


def iiit5k(folder: Path) -> dict[str, bytes]:
    made = put_pictures(folder, ["train/1_1.png", "train/1_2.png", "test/2_1.png"])
    words = [("train/1_1.png", "YOU"), ("train/1_2.png", "2000"), ("train/9_9.png", "GONE")]
    for split, rows in {"train": words, "test": [("test/2_1.png", "PRIVATE")]}.items():
        lexicon = np.array(["A", "B"], dtype=object)
        entries = [{"ImgName": name, "GroundTruth": label, "smallLexi": lexicon} for name, label in rows]
        savemat(folder / f"{split}data.mat", {f"{split}data": cells(entries)})
        boxes = [{"ImgName": name, "chars": label, "charBB": np.ones((len(label), 4))} for name, label in rows]
        savemat(folder / f"{split}CharBound.mat", {f"{split}CharBound": cells(boxes)})
    return made


def coco(folder: Path) -> Path:
    """v1.4 has "polygon", v2 "mask"; both have the attributes and bbox."""
    put(folder / "train2014" / "COCO_train2014_01.jpg", picture(1, (100, 80), "JPEG"))
    put(folder / "train2014" / "COCO_train2014_02.jpg", picture(2, (100, 80), "JPEG"))
    word = {"legibility": "legible", "language": "english", "class": "machine printed"}
    anns = {
        "7": {**word, "utf8_string": "R&amp;B", "bbox": [10.5, 20, 30, 15], "mask": [10, 20, 40, 35]},
        "8": {**word, "legibility": "illegible", "bbox": [1, 1, 5, 5]},
        "9": {**word, "language": "not english", "utf8_string": "rue", "bbox": [1, 1, 9, 9]},
        "10": {**word, "class": "handwritten", "utf8_string": "hi", "bbox": [1, 1, 9, 9]},
        "11": {**word, "utf8_string": "a#c", "bbox": [1, 1, 9, 9]},
        "12": {**word, "utf8_string": "far", "bbox": [200, 1, 9, 9]},
        "13": {**word, "utf8_string": "val", "bbox": [0, 0, 20, 10]},
    }
    images = {
        "1": {"id": 1, "set": "train", "file_name": "COCO_train2014_01.jpg", "width": 100, "height": 80},
        "2": {"id": 2, "set": "val", "file_name": "COCO_train2014_02.jpg", "width": 100, "height": 80},
    }
    to_anns = {"1": [7, 8, 9, 10, 11, 12], "2": [13]}
    return put(folder / "cocotext.v2.json", {"cats": {}, "anns": anns, "imgs": images, "imgToAnns": to_anns, "info": {}})


def textocr(folder: Path) -> Path:
    put(folder / "train_images" / "a4ea.jpg", picture(3, (100, 80), "JPEG"))
    anns = {
        "a4ea_1": {"id": "a4ea_1", "image_id": "a4ea", "bbox": [10, 20, 30, 20], "utf8_string": "Café"},
        "a4ea_2": {"id": "a4ea_2", "image_id": "a4ea", "bbox": [0, 0, 9, 9], "utf8_string": "."},
    }
    anns["a4ea_1"]["points"] = [10.5, 22.0, 38.2, 20.0, 40.0, 38.0, 12.0, 39.5]
    anns["a4ea_2"]["points"] = [0, 0, 9, 0, 9, 9, 0, 9]
    images = {"a4ea": {"id": "a4ea", "width": 100, "height": 80, "set": "train", "file_name": "train/a4ea.jpg"}}
    content = {"imgs": images, "anns": anns, "imgToAnns": {"a4ea": ["a4ea_1", "a4ea_2"]}, "info": {}}
    return put(folder / "TextOCR_0.1_train.json", content)
