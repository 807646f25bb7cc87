"""When is a gate ill? Pure rules over one step's statistics, each with its remedy."""

from __future__ import annotations

from dataclasses import dataclass

from gatefuse_plugins.recording.recorder import TapStatistics


@dataclass(frozen=True)
class GateThresholds:
    """Where health ends.

    Attributes:
        saturation_fraction: a gate is saturated when at least this fraction of its values lies within 2 % of the
            range from either end; there the squash passes next to no gradient.
        collapse_std: a gate may have collapsed when the standard deviation of its values is below this ...
        collapse_distance: ... and has when, besides, their mean is at most this far from the neutral value or from 0;
            then the context changes nothing, or nothing passes.
    """

    saturation_fraction: float = 0.95
    collapse_std: float = 1e-3
    collapse_distance: float = 1e-2

    def __post_init__(self) -> None:
        if not 0 < self.saturation_fraction <= 1:
            raise ValueError(f"saturation_fraction is {self.saturation_fraction}; expected a fraction in (0, 1]")
        if self.collapse_std < 0 or self.collapse_distance < 0:
            raise ValueError(
                f"collapse_std {self.collapse_std} and collapse_distance {self.collapse_distance} must not be negative"
            )


def diagnose(name: str, tap: TapStatistics, thresholds: GateThresholds) -> dict[str, str]:
    """Ailments of one tap: cause (``saturation``, ``collapse``) to a message that names figures and remedy."""
    found: dict[str, str] = {}
    if tap.count == 0:
        return found
    if tap.saturated >= thresholds.saturation_fraction:
        found["saturation"] = (
            f"gate {name} is saturated: {tap.saturated_low:.0%} of its values lie within 2 % of the range from"
            f" {tap.low:g} and {tap.saturated_high:.0%} from {tap.high:g} (threshold"
            f" {thresholds.saturation_fraction:.0%}), so it learns next to nothing. Raise the squash's temperature,"
            " lower the learning rate, or normalise the evidence"
        )
    distance = min(abs(tap.mean - tap.neutral), abs(tap.mean))
    if tap.std < thresholds.collapse_std and distance <= thresholds.collapse_distance:
        found["collapse"] = (
            f"gate {name} has collapsed: mean {tap.mean:.4g}, std {tap.std:.2g} (threshold"
            f" {thresholds.collapse_std:g}) beside the neutral value {tap.neutral:g} or 0, so every input is treated"
            " alike. Raise alpha_init or the squash's bias, raise the gate's learning rate, and check that the"
            " context varies between samples"
        )
    return found
