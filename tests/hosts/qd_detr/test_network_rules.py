"""What does not fit is found in the config, all at once, each with its dotted path."""

from __future__ import annotations

from typing import Any

import pytest

import gatefuse_plugins.data
import gatefuse_plugins.fusions
import gatefuse_plugins.hosts.qd_detr  # noqa: F401
from gatefuse_plugins.config.validation import config_faults


def root(dataset: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    model = {"type": "QDDETR", "video_dim": 2818, "text_dim": 512, "audio_dim": 2050}
    model["fusion"] = {"type": "Concat", "video_dim": 2818, "audio_dim": 2050}
    data = {"type": "QVHighlightsDataset", "data_root": "x", "audio_features": "auto"} | (dataset or {})
    return {
        "default_scope": "gatefuse",
        "model": model | options,
        "train_dataloader": {"batch_size": 2, "dataset": data},
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"fusion": None, "audio_dim": None},
        {
            "fusion": {"type": "gatefuse.AvigateCustomFusion", "dim": 256, "gating_type": "clipwise"},
            "compat": "upstream",
        },
        {
            "type": "Injected",
            "host": "QDDETR",
            "injection": [
                {"pattern": "transformer.encoder.layers.0", "at": "ffn_gate", "gate": {"type": "ResidualGate"}}
            ],
            "postprocess": {"nms_thd": 0.7},
        },
    ],
)
def test_a_sound_config_has_no_fault(options: dict[str, Any]) -> None:
    assert config_faults(root(**options)) == []


def test_an_injected_host_is_judged_as_the_host() -> None:
    rules = [{"pattern": "transformer.encoder.layers.0", "at": "ffn_gate", "gate": {"type": "ResidualGate"}}]
    config = root({"audio_features": None}, type="Injected", host="QDDETR", injection=rules, hidden_dim=252, nhead=4)
    faults = config_faults(config)
    for expected in (
        "model.nhead: QDDETR has no parameter 'nhead'; did you mean 'nheads'",
        "model.hidden_dim: 252 must be even and a multiple of nheads=8; nearest: 256",
        "train_dataloader.dataset.audio_features: None, but model.fusion needs audio",
    ):
        assert any(fault.startswith(expected) for fault in faults), (expected, faults)
    assert len(faults) == 3


def test_several_faults_are_reported_at_once() -> None:
    config = root(
        {"audio_features": None, "clip_length": 1.0, "max_q_l": 40},
        hidden_dim=252,
        num_queries=0,
        audio_dim=None,
        fusion={"type": "AvigateCustomFusion", "dim": 128},
        compat="upstrm",
        use_txt_pos=True,
        postprocess={"nms_thr": 0.5},
        nhead=4,
    )
    faults = config_faults(config)
    for expected in (
        "model.nhead: QDDETR has no parameter 'nhead'; did you mean 'nheads'",
        "model.hidden_dim: 252 must be even and a multiple of nheads=8; nearest: 256",
        "model.num_queries: 0; expected an int of at least 1",
        "model.audio_dim: missing; model.fusion needs the width of the audio features",
        "model.fusion.dim: 128, but model.hidden_dim is 252; set 252",
        "model.compat: 'upstrm' is unknown",
        "model.postprocess.nms_thr: PostProcessor has no option 'nms_thr'; did you mean 'nms_thd'",
        "train_dataloader.dataset.audio_features: None, but model.fusion needs audio",
        "train_dataloader.dataset.max_q_l: 40 words, but model learns positions for max_q_l=32",
        "model.postprocess.clip_length: windows are rounded to 2.0 s, but the clips of train_dataloader.dataset",
    ):
        assert any(fault.startswith(expected) for fault in faults), (expected, faults)
    assert len(faults) == 10


@pytest.mark.parametrize(
    ("dataset", "options", "expected"),
    [
        ({"type": "TVSumDataset", "clip_length": 2.0}, {}, "model.saliency_only: False, but train_dataloader.dataset"),
        ({"missing_audio": "no_audio"}, {}, "model.fusion.no_audio: 'error' refuses the samples without audio"),
        (
            {},
            {"hidden_dim": 21, "nheads": 3},
            "model.hidden_dim: 21 must be even and a multiple of nheads=3; nearest: 24",
        ),
        ({}, {"fusion": {"type": "TextGuidedImageFusion"}}, "model.fusion.type: TextGuidedImageFusion is no fusion of"),
        ({}, {"fusion": {"type": "Concat", "video_dim": 7}}, "model.fusion.video_dim: 7, but model.video_dim is 2818"),
    ],
)
def test_single_faults(dataset: dict[str, Any], options: dict[str, Any], expected: str) -> None:
    assert any(fault.startswith(expected) for fault in config_faults(root(dataset, **options)))
