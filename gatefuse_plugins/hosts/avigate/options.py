"""Sizes and options of the host; the defaults are upstream's, padding apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatefuse_plugins.errors import ConfigError, suggestion

_CHOICES = {
    "query_gate": ("off", "scalar", "headwise"),
    "layer_decay": ("off", "fixed", "learnable"),
    "gate_pooling": ("mean", "attention"),
    "text_alignment": ("mean", "attention"),
}
_SWITCHES = ("gating", "query_gate_scale", "dual_path", "text_gates", "decay_ffn", "mask_padding")


@dataclass(frozen=True)
class NetworkSizes:
    """Sizes of the network; the defaults are those of CLIP ViT-B with upstream's script.

    Attributes:
        width: D of frame, audio and text features.
        num_heads: attention heads; D / H is 64 upstream.
        num_query_tokens: audio tokens Q after the resampler.
        resampler_layers: upstream ``audio_query_layers``.
        fusion_layers: upstream ``cross_num_hidden_layers``.
        max_frames: rows of the frame positions, upstream the text context of CLIP.
    """

    width: int = 512
    num_heads: int = 8
    num_query_tokens: int = 12
    resampler_layers: int = 4
    fusion_layers: int = 4
    max_frames: int = 77

    def __post_init__(self) -> None:
        """Raises ConfigError where a size is below 1, or heads do not divide the width."""
        wrong = [name for name, value in vars(self).items() if value < 1]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: expected at least 1")
        if self.width % self.num_heads:
            raise ConfigError(f"num_heads: {self.num_heads} does not divide width {self.width}")


@dataclass(frozen=True)
class FusionOptions:
    """Options of the gated fusion transformer.

    Attributes:
        gating: attention and FFN gates; False adds both branches as they are.
        query_gate: ``scalar`` mixes the text into the cross-attention's query by one weight a sample, ``headwise`` by
            one a head.
        query_gate_scale: a learned factor from 0 on the text's share, so that the gate starts by changing nothing; see
            :class:`~gatefuse_plugins.gates.query_gate.QueryGate`.
        dual_path: the gate mixes what the video's and what the text's query read from the audio, not the queries.
        text_gates: attention and FFN gates see the text too.
        text_alignment: the text beside each frame: ``mean`` is the masked mean of its tokens for all frames,
            ``attention`` lets each frame collect tokens by scaled dot product (no parameters).
        layer_decay: multiply the gate of layer l of L by 1 - l / L (``fixed``) or by a learned sigmoid.
        decay_ffn: the FFN gate decays as well.
        attention_temperature: divides the cross-attention's logits.
        gate_pooling: evidence of the gates: mean over positions, or learned attention that starts as the mean.
        mask_padding: padded frames are no evidence and no attention keys. False is upstream, where they are both.
    """

    gating: bool = True
    query_gate: str = "off"
    query_gate_scale: bool = False
    dual_path: bool = False
    text_gates: bool = False
    text_alignment: str = "mean"
    layer_decay: str = "off"
    decay_ffn: bool = False
    attention_temperature: float = 1.0
    gate_pooling: str = "mean"
    mask_padding: bool = True

    def __post_init__(self) -> None:
        """Raises ConfigError, all faults at once."""
        if faults := option_faults(vars(self)):
            raise ConfigError("; ".join(f"{key}: {message}" for key, message in faults))

    @property
    def text_conditioned(self) -> bool:
        """Whether a video's fused frames depend on the text that it is compared with."""
        return self.query_gate != "off" or self.text_gates


def positive(value: object, or_zero: bool = False) -> bool:
    """A finite number above 0 (or 0), and no bool."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return False
    return value > 0 or (or_zero and value == 0)


def option_faults(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and message of every option that is unknown or needs another one; ``values`` holds them all."""
    found = [
        (key, f"{values[key]!r} is unknown{suggestion(str(values[key]), choices)}")
        for key, choices in _CHOICES.items()
        if values[key] not in choices
    ]
    found += [
        (key, f"{values[key]!r}, expected True or False") for key in _SWITCHES if not isinstance(values[key], bool)
    ]
    if not positive(values["attention_temperature"]):
        found.append(("attention_temperature", f"{values['attention_temperature']!r}, expected a number above 0"))
    no_query, no_decay = values["query_gate"] == "off", values["layer_decay"] == "off"
    needs_query = "needs query_gate='scalar' or 'headwise', which is 'off'"
    needs_gates = "needs gating=True: there is no gate that it could act on"
    wrong = (
        ("dual_path", values["dual_path"] and no_query, needs_query),
        ("query_gate_scale", values["query_gate_scale"] and no_query, needs_query),
        ("text_alignment", values["text_alignment"] != "mean" and no_query, needs_query),
        ("text_gates", values["text_gates"] and not values["gating"], needs_gates),
        ("layer_decay", not no_decay and not values["gating"], needs_gates),
        ("gate_pooling", values["gate_pooling"] != "mean" and no_query and not values["gating"], needs_gates),
        ("decay_ffn", values["decay_ffn"] and no_decay, "needs layer_decay='fixed' or 'learnable'"),
    )
    return found + [(key, message) for key, is_wrong, message in wrong if is_wrong]


@dataclass(frozen=True)
class TrainingOptions:
    """How the loss is computed; the defaults are upstream's.

    Attributes:
        margin_beta: slope of the adaptive margin (paper: lambda); 0 is no margin.
        margin_bound: its largest value (paper: delta).
        mask_same_video: another caption of the same video in the batch is no negative.
        max_bytes: bound on the activations of text-conditioned scoring; beyond it chunks are recomputed in backward.
    """

    margin_beta: float = 0.2
    margin_bound: float = 0.1
    mask_same_video: bool = True
    max_bytes: int = 1 << 31
