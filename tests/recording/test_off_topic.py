"""Gates scored against the known off-topic mask."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.off_topic import OffTopicGateHook, area_under_curve, audio_taps, openness


class TwoGates(Fusion):
    """Passes given gate values through a clipwise tap and a global one."""

    def __init__(self) -> None:
        super().__init__()
        self.clipwise, self.whole = GateTap("attention", -1.0, 1.0, layer=0), GateTap("ffn", 0.0, 1.0)
        self.shift = GateTap("shift", None, None)

    def forward(self, clipwise: torch.Tensor, whole: torch.Tensor) -> None:
        self.clipwise(clipwise)
        self.whole(whole)


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fusion, self.own_gate = TwoGates(), GateTap("attention", 0.0, 2.0, neutral=1.0)


class EventSet:
    metainfo: dict[str, Any]

    def __init__(self, root: Path, embedded: bool = True) -> None:
        self.data_root = root
        self.metainfo = {"identity": {"embedded": embedded}, "annotations": [{"vid": "a"}, {"vid": "b"}]}


def evaluate(
    tmp_path: Path, clipwise: list[list[float]], whole: list[float], embedded: bool = True
) -> dict[str, float]:
    (tmp_path / "off_topic.json").write_text('{"a": [0, 1, 0], "b": [1, 1]}')
    model, hook, metrics = Host(), OffTopicGateHook(), {"mAP": 1.0}
    runner: Any = SimpleNamespace(model=model, val_dataloader=SimpleNamespace(dataset=EventSet(tmp_path, embedded)))
    batch = {
        "sample_index": torch.tensor([1, 0]),  # the batch's order is not the annotations'
        "video_mask": torch.tensor([[True, True, False], [True, True, True]]),
    }
    hook.before_val_epoch(runner)
    model.fusion(torch.tensor(clipwise)[..., None], torch.tensor(whole)[:, None, None])
    hook.after_val_iter(runner, 0, batch)
    hook.after_val_epoch(runner, metrics)
    assert not model.fusion.clipwise._forward_hooks
    return metrics


def test_area_counts_ties_half_and_is_undefined_for_one_class() -> None:
    positive = np.array([True, True, False, False])
    assert area_under_curve(np.array([3.0, 2.0, 1.0, 0.0]), positive) == 1.0
    assert area_under_curve(np.array([0.0, 1.0, 2.0, 3.0]), positive) == 0.0
    assert area_under_curve(np.array([1.0, 2.0, 1.0, 0.0]), positive) == pytest.approx(3.5 / 4)
    assert np.isnan(area_under_curve(np.array([1.0, 2.0]), np.array([True, True])))


def test_openness_is_distance_from_neutral_averaged_over_channels() -> None:
    value = torch.tensor([[[-1.0, 0.5], [0.0, 0.0]]])
    assert openness(value, 0.0).tolist() == [[0.75, 0.0]]
    assert openness(value, 0.5).tolist() == [[0.75, 0.5]]


def test_gates_open_on_topic_score_one_and_padding_counts_for_nothing(tmp_path: Path) -> None:
    # -0.9 is as open as 0.9; the 99 stands at padding
    metrics = evaluate(tmp_path, [[0.1, 0.2, 99.0], [-0.9, 0.3, 0.8]], [0.1, 0.7])
    assert metrics == {"mAP": 1.0, "gate_auc/attention_0": 1.0, "gate_auc/ffn": 1.0}
    reverse = evaluate(tmp_path, [[0.9, 0.8, 0.0], [0.1, 0.5, 0.2]], [0.7, 0.1])
    assert (reverse["gate_auc/attention_0"], reverse["gate_auc/ffn"]) == (0.0, 0.0)


def test_real_data_has_no_mask_and_host_gates_gate_no_audio(tmp_path: Path) -> None:
    assert evaluate(tmp_path, [[0.0] * 3] * 2, [0.0, 0.0], embedded=False) == {"mAP": 1.0}
    assert list(audio_taps(Host())) == ["fusion.clipwise", "fusion.whole"]
