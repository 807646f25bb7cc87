"""Sizes that do not fit are found in the config, all at once, each with its dotted path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_hosts import IMAGE_SIZE, tiny_config

import gatefuse_plugins.data
import gatefuse_plugins.fusions  # noqa: F401
from gatefuse_plugins.config.validation import config_faults


def root(**options: Any) -> dict[str, Any]:
    transform = [{"type": "SquarePad"}, {"type": "ClipPreprocess", "size": IMAGE_SIZE}]
    dataset = {"type": "CIRRDataset", "data_root": "x", "split": "val", "role": "eval", "transform": transform}
    return {
        "default_scope": "gatefuse",
        "model": {"type": "Blip2ComposedRetrieval", **tiny_config(**options)},
        "val_dataloader": {"batch_size": 2, "dataset": dataset},
    }


def test_a_sound_config_has_no_fault() -> None:
    assert config_faults(root(fusion={"type": "TextGuidedImageFusion", "image_dim": 12, "text_dim": 16})) == []


def test_several_faults_are_reported_at_once() -> None:
    sequence = [{"type": "TextGuidedSpatialAttention"}, {"type": "TextGuidedImageFusion", "image_dim": 768}]
    config = root(fusion={"type": "SequentialFusion", "fusions": sequence})
    sequence[0]["text_dim"] = 768
    config["model"]["vision"]["image_size"] = 10
    config["model"]["qformer"]["num_attention_heads"] = 3
    config["model"]["tokenizer"]["max_length"] = 61
    faults = config_faults(config)
    for expected in (
        "model.vision.image_size: 10 is no multiple of patch_size=4; nearest: 8",
        "model.qformer.hidden_size: 16 is no multiple of num_attention_heads=3; nearest: 15",
        "model.fusion.fusions.0.text_dim: 768, but the Q-Former's text embeddings are 16 wide; set 16",
        "model.fusion.fusions.1.image_dim: 768, but the vision encoder's tokens are 12 wide; set 12",
        "model.tokenizer.max_length: 4 prompt tokens (num_query_token) and 61 text tokens need 65 positions",
        "val_dataloader.dataset.transform.1.size: 8, but model.vision takes images of 10 pixels; set 10",
    ):
        assert any(fault.startswith(expected) for fault in faults), (expected, faults)
    assert len(faults) == 6


@pytest.mark.parametrize(
    ("place", "key", "value", "nearest"),
    [
        ("qformer", "backend", "transfomers", "transformers"),
        ("tokenizer", "padding", "longst", "longest"),
        ("fusion", "strategy", "weightd", "weighted"),
        ("fusion", "pool", "frist", "first"),
        ("vision", "precision", "fp23", "fp32"),
    ],
)
def test_an_unknown_choice_is_a_fault(place: str, key: str, value: str, nearest: str) -> None:
    vision = {"vision": {"type": "EvaViTG", "image_size": 224}} if place == "vision" else {}
    config = root(fusion={"type": "TextGuidedImageFusion"}, **vision)
    config["model"][place][key] = value
    del config["val_dataloader"]
    (fault,) = config_faults(config)
    assert fault.startswith(f"model.{place}.{key}: {value!r} is unknown; did you mean {nearest!r}")


@pytest.mark.parametrize(
    ("vision", "width"),
    [
        ({"type": "EvaViTG", "image_size": 224}, 1408),
        ({"type": "gatefuse.ClipViTL"}, 1024),
        ({"type": "TinyPatchEncoder"}, 128),
        ({"type": "CachedVision", "num_features": 40, "num_tokens": 5, "image_size": 8, "digest": "d"}, 40),
    ],
)
def test_widths_of_the_vision_encoders(vision: dict[str, Any], width: int) -> None:
    config = root(vision=vision, fusion={"type": "TextGuidedImageFusion", "image_dim": 7})
    del config["val_dataloader"]
    (fault,) = config_faults(config)
    assert fault.startswith(f"model.fusion.image_dim: 7, but the vision encoder's tokens are {width} wide")


def test_bert_brings_its_own_sizes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 1024, "max_position_embeddings": 20}))
    fusion = {"type": "TextGuidedImageFusion", "text_dim": 7}
    (fault,) = config_faults(root(qformer={"type": "QFormer", "bert": "bert-base-uncased"}, fusion=fusion))
    assert "text embeddings are 768 wide" in fault
    faults = config_faults(root(qformer={"type": "QFormer", "bert": str(tmp_path)}, fusion=fusion, weight_rtc=0.0))
    assert "text embeddings are 1024 wide" in faults[0]
    assert faults[1].endswith("need 24 positions, but the Q-Former's max_position_embeddings is 20; at most 20")
    assert config_faults(root(qformer={"type": "QFormer", "bert": "someone/else"}, fusion=fusion)) == []
