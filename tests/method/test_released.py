"""Released checkpoints of every size, told apart by their tensors alone."""

import re

import pandas as pd
import pytest
import torch

from core.evaluate.run import evaluate
from core.experiment.experiment import load
from core.experiment.parameters import summarise
from core.model.towers import read_architecture
from core.weights.checkpoint import load_model
from core.weights.released import architecture, build_released, is_released


def as_released(model):
    """Our tensors under the released names (the inverse of `core.weights.released.rename`)."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"^towers\.clip\.", "clip_model.", name)
        for ours, theirs in (
            ("position_queries", "pos_queries"),
            ("context_embedding.", "text_embed.embedding."),
            ("context_attn.", "self_attn."),
            ("memory_attn.", "cross_attn."),
            ("_attn.out.", "_attn.out_proj."),
            ("norm_m.", "norm1."),
            ("norm_f.", "norm2."),
            ("mlp.0.", "linear1."),
            ("mlp.3.", "linear2."),
        ):
            if "_decoder." in name:
                name = name.replace(ours, theirs)
        tensors[name] = tensor[None] if name.endswith("pos_queries") else tensor
    for name in [name for name in tensors if re.search(r"_attn\.q\.(weight|bias)$", name)]:
        kv = tensors.pop(name.replace(".q.", ".kv."))
        tensors[re.sub(r"\.q\.(weight|bias)$", r".in_proj_\1", name)] = torch.cat([tensors.pop(name), kv])
    return tensors


@pytest.mark.parametrize(
    ("size", "arch", "heads", "total"),
    [
        ("b", "ViT-B-16-quickgelu", 12, 158_256_319),
        ("l", "ViT-L-14-quickgelu", 16, 446_861_247),
        ("h", "ViT-H-14-quickgelu", 20, 1_020_157_631),  # the released code counts width / 64; the weights' own are 16
    ],
)
def test_sizes_are_read_off_the_tensors(size, arch, heads, total):
    """On the meta device: the shapes of B, L and H are enough to build them again, and no CLIP file is opened."""
    model = load(f"ablations/table_II/clip4str-{size}.gin", "paper").blueprint
    tensors = as_released(model)
    assert is_released({"state_dict": tensors})
    found, expected = architecture(tensors, (224, 224)), read_architecture(arch)
    assert found["embed_dim"] == expected["embed_dim"]
    for key in ("layers", "width"):
        assert found["vision_cfg"][key] == expected["vision_cfg"][key]
    for key in ("width", "heads", "layers", "vocab_size"):
        assert found["text_cfg"][key] == expected["text_cfg"][key]
    with torch.device("meta"):
        rebuilt = build_released({"state_dict": tensors, "hyper_parameters": {}})
    assert summarise(rebuilt).total == total and rebuilt.normalisation == "half"
    assert {block.attn.num_heads for block in rebuilt.towers.image_layers().blocks} == {heads}
    assert rebuilt.visual_decoder.num_heads == rebuilt.cross_decoder.num_heads == 8


def test_normalisation_is_the_protocols_whatever_the_file_is_called(golden, world_folder, tmp_path):
    """A link with another name reads the same; another normalisation does not."""
    (tmp_path / "consistent_visual_only.ckpt").symlink_to(golden / "released.ckpt")
    model = load_model(tmp_path / "consistent_visual_only.ckpt")
    protocols = {name: load(f"ablations/released/{name}.gin", "smoke").protocol for name in ("as_published", "consistent")}
    assert [protocol.normalisation for protocol in protocols.values()] == ["half", "clip"]
    assert len({protocol.digest for protocol in protocols.values()}) == 2
    results = evaluate(model, world_folder, {tmp_path / name: protocol for name, protocol in protocols.items()})
    assert [result["protocol"]["normalisation"] for result in results.values()] == ["half", "clip"]
    original = evaluate(load_model(golden / "released.ckpt"), world_folder, {tmp_path / "original": protocols["as_published"]})
    assert original[tmp_path / "original"]["protocol"] == results[tmp_path / "as_published"]["protocol"]
    read = {name: pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("original", *protocols)}
    pd.testing.assert_frame_equal(read["original"], read["as_published"])
    assert not read["as_published"].cross.equals(read["consistent"].cross)
