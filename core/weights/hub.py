"""Files on the Hugging Face hub, downloaded once and checked; models there are named as open_clip and timm name them:
hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from core.errors import UserError, one_line

PREFIX = "hf-hub:"
WEIGHTS, CONFIG = "model.safetensors", "config.json"  # the hub's own names


def is_on_hub(model: Path | str) -> bool:
    return str(model).startswith(PREFIX)


def fetch(model: Path | str) -> Path:
    """model.safetensors of a model on the hub, config.json beside it; downloaded once into the hub client's cache.

    Raises:
        UserError: it is neither in the cache nor can it be downloaded.
    """
    repository, _, revision = str(model).removeprefix(PREFIX).partition("@")
    try:
        return [fetch_file(repository, [name], revision or None) for name in (CONFIG, WEIGHTS)][-1]
    except UserError:
        raise
    except Exception as error:  # the hub client raises many kinds, all of them mean: not here
        raise UserError(
            f"{model} could not be downloaded ({one_line(error)}): check owner and name, or log in with `hf auth login` if "
            "it is private; without a network, copy its folder here and name that"
        ) from error


def fetch_file(repository: str, names: Sequence[str], revision: str | None = None) -> Path:
    """The first of these files that a repository has, in the hub client's cache.

    A download that breaks off goes on where it stopped; one that is given up leaves nothing behind. A large file is compared
    with the SHA-256 that the hub names it by, whoever put it into the cache.

    Raises:
        UserError: the file in the cache is another one, and was deleted.
        Exception: of the hub's client, where it is neither in the cache nor can it be downloaded.
    """
    from huggingface_hub import hf_hub_download  # not before it is needed: it reads HF_ENDPOINT and its like when imported
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    missing = []
    # One that is here first: without a network the client tries half a minute before it says that another one is not.
    for name in [name for name in names if is_cached(repository, name, revision)] or names:
        try:
            return verified_or_deleted(Path(hf_hub_download(repository, name, revision=revision)), repository)
        except LocalEntryNotFoundError:  # there is no network, and no other one is in the cache either
            raise
        except EntryNotFoundError as error:
            missing.append(error)
    raise missing[0]


def is_cached(repository: str, name: str, revision: str | None = None) -> bool:
    """Whether a file is in the hub client's cache."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, name, revision=revision), str)


def verified_or_deleted(path: Path, repository: str) -> Path:
    """A file of the cache whose content is what its name says.

    Raises:
        UserError: it is not, and was deleted.
    """
    blob = path.resolve()
    if not re.fullmatch("[0-9a-f]{64}", blob.name):  # a small file, or a cache that has no links
        return path
    with blob.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != blob.name:
        path.unlink()
        blob.unlink()
        raise UserError(
            f"{path.name} of {repository} has SHA-256 {digest[:12]}..., the hub says {blob.name[:12]}...: the copy at {blob} "
            "was deleted; run the command again to download it anew"
        )
    return path
