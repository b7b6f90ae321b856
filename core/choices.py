"""Allowed values of options and knobs, importable without torch and gin, so that `--help` answers at once."""

from core.files import ABLATIONS

SCALES = sorted(path.stem for path in (ABLATIONS / "scale").glob("*.gin"))
NORMALISATIONS = {  # name: mean and standard deviation of the three channels, on a 0-1 scale
    "clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # what the released evaluation code does
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),  # numbers from 0 to 1, as they are
}
DECODE = ("ar", "cloze")  # the first pass of Algorithm 1
PRECISIONS = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}  # name in gin files: torch's name of the type
LOG_EVERY = 10  # steps of training between lines of metrics.jsonl
MOST_WORKERS = 8  # loaders of one process that reads: a core loads well over 1,000 images per second (docs/performance.md)
