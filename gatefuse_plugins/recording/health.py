"""When is a gate ill? Pure rules over one step's statistics, each with its remedy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.recording.statistics import TapStatistics

# Passes that a host makes through a layer in one step at most: the batch, and its negative pairs.
PASSES = 2
CAUSES = ("saturation", "collapse", "closing", "dominance", "one_sided")


@dataclass(frozen=True)
class GateThresholds:
    """Where health ends.

    Attributes:
        saturation_fraction: a gate is saturated when at least this fraction of its values lies within 2 % of the
            range from either end; there the squash passes next to no gradient.
        collapse_std: a gate may have collapsed when the standard deviation of its values is below this ...
        collapse_distance: ... and has when, besides, their mean is at most this far from the neutral value or from 0;
            then the context changes nothing, or nothing passes.
        closing_level: an attention gate that can only open (range from 0, neutral at 0) is closing when its mean is
            below this.
        dominance_level: an FFN gate that is neutral at 0 is too strong when its root mean square is above this.
        query_low, query_high: a query gate is one-sided when its mean leaves this range; then the query is next to all
            text, or next to all video.

    Raises:
        ConfigError: a threshold is out of range.
    """

    saturation_fraction: float = 0.95
    collapse_std: float = 1e-3
    collapse_distance: float = 1e-2
    closing_level: float = 0.05
    dominance_level: float = 0.5
    query_low: float = 0.1
    query_high: float = 0.9

    def __post_init__(self) -> None:
        checks = (
            (
                0 < self.saturation_fraction <= 1,
                f"saturation_fraction is {self.saturation_fraction}; expected a fraction in (0, 1]",
            ),
            (
                self.collapse_std >= 0 and self.collapse_distance >= 0,
                f"collapse_std {self.collapse_std} and collapse_distance {self.collapse_distance} must not be negative",
            ),
            (
                self.closing_level >= 0 and self.dominance_level > 0,
                f"closing_level {self.closing_level} must not be negative, dominance_level {self.dominance_level} must"
                " be above 0",
            ),
            (
                0 <= self.query_low < self.query_high <= 1,
                f"query_low {self.query_low} and query_high {self.query_high}: expected 0 <= low < high <= 1",
            ),
        )
        if faults := [fault for sound, fault in checks if not sound]:
            raise ConfigError("GateThresholds: " + "; ".join(faults))


def diagnose(name: str, tap: TapStatistics, thresholds: GateThresholds) -> dict[str, str]:
    """Ailments of one tap: cause (one of ``CAUSES``) to a message that names figures and remedy."""
    if tap.count == 0:
        return {}
    found = _level_ailments(name, tap, thresholds)
    if tap.saturated >= thresholds.saturation_fraction:
        found["saturation"] = (
            f"gate {name} is saturated: {tap.saturated_low:.0%} of its values lie within 2 % of the range from"
            f" {tap.low:g} and {tap.saturated_high:.0%} from {tap.high:g} (threshold"
            f" {thresholds.saturation_fraction:.0%}), so it learns next to nothing. Raise the squash's temperature,"
            " lower the learning rate, or normalise the evidence"
        )
    # a gate of one learned number gives one value a pass: equal values are its nature, no collapse
    varies = tap.count > PASSES
    distance = min(abs(tap.mean - tap.neutral), abs(tap.mean))
    if varies and tap.std < thresholds.collapse_std and distance <= thresholds.collapse_distance:
        found["collapse"] = (
            f"gate {name} has collapsed: mean {tap.mean:.4g}, std {tap.std:.2g} (threshold"
            f" {thresholds.collapse_std:g}) beside the neutral value {tap.neutral:g} or 0, so every input is treated"
            " alike. Raise alpha_init or the squash's bias, raise the gate's learning rate, and check that the"
            " context varies between samples"
        )
    return found


def _level_ailments(name: str, tap: TapStatistics, thresholds: GateThresholds) -> dict[str, str]:
    """Ailments of query gates, and of audio gates that add something new: neutral at 0, unlike those on a branch."""
    if tap.kind == "query" and not thresholds.query_low <= tap.mean <= thresholds.query_high:
        side = "text" if tap.mean < thresholds.query_low else "video"
        return {
            "one_sided": (
                f"query gate {name} has left {thresholds.query_low:g}..{thresholds.query_high:g}: mean {tap.mean:.3g},"
                f" so the attention's query is next to all {side}. Lower the gate's learning rate, or start over"
                " without the query gate if it stays there"
            )
        }
    if tap.neutral != 0:
        return {}
    if tap.kind == "attention" and tap.low == 0 and tap.mean < thresholds.closing_level:
        return {
            "closing": (
                f"gate {name} is falling to 0: mean {tap.mean:.3g} (threshold {thresholds.closing_level:g}), so next to"
                " no audio passes. Start it wider open: mha_gate_bias_init=1.5 to 2.0 in AvigateCustomFusion, a lower"
                " threshold_init in QueryAwareTemporalGate"
            )
        }
    strength = math.hypot(tap.mean, tap.std)
    if tap.kind == "ffn" and strength > thresholds.dominance_level:
        return {
            "dominance": (
                f"gate {name} is too strong: root mean square {strength:.3g} (threshold"
                f" {thresholds.dominance_level:g}), so its FFN branch may outweigh the stream that it joins. Lower the"
                " gate's learning rate; AvigateCustomFusion(generation='sigmoid') starts it weaker with"
                " ffn_gate_alpha_init=0.2 to 0.3"
            )
        }
    return {}
