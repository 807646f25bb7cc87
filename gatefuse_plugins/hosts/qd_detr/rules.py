"""What has to agree in a config of the host, judged before anything is built.

Widths of features are no matter of the config but of the files; a batch that does not fit is refused with both widths.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from gatefuse_plugins.config.rules import dimension_rule
from gatefuse_plugins.errors import suggestion
from gatefuse_plugins.hosts.qd_detr.inputs import COMPAT, PLACEMENTS
from gatefuse_plugins.hosts.qd_detr.model import QDDETR
from gatefuse_plugins.hosts.qd_detr.network import QDDETRNetwork
from gatefuse_plugins.hosts.qd_detr.postprocess import PostProcessor
from gatefuse_plugins.registry import FUSIONS

Node = Mapping[str, Any]

_DATASETS = ("QVHighlightsDataset", "TVSumDataset")
_SIZES = (
    *("video_dim", "text_dim", "audio_dim", "hidden_dim", "nheads", "enc_layers", "dec_layers", "dim_feedforward"),
    *("n_input_proj", "num_queries", "max_q_l"),
)


def type_name(node: Node) -> str:
    """The ``type`` of a node without its scope; empty where it is no string."""
    name = node.get("type")
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def option(node: Node, key: str) -> Any:
    """What the host gets for ``key``: the config's value, else its default."""
    if key in node:
        return node[key]
    for cls in (QDDETR, QDDETRNetwork):
        parameter = inspect.signature(cls.__init__).parameters.get(key)
        if parameter is not None:
            return None if parameter.default is parameter.empty else parameter.default
    raise KeyError(key)


@dimension_rule("QDDETR")
def host_options(node: Node, path: str, root: Node) -> list[str]:
    """Sizes, fusion, post-processing and datasets fit each other."""
    return [
        *_size_faults(node, path),
        *_choice_faults(node, path),
        *_fusion_faults(node, path),
        *_postprocess_faults(node, path),
        *_dataset_faults(node, path, root),
    ]


def _size_faults(node: Node, path: str) -> list[str]:
    sizes = {key: option(node, key) for key in _SIZES}
    bad = {
        key: value
        for key, value in sizes.items()
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1)
    }
    faults = [f"{path}.{key}: {value!r}; expected an int of at least 1" for key, value in bad.items()]
    if "hidden_dim" in bad or "nheads" in bad:
        return faults
    hidden, heads = sizes["hidden_dim"], sizes["nheads"]
    unit = heads if heads % 2 == 0 else 2 * heads
    if hidden % unit:
        near = max(1, round(hidden / unit)) * unit
        faults.append(f"{path}.hidden_dim: {hidden} must be even and a multiple of nheads={heads}; nearest: {near}")
    return faults


def _choice_faults(node: Node, path: str) -> list[str]:
    compat = option(node, "compat")
    if compat is None or compat in COMPAT:
        return []
    return [f"{path}.compat: {compat!r} is unknown; valid: None, {', '.join(map(repr, COMPAT))}"]


def _fusion_faults(node: Node, path: str) -> list[str]:
    fusion = option(node, "fusion")
    if not isinstance(fusion, Mapping) or FUSIONS.get(type_name(fusion)) is None:
        return []  # no fusion, or an unknown type, which is reported as such
    faults, name = [], type_name(fusion)
    if getattr(FUSIONS.get(name), "placement", None) not in PLACEMENTS:
        able = [known for known, cls in FUSIONS.module_dict.items() if getattr(cls, "placement", None) in PLACEMENTS]
        faults.append(f"{path}.fusion.type: {name} is no fusion of video and audio{suggestion(name, able)}")
    if option(node, "audio_dim") is None:
        faults.append(f"{path}.audio_dim: missing; {path}.fusion needs the width of the audio features")
    for key, source in (("video_dim", "video_dim"), ("audio_dim", "audio_dim"), ("dim", "hidden_dim")):
        expected = option(node, source)
        if key in fusion and expected is not None and fusion[key] != expected:
            faults.append(
                f"{path}.fusion.{key}: {fusion[key]!r}, but {path}.{source} is {expected}; set {expected}, or leave the"
                " key out"
            )
    return faults


def _postprocess_faults(node: Node, path: str) -> list[str]:
    options = option(node, "postprocess")
    if not isinstance(options, Mapping):
        return []
    known = [field.name for field in dataclasses.fields(PostProcessor)]
    return [
        f"{path}.postprocess.{key}: PostProcessor has no option {key!r}{suggestion(str(key), known)}"
        for key in options
        if key not in known
    ]


def _dataset_faults(node: Node, path: str, root: Node) -> list[str]:
    faults = []
    for where, dataset in _datasets(root):
        faults += _audio_faults(node, path, dataset, where)
        words = dataset.get("max_q_l", 32)
        if option(node, "use_txt_pos") and isinstance(words, int) and words > option(node, "max_q_l"):
            faults.append(
                f"{where}.max_q_l: {words} words, but {path} learns positions for max_q_l={option(node, 'max_q_l')}"
            )
        clip_length = dataset.get("clip_length", 2.0)
        rounding = (option(node, "postprocess") or {}).get("clip_length", PostProcessor.clip_length)
        if clip_length != rounding and not option(node, "saliency_only"):
            faults.append(
                f"{path}.postprocess.clip_length: windows are rounded to {rounding} s, but the clips of {where} are"
                f" {clip_length} s long; set {clip_length}"
            )
        if type_name(dataset) == "TVSumDataset" and not option(node, "saliency_only"):
            faults.append(f"{path}.saliency_only: False, but {where} (TVSum) has no windows to learn; set True")
    return faults


def _audio_faults(node: Node, path: str, dataset: Node, where: str) -> list[str]:
    fusion = option(node, "fusion")
    if not isinstance(fusion, Mapping):
        return []
    if dataset.get("audio_features") is None:
        return [f"{where}.audio_features: None, but {path}.fusion needs audio; name the features, or set fusion=None"]
    if dataset.get("missing_audio") == "no_audio" and fusion.get("no_audio", "error") != "learned":
        return [
            f"{path}.fusion.no_audio: {fusion.get('no_audio', 'error')!r} refuses the samples without audio that"
            f" {where}.missing_audio='no_audio' lets in; set 'learned'"
        ]
    return []


def _datasets(root: Node) -> Iterator[tuple[str, Node]]:
    for key, loader in root.items():
        dataset = loader.get("dataset") if str(key).endswith("_dataloader") and isinstance(loader, Mapping) else None
        if isinstance(dataset, Mapping) and type_name(dataset) in _DATASETS:
            yield f"{key}.dataset", dataset
