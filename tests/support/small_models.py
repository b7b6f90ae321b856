"""Models and tokenizers that are small enough for tests, in the layouts of their libraries."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

CLIP = {  # in open_clip's format
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 64, "layers": 2, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 1000, "width": 32, "heads": 2, "layers": 2},
}


def hugging_face_clip(activation: str) -> CLIPModel:
    """`CLIP` as transformers has it, with random weights."""
    same = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_act": activation}
    text = {**same, "hidden_size": 32, "intermediate_size": 128, "vocab_size": 1000, "max_position_embeddings": 16}
    vision = {**same, "hidden_size": 64, "intermediate_size": 256, "image_size": 32, "patch_size": 8}
    text |= {"bos_token_id": 998, "eos_token_id": 999}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """What safetensors can write of a model."""
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer's files as repositories of the hub have them: two words, one of a large number, an end, padding."""
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "word": 3, "other": 70_000}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    return folder
