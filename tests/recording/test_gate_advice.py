"""Advice on audio gates: attention gates that close, FFN gates that take over."""

from __future__ import annotations

import logging

import pytest
import torch

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions import AvigateCustomFusion
from gatefuse_plugins.gates import ResidualGate
from gatefuse_plugins.recording.health import CAUSES, GateThresholds, diagnose
from gatefuse_plugins.recording.monitor_hook import GateMonitorHook
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.statistics import TapStatistics


def tap(
    kind: str, mean: float, std: float = 0.1, neutral: float = 0.0, low: float | None = 0.0, high: float | None = None
) -> TapStatistics:
    return TapStatistics(kind, 0, low, high, neutral, 8, mean, std, mean, mean, 0.0, 0.0)


@pytest.mark.parametrize(
    ("statistics", "causes"),
    [
        (tap("attention", 0.04), {"closing"}),
        (tap("attention", 0.06), set()),
        (tap("attention", 0.04, low=-1.0, high=1.0), set()),  # a tanh gate may well start around 0
        (tap("attention", 0.04, neutral=1.0, high=2.0), set()),  # a branch of the host, no audio
        (tap("ffn", 0.3, 0.45, low=None), {"dominance"}),
        (tap("ffn", -0.6, 0.0, low=None), {"dominance"}),
        (tap("ffn", 0.3, 0.1, low=None), set()),
        (tap("shift", 0.9, low=None), set()),
        (tap("query", 0.09, neutral=1.0, high=1.0), {"one_sided"}),
        (tap("query", 0.91, neutral=1.0, high=1.0), {"one_sided"}),
        (tap("query", 0.5, neutral=1.0, high=1.0), set()),
    ],
)
def test_causes(statistics: TapStatistics, causes: set[str]) -> None:
    found = diagnose("g", statistics, GateThresholds())
    assert set(found) == causes <= set(CAUSES)
    remedies = {
        "closing": "mha_gate_bias_init=1.5 to 2.0",
        "dominance": "ffn_gate_alpha_init=0.2 to 0.3",
        "one_sided": "is next to all " + ("text" if statistics.mean < 0.5 else "video"),
    }
    assert all(remedies[cause] in message for cause, message in found.items())


def test_published_defaults_are_healthy_and_a_closed_gate_is_not() -> None:
    torch.manual_seed(0)
    video, audio = torch.randn(2, 4, 6, 8)
    for bias, expected in ((1.0, set()), (-6.0, {"closing"})):
        fusion = AvigateCustomFusion(8, 1, 2, "clipwise", mha_gate_bias_init=bias)
        with record_gates(fusion) as gates:
            fusion(video, audio)
        causes = {cause for name, s in gates.summary().items() for cause in diagnose(name, s, GateThresholds())}
        assert causes == expected


def test_a_gate_of_one_number_does_not_collapse() -> None:
    gate, varying = ResidualGate(), ResidualGate(8, "global")
    for module, expected in ((gate, set()), (varying, {"collapse"})):
        with record_gates(module) as gates:
            module(torch.randn(4, 6, 8))
        (statistics,) = gates.summary().values()
        assert set(diagnose("g", statistics, GateThresholds())) == expected


def test_the_monitor_warns(caplog: pytest.LogCaptureFixture) -> None:
    class Stand:
        logger = logging.getLogger("test_gate_advice")

    hook = GateMonitorHook(patience=2, closing_level=0.2)
    with caplog.at_level(logging.WARNING, "test_gate_advice"):
        for _ in range(3):
            hook._warn(Stand(), "fusion.attention_tap", diagnose("g", tap("attention", 0.1), hook.thresholds))
    assert len(caplog.records) == 1
    assert "mha_gate_bias_init" in caplog.records[0].getMessage()
    with pytest.raises(ConfigError, match="closing_level -1"):
        GateMonitorHook(closing_level=-1)
    with pytest.raises(ConfigError, match="query_low 0.9 and query_high 0.1"):
        GateMonitorHook(query_low=0.9, query_high=0.1)
