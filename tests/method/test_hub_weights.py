"""Weights by tag, from a hub on this machine: tag to file to towers, the cache, and everything that can go wrong on the way.

In processes of their own, since the hub's client reads HF_ENDPOINT when it is imported.
"""

import json
import os
import re
import subprocess
import sys

import open_clip
import pytest
import timm
import torch
from safetensors.torch import save

from core.files import ROOT
from tests.support.fake_hub import fake_hub
from tests.support.small_models import CLIP, hugging_face_clip, tensors_of, write_tokenizer

QUICK = {**CLIP, "quick_gelu": True}
TIMM = "test_vit.r160_in1k"  # timm's smallest model with a tag

WANTED = [
    ("towers", "small", "safe"),
    ("image", "small", "pickle"),
    ("towers", "small", "named"),
    ("timm", "test_vit", "r160_in1k"),
    ("towers", "quick", "hf-hub:me/theirs"),
    ("towers", "small", "cut"),  # breaks off once
    ("captions", "small", "me/words"),
]
BROKEN = {
    ("towers", "small", "hf-hub:me/theirs"): "was trained with quick_gelu .* unlike small: set ARCH to one with QuickGELU",
    (
        "towers",
        "small",
        "lost",
    ): "'lost' of small could not be downloaded .* fetch open_clip_model.* of me/lost .*WEIGHTS",
    ("towers", "small", "bad"): "open_clip_model.safetensors of me/bad has SHA-256 .* the hub says .* run the command again",
    ("towers", "small", "hf-hub:me/nobody"): "weights 'hf-hub:me/nobody' could not be downloaded .RepositoryNotFound",
}
MENDED = [("towers", "small", "lost"), ("towers", "small", "bad")]
OFFLINE = {
    WANTED[0]: "open_clip_model.safetensors of me/safe .*WEIGHTS macro",
    WANTED[3]: f"of timm/{TIMM} .*WEIGHTS macro",
    WANTED[6]: "hf download me/words ",
}

# A line per weights file: towers, architecture, tag. The architectures "small" and "quick" and their tags are registered with
# open_clip as it registers its own.
PROGRAM = """
import json, sys

import huggingface_hub
import open_clip
import torch

from core.model.open_clip_towers import OpenClipTowers
from core.model.timm_tower import TimmTower
from core.model.towers import ClipImageTower, ClipTowers

huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE = 65536  # of files that are small beside the client's own 10 MB
described = json.loads(sys.argv[2])
TAGS = ("safe", "pickle", "cut", "lost", "bad")
for name, config in described.items():
    open_clip.factory._MODEL_CONFIGS[name] = config
    quick = config.get("quick_gelu", False)
    tags = {tag: open_clip.pretrained._pcfg(hf_hub=f"me/{tag}/", quick_gelu=quick) for tag in TAGS}
    tags["named"] = open_clip.pretrained._pcfg(hf_hub="me/named/weights.bin", quick_gelu=quick)
    open_clip.pretrained._PRETRAINED[name] = tags
for kind, arch, tag in json.loads(sys.argv[1]):
    if kind == "captions":
        config = {**described[arch], "text_cfg": {**described[arch]["text_cfg"], "hf_tokenizer_name": tag}}
        try:
            ids = OpenClipTowers(config, None, (32, 32), None, 4, None).caption_tokenizer()(["word", "a word"])
            print(json.dumps(["loaded", ids.tolist()]), flush=True)
        except Exception as error:
            print(json.dumps([type(error).__name__, str(error)]), flush=True)
        continue
    if kind == "timm":
        tower = TimmTower(arch, tag, (160, 160), None, True, None)
    elif kind == "image":
        tower = ClipImageTower(arch, tag, (32, 32), None)
    else:
        tower = ClipTowers(arch, tag, (32, 32), None, 8)
    try:
        tower.load_pretrained()
        images = torch.linspace(-1, 1, 3 * tower.image_size[0] * tower.image_size[1]).view(1, 3, *tower.image_size)
        with torch.no_grad():
            print(json.dumps(["loaded", tower.eval().encode_image(images)[0, 0, :4].tolist()]), flush=True)
    except Exception as error:
        print(json.dumps([type(error).__name__, str(error)]), flush=True)
"""


