"""Sizes that have to agree in a config of the host, judged before anything is built.

A size that the config alone does not tell (a BERT that still has to be downloaded) is not judged.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gatefuse_plugins.config.rules import dimension_rule
from gatefuse_plugins.hosts.blip2_cir.vision.pretrained import PATCH_SIZE
from gatefuse_plugins.registry import FUSIONS, MODELS

Node = Mapping[str, Any]

# (vision type, width of its tokens) where no key of the config states it
_FIXED_WIDTHS = {"EvaViTG": 1408, "ClipViTL": 1024}
_WIDTH_KEYS = {"TinyPatchEncoder": "width", "CachedVision": "num_features"}
_BERT_SIZES = {"bert-base-uncased": {"hidden_size": 768, "max_position_embeddings": 512}}


def type_name(node: Node) -> str:
    """The ``type`` of a node without its scope; empty where it is no string."""
    name = node.get("type")
    return name.rpartition(".")[2] if isinstance(name, str) else ""


def size_of(node: Any, key: str) -> int | None:
    """A positive int from the node, else from its component's defaults; ``None`` where neither tells one."""
    if not isinstance(node, Mapping):
        return None
    value = node.get(key)
    if key not in node:
        component = MODELS.get(type_name(node))
        parameter = inspect.signature(component).parameters.get(key) if component is not None else None
        value = parameter.default if parameter is not None else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def vision_width(vision: Any) -> int | None:
    """Width of the tokens that a vision encoder's config node stands for."""
    if not isinstance(vision, Mapping):
        return None
    name = type_name(vision)
    return _FIXED_WIDTHS.get(name) or (size_of(vision, _WIDTH_KEYS[name]) if name in _WIDTH_KEYS else None)


def qformer_size(qformer: Any, key: str) -> int | None:
    """``hidden_size`` or ``max_position_embeddings`` of a Q-Former; those of its BERT win over the config's."""
    if not isinstance(qformer, Mapping):
        return None
    bert = qformer.get("bert", "bert-base-uncased")
    if bert is None:
        return size_of({"type": "QFormer", **qformer}, key)
    if bert in _BERT_SIZES:
        return _BERT_SIZES[bert][key]
    try:
        return int(json.loads((Path(str(bert)).expanduser() / "config.json").read_text())[key])
    except (OSError, ValueError, KeyError, TypeError):
        return None  # a hub name, or a folder that the builder will reject with a better message


def multiple_fault(node: Node, path: str, size: str, divisor: str, fixed: int | None = None) -> list[str]:
    """One fault where ``node[size]`` is no multiple of ``node[divisor]`` (or of ``fixed``)."""
    value, unit = size_of(node, size), fixed or size_of(node, divisor)
    if value is None or unit is None or value % unit == 0:
        return []
    near = max(1, round(value / unit)) * unit
    return [f"{path}.{size}: {value} is no multiple of {divisor}={unit}; nearest: {near}"]


@dimension_rule("TinyPatchEncoder")
def tiny_encoder_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Patches tile the image, heads the width."""
    faults = multiple_fault(node, path, "image_size", "patch_size")
    return faults + multiple_fault(node, path, "width", "num_heads")


@dimension_rule("EvaViTG")
@dimension_rule("ClipViTL")
def pretrained_encoder_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Patches tile the image; else the convolution would silently drop a border."""
    return multiple_fault(node, path, "image_size", "patch_size", PATCH_SIZE)


@dimension_rule("QFormer")
def qformer_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Heads divide the hidden size of a from-scratch Q-Former, a pre-trained BERT brings its own."""
    if node.get("bert", "bert-base-uncased") is not None:
        return []
    return multiple_fault(node, path, "hidden_size", "num_attention_heads")


@dimension_rule("Blip2ComposedRetrieval")
def host_sizes(node: Node, path: str, root: Node) -> list[str]:
    """Vision, Q-Former, fusion, tokenizer and transform fit each other."""
    vision, qformer = node.get("vision"), node.get("qformer")
    width, hidden = vision_width(vision), qformer_size(qformer, "hidden_size")
    faults = []
    if isinstance(qformer, Mapping):
        faults += _width_fault(qformer, f"{path}.qformer", "encoder_width", width, "the vision encoder's tokens are")
    faults += fusion_faults(node.get("fusion"), f"{path}.fusion", width, hidden)
    faults += _position_fault(node, path)
    size = size_of(vision, "image_size")
    return faults + (transform_faults(root, size, f"{path}.vision") if size else [])


def fusion_faults(fusion: Any, path: str, image_dim: int | None, text_dim: int | None) -> list[str]:
    """Widths that a fusion states (it may leave them out), also inside a sequence of fusions."""
    if not isinstance(fusion, Mapping) or FUSIONS.get(type_name(fusion)) is None:
        return []  # no fusion, or an unknown type, which is reported as such
    faults = _width_fault(fusion, path, "image_dim", image_dim, "the vision encoder's tokens are")
    faults += _width_fault(fusion, path, "text_dim", text_dim, "the Q-Former's text embeddings are")
    parts = fusion.get("fusions")
    for index, part in enumerate(parts if isinstance(parts, list | tuple) else ()):
        faults += fusion_faults(part, f"{path}.fusions.{index}", image_dim, text_dim)
    return faults


def _width_fault(node: Node, path: str, key: str, expected: int | None, what: str) -> list[str]:
    if expected is None or key not in node or node[key] == expected:
        return []
    return [f"{path}.{key}: {node[key]!r}, but {what} {expected} wide; set {expected}, or leave the key out"]


def _position_fault(node: Node, path: str) -> list[str]:
    tokenizer = node.get("tokenizer")
    tokens = (
        size_of({"type": "CaptionTokenizer", **tokenizer}, "max_length") if isinstance(tokenizer, Mapping) else None
    )
    positions = qformer_size(node.get("qformer"), "max_position_embeddings")
    # only the pass behind loss_rtc numbers prompt and text tokens together
    prompts = size_of(node, "num_query_token") if node.get("weight_rtc", 0.4) else 0
    if tokens is None or positions is None or prompts is None or tokens + prompts <= positions:
        return []
    needed = (
        f"{prompts} prompt tokens (num_query_token) and {tokens} text tokens" if prompts else f"{tokens} text tokens"
    )
    return [
        f"{path}.tokenizer.max_length: {needed} need {tokens + prompts} positions, but the Q-Former's"
        f" max_position_embeddings is {positions}; at most {max(positions - prompts, 0)}"
    ]


def transform_faults(root: Node, image_size: int, source: str) -> list[str]:
    """``ClipPreprocess`` steps of the datasets whose size is not the encoder's."""
    return [
        f"{path}.size: {step['size']!r}, but {source} takes images of {image_size} pixels; set {image_size}"
        for path, step in _transform_steps(root)
        if type_name(step) == "ClipPreprocess" and "size" in step and step["size"] != image_size
    ]


def _transform_steps(root: Node) -> Iterator[tuple[str, Node]]:
    for key, loader in root.items():
        dataset = loader.get("dataset") if str(key).endswith("_dataloader") and isinstance(loader, Mapping) else None
        steps = dataset.get("transform") if isinstance(dataset, Mapping) else None
        for index, step in enumerate(steps if isinstance(steps, list | tuple) else ()):
            if isinstance(step, Mapping):
                yield f"{key}.dataset.transform.{index}", step
