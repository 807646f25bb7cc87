"""Pre-trained weights: a local path, the local hub cache, then the network; never a retry loop."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from gatefuse_plugins.errors import WeightsUnavailableError, suggestion

T = TypeVar("T")
TIMEOUT_SECONDS = 5.0


def reachable(url: str) -> bool:
    """Whether ``url`` answers at all within a few seconds (one attempt; proxies of the environment apply)."""
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT_SECONDS).close()
    except urllib.error.HTTPError:
        return True  # the server answered, if only with a status such as 405
    except (OSError, ValueError):
        return False
    return True


def load_from_hub(name_or_path: str, load: Callable[..., T], files: tuple[str, ...], key: str) -> T:
    """Call ``load(name_or_path, local_files_only=...)`` for a folder, the local cache or the hub, in this order.

    Args:
        name_or_path: folder that holds ``files``, or a hub name such as ``bert-base-uncased``.
        load: a ``from_pretrained``.
        files: file names that a folder must hold.
        key: config key to name in errors.

    Raises:
        WeightsUnavailableError: the folder lacks files, or neither cache nor hub has them; says what to put where.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            held = [item.name for item in folder.iterdir()]
            raise WeightsUnavailableError(
                f"{key}={name_or_path!r}: the folder lacks {', '.join(missing)}{suggestion(missing[0], held)}"
            )
        return load(str(folder), local_files_only=True)
    looks_like_path = name_or_path.startswith((".", "/", "~")) or name_or_path.count("/") > 1
    if not looks_like_path:
        try:
            return load(name_or_path, local_files_only=True)
        except (OSError, ValueError):
            pass  # not in the local cache
        from huggingface_hub.constants import ENDPOINT

        if reachable(f"{ENDPOINT}/{name_or_path}/resolve/main/{files[0]}"):
            return load(name_or_path)
    where = "no such folder" if looks_like_path else "not in the local hub cache, and the hub cannot be reached"
    raise WeightsUnavailableError(
        f"{key}={name_or_path!r}: {where}. Put {', '.join(files)} of bert-base-uncased into a folder and set"
        f" {key}=FOLDER, or use a from-scratch preset (backbone=tiny)"
    )


def bert_files(bert: str) -> tuple[str, str]:
    """What a folder of BERT weights must hold: its config, and weights in either of the two formats there are."""
    safe = "model.safetensors"
    return "config.json", safe if (Path(bert).expanduser() / safe).is_file() else "pytorch_model.bin"


def locate_file(path: str | None, url: str, key: str) -> Path:
    """Local file for ``path``, else the download of ``url`` (from the cache where it is there).

    Raises:
        WeightsUnavailableError: ``path`` does not exist, or ``url`` is neither cached nor reachable.
    """
    if path is not None:
        if Path(path).expanduser().is_file():
            return Path(path).expanduser()
        raise WeightsUnavailableError(f"{key}={path!r}: no such file; expected the weights published as {url}")
    import torch

    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        if not reachable(url):
            raise WeightsUnavailableError(
                f"{key} is not set, {cached} does not exist and {url} cannot be reached. Fetch that file on a machine"
                f" with network and put it at {cached}, or set {key}=FILE"
            )
        cached.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(cached))
    return cached