def call(endpoint, home, wanted, **more):
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ETAG_TIMEOUT": "2"}
    command = [sys.executable, "-c", PROGRAM, json.dumps(wanted), json.dumps({"small": CLIP, "quick": QUICK})]
    environment = {**os.environ, **settings, **more}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=600)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


def pickled(tensors, folder):
    torch.save(tensors, folder / "weights.bin")
    return (folder / "weights.bin").read_bytes()


def first_token(encode, size):
    images = torch.linspace(-1, 1, 3 * size * size).view(1, 3, size, size)
    with torch.no_grad():
        return encode(images)[0, :4]


def refused(found, messages):
    """Every result is an error of one line that says this."""
    for (status, message), wanted in zip(found, messages, strict=True):
        assert status == "UserError" and "\n" not in message and re.search(wanted, message), message


@pytest.fixture
def sources():
    torch.manual_seed(0)
    return open_clip.CLIP(**CLIP).eval(), timm.create_model("test_vit").eval(), hugging_face_clip("quick_gelu")


@pytest.fixture
def expected(sources):
    clip, vit, hugging_face = sources
    return {
        "clip": first_token(clip.encode_image, 32),
        "timm": first_token(lambda images: vit.forward_features(images)[:, 0], 160),
        "hf": first_token(lambda images: hugging_face.visual_projection(hugging_face.vision_model(images).pooler_output), 32),
    }


def test_from_tag_to_towers_and_from_the_cache(sources, expected, tmp_path):
    clip, vit, hugging_face = sources
    tensors = tensors_of(clip)
    safe, other = save(tensors), save({name: tensor + 1 for name, tensor in tensors.items()})
    with fake_hub() as hub:
        hub.files |= {
            ("me/safe", "open_clip_model.safetensors"): safe,
            ("me/pickle", "open_clip_pytorch_model.bin"): pickled(tensors, tmp_path),
            ("me/named", "weights.bin"): pickled(tensors, tmp_path),
            (f"timm/{TIMM}", "model.safetensors"): save(tensors_of(vit)),
            ("me/theirs", "model.safetensors"): save(tensors_of(hugging_face)),
            ("me/theirs", "config.json"): hugging_face.config.to_json_string().encode(),
            **{("me/words", path.name): path.read_bytes() for path in write_tokenizer(tmp_path / "words").iterdir()},
            **{(f"me/{name}", "open_clip_model.safetensors"): safe for name in ("cut", "lost", "bad")},
        }
        hub.cuts = {("me/cut", "open_clip_model.safetensors"): 1, ("me/lost", "open_clip_model.safetensors"): 6}
        hub.sent_instead = {("me/bad", "open_clip_model.safetensors"): other}
        endpoint = f"http://127.0.0.1:{hub.server_port}"
        found = call(endpoint, tmp_path / "home", [*WANTED, *BROKEN, *MENDED])
    asked = {name: [start for repository, _, start in hub.got if repository == f"me/{name}"] for name in ("cut", "lost")}
    for (kind, arch, _), (status, tokens) in zip(WANTED, found, strict=False):
        assert status == "loaded", tokens
        if kind == "captions":
            assert tokens == [[3, 1, 0, 0], [2, 3, 1, 0]]
        else:
            source = "hf" if arch == "quick" else "timm" if kind == "timm" else "clip"
            torch.testing.assert_close(torch.tensor(tokens), expected[source])
    first, second = asked["cut"]  # the second request asks for what the first one did not bring
    assert first == 0 and 0 < second <= len(safe) // 2
    assert len(asked["lost"]) == 7 and asked["lost"][-1] == 0  # given up after six, whole at the next time
    refused(found[len(WANTED) : -len(MENDED)], BROKEN.values())
    assert [status for status, _ in found[-len(MENDED) :]] == ["loaded", "loaded"], found[-len(MENDED) :]

    gone = call(endpoint, tmp_path / "home", [*WANTED, ("image", "small", "hf-hub:me/new")])  # the hub is gone
    assert [tokens for _, tokens in gone[:-1]] == [tokens for _, tokens in found[: len(WANTED)]]
    assert gone[-1][0] == "UserError" and "hf-hub:me/new' could not be downloaded (LocalEntryNotFound" in gone[-1][1]

    refused(call(endpoint, tmp_path / "none", list(OFFLINE), HF_HUB_OFFLINE="1"), OFFLINE.values())
