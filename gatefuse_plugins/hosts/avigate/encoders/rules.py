"""Sizes of encoders that have to agree with what the data sets of a config give, judged before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from gatefuse_plugins.config.rules import dimension_rule
from gatefuse_plugins.data.msrvtt import MSRVTTDataset
from gatefuse_plugins.hosts.blip2_cir.rules import multiple_fault, size_of, type_name

Node = Mapping[str, Any]

_DEFAULTS = {name: item.default for name, item in inspect.signature(MSRVTTDataset).parameters.items()}


@dimension_rule("TinyFrameEncoder")
@dimension_rule("CLIPFrameEncoder")
def frame_encoder_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Patches tile the frame, and the data sets give frames of the encoder's size."""
    faults = multiple_fault(node, path, "image_size", "patch_size")
    if type_name(node) == "TinyFrameEncoder":
        faults += multiple_fault(node, path, "hidden_dim", "num_heads")
    return faults + _data_faults(node, path, root, {"frame_size": "image_size"}, "video_features")


@dimension_rule("TinyAudioEncoder")
@dimension_rule("ASTAudioEncoder")
def audio_encoder_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Patches tile the spectrogram, and the data sets give spectrograms of the encoder's size."""
    faults = multiple_fault(node, path, "hidden_dim", "num_heads")
    if type_name(node) == "TinyAudioEncoder":
        faults += multiple_fault(node, path, "max_length", "patch_frames")
    sizes = {"num_mel_bins": "num_mel_bins", "audio_length": "max_length"}
    return faults + _data_faults(node, path, root, sizes, "audio_features")


def _data_faults(node: Node, path: str, root: Node, sizes: Mapping[str, str], features: str) -> list[str]:
    if path.startswith("profiles."):
        return []  # an offer, of which `model` takes one
    faults = []
    for place, dataset in _datasets(root):
        if dataset.get(features) is not None:
            continue
        for key, wanted in sizes.items():
            given, expected = dataset.get(key, _DEFAULTS[key]), size_of(node, wanted)
            if expected is not None and given != expected:
                faults.append(f"{place}.{key}: {given!r}, but {path}.{wanted} is {expected}; they must be equal")
    return faults


def _datasets(root: Node) -> Iterator[tuple[str, Node]]:
    for key, loader in root.items():
        dataset = loader.get("dataset") if str(key).endswith("_dataloader") and isinstance(loader, Mapping) else None
        if isinstance(dataset, Mapping) and type_name(dataset) == "MSRVTTDataset":
            yield f"{key}.dataset", dataset
