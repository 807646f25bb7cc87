"""Computes frozen vision features once: resumable at any moment, safe with several processes.

A batch is first appended to ``features.bin`` and flushed to disk, then recorded as one line of ``rows.txt``. After an
interruption whatever lies beyond the last whole line is cut off, so that batches keep their borders and a resumed
build gives the bytes of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor, nn

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.cache_builder_images import ImageBatch, hash_images, image_batches
from gatefuse_plugins.data.cache_builder_store import RowStore
from gatefuse_plugins.data.feature_cache import FORMAT, HEADER_FILE
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.data.transforms import build_transform, transform_key
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.files import exclusive, write_json

DTYPES = ("float16", "float32")
DISK_RESERVE = 64 * 2**20  # for the indices, and so that a build never fills the disk to the last byte


def module_digest(module: nn.Module) -> str:
    """SHA-256 over the name, dtype, shape and bytes of every entry of ``module.state_dict()``, sorted by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        # viewed as bytes, since numpy has no bfloat16
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def build_feature_cache(
    root: str | Path,
    encoder: nn.Module,
    encoder_digest: str,
    images: Mapping[str, Path],
    transform_cfgs: Sequence[Mapping[str, Any]],
    dtype: str = "float16",
    batch_size: int = 32,
    device: str | torch.device = "cpu",
    num_workers: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Make sure that every image has a row of features; compute only what is not there yet.

    The folder is keyed by encoder weights, transform and dtype; rows are keyed by the bytes of the image files, so
    that equal pictures share one and a changed picture gets a new one. A second process waits for the first and
    then reuses its rows.

    Args:
        root: folder of all caches.
        encoder: vision encoder ``(B, 3, S, S) -> (B, num_tokens, num_features)``; put into eval mode meanwhile.
        encoder_digest: :func:`module_digest` of ``encoder``, or a digest of the weights file.
        images: name -> image file.
        transform_cfgs: configs of a deterministic transform.
        dtype: as stored; ``float16`` halves disk and memory traffic, ``float32`` is exact.
        batch_size, device, num_workers: of the encoder pass.
        progress: called with (rows done, rows to compute) after each batch.

    Returns:
        The index file to give to ``FeatureCache.open`` and to a dataset's ``features``.

    Raises:
        DataError: too little free disk (states needed and free bytes); missing or unreadable images (all listed,
            after the others have been stored); features that are not finite or overflow float16 (images named).
        ConfigError: unknown dtype or transform.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"feature cache: dtype={dtype!r}, expected one of {', '.join(DTYPES)}")
    root = Path(root)
    row_shape = (int(encoder.num_tokens), int(encoder.num_features))
    header = {
        "format": FORMAT,
        "encoder_digest": encoder_digest,
        "transform": transform_key(transform_cfgs),
        "dtype": dtype,
        "num_tokens": row_shape[0],
        "width": row_shape[1],
    }
    key = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]
    folder = root / key
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / "lock"):
        if not (folder / HEADER_FILE).exists():
            write_json(folder / HEADER_FILE, header)
        faults = Faults()
        digests = hash_images(images, root / "files.json", faults)
        store = RowStore(folder, row_shape, dtype)
        by_digest = {digest: name for name, digest in reversed(digests.items())}
        pending = [(by_digest[d], d) for d in dict.fromkeys(digests.values()) if d not in store.rows]
        _check_disk(folder, len(pending) * store.row_bytes)
        if pending:
            paths = [(name, images[name], digest) for name, digest in pending]
            batches = image_batches(paths, build_transform(transform_cfgs), batch_size, num_workers)
            _fill(store, encoder, torch.device(device), batches, len(pending), faults, progress)
        faults.raise_if_any(f"feature cache {folder}: the other images are stored, correct these and start again")
        return store.write_index(digests)


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed and needed + DISK_RESERVE > free:
        raise DataError(
            f"feature cache {folder}: needs {needed:,} bytes ({needed / 2**30:.1f} GiB) plus a reserve of "
            f"{DISK_RESERVE:,}, but {free:,} bytes are free; free some, choose another folder, or use dtype 'float16'"
        )


def _fill(
    store: RowStore,
    encoder: nn.Module,
    device: torch.device,
    batches: Iterator[ImageBatch],
    total: int,
    faults: Faults,
    progress: Progress | None,
) -> None:
    print_log(f"feature cache {store.folder}: {len(store.rows)} rows there, {total} to compute", logger="current")
    training, done = encoder.training, 0
    encoder.to(device).eval()
    try:
        with torch.no_grad():
            for batch in batches:
                faults.add("images that cannot be read", *batch.errors)
                if batch.pixels is not None:
                    rows = _encode(encoder, batch.pixels.to(device), store, batch.names)
                    store.append(rows, batch.digests)
                done += len(batch.digests) + len(batch.errors)
                if progress is not None:
                    progress(done, total)
    finally:
        encoder.train(training)


def _encode(encoder: nn.Module, pixels: Tensor, store: RowStore, names: Sequence[str]) -> np.ndarray:
    parameter = next(encoder.parameters(), None)
    tokens = encoder(pixels if parameter is None else pixels.to(parameter.dtype)).float().cpu()
    if tuple(tokens.shape) != (len(names), *store.row_shape):
        raise DataError(
            f"feature cache: the encoder gave shape {tuple(tokens.shape)} for {len(names)} images, expected "
            f"{(len(names), *store.row_shape)} from its num_tokens and num_features"
        )
    stored = tokens.to(getattr(torch, store.dtype))
    faults = Faults()
    for name, before, after in zip(names, tokens, stored, strict=True):
        if not torch.isfinite(before).all():
            faults.add("images for which the encoder gives NaN or infinity", name)
        elif not torch.isfinite(after).all():
            faults.add("images whose features exceed float16 (65504); use dtype='float32'", name)
    faults.raise_if_any(f"feature cache {store.folder}")
    return stored.numpy()
