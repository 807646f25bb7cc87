"""Features of frozen encoders, computed once: a ``.npy`` a video, a folder an encoder and its settings, resumable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.files import atomic_writer, exclusive, write_json

if TYPE_CHECKING:
    from gatefuse_plugins.data.msrvtt.clips import ClipReader

HEADER_FILE = "features.json"
MODALITIES = ("video", "audio")
_FORMAT = 1


def locate_features(folder: str | Path, names: Sequence[str]) -> dict[str, Path]:
    """``{name}.npy`` of each of ``names`` that has one.

    Raises:
        DataError: no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder of features; expected {{video_id}}.npy files in it")
    present = {entry.name for entry in root.iterdir()}
    return {name: root / f"{name}.npy" for name in names if f"{name}.npy" in present}


def build_clip_features(
    root: str | Path,
    clips: ClipReader,
    modality: str,
    encoder: nn.Module,
    encoder_digest: str,
    dtype: str = "float16",
    device: str | torch.device = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Make sure that every video of ``clips`` has features of ``encoder``; compute only what is not there yet.

    An interrupted build goes on where it stopped; a second process waits for the first. Files are keyed by encoder and
    settings, not by the clips' bytes: after replacing clips, delete the folder.

    Args:
        root: folder of all features; they go to a folder below it.
        clips: ``MSRVTTDataset.clips`` of a dataset that reads raw clips.
        modality: ``video`` or ``audio``.
        encoder: frames (n, 3, S, S) -> (n, D), or spectrograms (1, T, M) -> (1, A, D) with a method ``token_mask``.
        encoder_digest: ``module_digest(encoder)``.
        dtype: ``float16`` or ``float32``.
        progress: called with (videos done, videos in all).

    Returns:
        The folder to give to the dataset as ``video_features`` or ``audio_features``.

    Raises:
        ConfigError: unknown modality or dtype, or ``clips`` has no audio settings.
        DataError: clips that cannot be read, or whose features are not finite in ``dtype``; all are listed, after the
            others were stored.
    """
    check_choice("modality", modality, MODALITIES)
    check_choice("dtype", dtype, ("float16", "float32"))
    header = _header(clips, modality, encoder_digest, dtype)
    key = hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()[:16]
    folder = Path(root) / f"{modality}-{key}"
    sources = clips.videos if modality == "video" else clips.audio
    faults, training = Faults(), encoder.training
    with exclusive(f"{folder}.lock"), torch.no_grad():
        write_json(folder / HEADER_FILE, header)
        known = locate_features(folder, list(sources))
        encoder.to(device).eval()
        try:
            for done, name in enumerate(sources, start=1):
                if name not in known:
                    _store(folder / f"{name}.npy", clips, modality, name, encoder, np.dtype(dtype), device, faults)
                if progress is not None:
                    progress(done, len(sources))
        finally:
            encoder.train(training)
    faults.raise_if_any(f"features {folder}: those of the other videos are stored, correct these and start again")
    return folder


def _header(clips: ClipReader, modality: str, encoder_digest: str, dtype: str) -> dict[str, Any]:
    header: dict[str, Any] = {"format": _FORMAT, "encoder_digest": encoder_digest, "dtype": dtype, "modality": modality}
    if modality == "video":
        return header | {"num_frames": clips.num_frames, "transform": f"ClipPreprocess({clips.frame_size})"}
    if clips.settings is None:
        raise ConfigError("audio features of a dataset with use_audio=False; leave that option out")
    return header | {"audio": asdict(clips.settings)}


def _store(
    path: Path,
    clips: ClipReader,
    modality: str,
    name: str,
    encoder: nn.Module,
    dtype: np.dtype,
    device: str | torch.device,
    faults: Faults,
) -> None:
    try:
        features = _encode(clips, modality, name, encoder, device)
    except DataError as error:
        faults.add("clips that cannot be read", error)
        return
    with np.errstate(over="ignore"):  # an overflow is reported below
        stored = features.float().cpu().numpy().astype(dtype)
    if not np.isfinite(stored).all():
        faults.add(f"clips whose features are not finite in {dtype}", name)
        return
    with atomic_writer(path) as stream:
        np.save(stream, stored)


def _encode(clips: ClipReader, modality: str, name: str, encoder: nn.Module, device: str | torch.device) -> Tensor:
    if modality == "video":
        return encoder(clips.read_video(name).to(device))
    audio, length = clips.read_audio(name)
    if audio is None:  # sources name only videos with audio
        raise DataError(f"{name}: no audio")
    mask = (torch.arange(len(audio)) < length).to(device)[None]
    return encoder(audio.to(device)[None])[0][encoder.token_mask(mask)[0]]
