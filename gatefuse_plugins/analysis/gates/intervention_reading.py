"""What a change of a metric under an intervention says, in one sentence."""

from __future__ import annotations

import math

from gatefuse_plugins.analysis.gates.bootstrap import Interval

DEEDS = {
    "neutral": "Putting {gates} at neutral",
    "open": "Opening {gates} fully",
    "mean": "Freezing {gates} at their mean",
    "shuffle_samples": "Giving every sample the {gates} of another one",
    "shuffle_time": "Shuffling {gates} over time",
}
HARM = {
    "neutral": "the model relies on what they let through",
    "open": "it matters that they close where they do",
    "mean": "their variation with the input matters",
    "shuffle_samples": "values of other samples mislead the model",
    "shuffle_time": "values of other moments mislead the model",
}
GAIN = {
    "neutral": "the model does better without what they let through",
    "open": "they close further than is good",
    "mean": "their variation does harm",
    "shuffle_samples": "their values do harm where they stand",
    "shuffle_time": "their order in time does harm",
}


def describe_gates(kind: str | None, layer: int | None) -> str:
    """``all gates``, ``attention gates``, ``gates of layer 0``, ``attention gates of layer 0``."""
    if kind is None and layer is None:
        return "all gates"
    return ("gates" if kind is None else f"{kind} gates") + ("" if layer is None else f" of layer {layer}")


def deed(intervention: str, kind: str | None, layer: int | None) -> str:
    """``Freezing the attention gates of layer 0 at their mean``."""
    gates = describe_gates(kind, layer)
    known = DEEDS.get(intervention, f"{intervention} on {{gates}}")
    if intervention == "shuffle_samples":
        return known.format(gates=gates.removeprefix("all "))
    return known.format(gates=gates if gates == "all gates" else f"the {gates}")


def change_words(metric: str, found: Interval, unit: str) -> str:
    """``MR-full-mAP by -3.10 points (95 % CI -4.80 to -1.20)``."""
    named = "ranks" if lower_is_better(metric) else unit
    text = f"{metric} by {figure(found.mean, unit, '+')}{f' {named}' if named else ''}"
    if math.isnan(found.low):
        return text
    return f"{text} (95 % CI {figure(found.low, unit, '+')} to {figure(found.high, unit, '+')})"


def meaning(intervention: str, metric: str, found: Interval) -> str:
    """What the change says; a clause without full stop."""
    if math.isnan(found.low):
        return "one sample or group alone says nothing of others"
    if not found.excludes_zero:
        return f"no effect can be shown on {found.samples:,} samples"
    harms = (found.mean < 0) != lower_is_better(metric)
    words, other = (HARM, "the model gets worse") if harms else (GAIN, "the model gets better")
    return words.get(intervention, other)


def lower_is_better(metric: str) -> bool:
    """Ranks are; all other figures are better the higher they are."""
    return metric.endswith("MeanR")


def figure(value: float, unit: str, sign: str = "") -> str:
    """A metric, or a change of one: two digits for percentages, three for shares."""
    digits = 2 if unit else 3
    return format(round(value, digits) + 0.0, f"{sign}.{digits}f")  # no -0.00
