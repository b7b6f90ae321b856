"""Models on the Hugging Face hub, named as open_clip and timm name them: hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION."""

from pathlib import Path

from core.errors import UserError

PREFIX = "hf-hub:"
WEIGHTS, CONFIG = "model.safetensors", "config.json"  # the hub's own names


def is_on_hub(model: Path | str) -> bool:
    return str(model).startswith(PREFIX)


def fetch(model: Path | str) -> Path:
    """model.safetensors of a model on the hub, config.json beside it; downloaded once into the hub client's cache.

    Raises:
        UserError: it is neither in the cache nor can it be downloaded.
    """
    from huggingface_hub import hf_hub_download  # not before it is needed: it reads HF_ENDPOINT and its like when imported

    repository, _, revision = str(model).removeprefix(PREFIX).partition("@")
    try:
        return [Path(hf_hub_download(repository, name, revision=revision or None)) for name in (CONFIG, WEIGHTS)][-1]
    except Exception as error:  # the hub client raises many kinds, all of them mean: not here
        raise UserError(
            f"{model} could not be downloaded ({first_line(error)}): check owner and name, or log in with `hf auth login` if "
            "it is private; without a network, copy its folder here and name that"
        ) from error


def first_line(error: Exception) -> str:
    """The kind of an error of the hub's client, and the first line of its message."""
    return ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])
