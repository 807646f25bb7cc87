"""Sizes and options that have to agree in a config of the host, judged before anything is built."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.config.rules import dimension_rule
from gatefuse_plugins.hosts.avigate.build import build_avigate
from gatefuse_plugins.hosts.avigate.options import option_faults, positive
from gatefuse_plugins.hosts.blip2_cir.rules import size_of

_SIZES = ("width", "num_heads", "num_query_tokens", "resampler_layers", "fusion_layers", "max_frames", "max_bytes")
_ENCODERS = ("frame_encoder", "text_encoder", "audio_encoder")
_WIDTH_KEYS = ("output_dim", "out_features")


@dimension_rule("AVIGATE")
def avigate_faults(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
    """Sizes below 1, heads that do not divide the width, options that need others, encoders of another width."""
    defaults = {name: item.default for name, item in inspect.signature(build_avigate).parameters.items()}
    values = {name: node.get(name, default) for name, default in defaults.items()}
    faults = []
    for name in _SIZES:
        if not isinstance(values[name], int) or isinstance(values[name], bool) or values[name] < 1:
            faults.append(f"{path}.{name}: {values[name]!r}, expected an int of at least 1")
    if faults:
        return faults
    width = values["width"]
    if width % values["num_heads"]:
        faults.append(f"{path}.num_heads: {values['num_heads']} does not divide width {width}")
    if not positive(values["fusion_mix"], or_zero=True) or values["fusion_mix"] > 1:
        faults.append(f"{path}.fusion_mix: {values['fusion_mix']!r}, expected a share within 0..1")
    if not positive(values["lse_temperature"]):
        faults.append(f"{path}.lse_temperature: {values['lse_temperature']!r}, expected a number above 0")
    for name in ("margin_beta", "margin_bound"):
        if not positive(values[name], or_zero=True):
            faults.append(f"{path}.{name}: {values[name]!r}, expected a number of at least 0")
    faults += [f"{path}.{key}: {message}" for key, message in option_faults(values)]
    return faults + _encoder_faults(node, path, width)


def _encoder_faults(node: Mapping[str, Any], path: str, width: int) -> list[str]:
    faults = []
    for name in _ENCODERS:
        encoder = node.get(name)
        if not isinstance(encoder, Mapping):
            continue
        for key in _WIDTH_KEYS:
            stated = size_of(encoder, key)
            if stated is not None and stated != width:
                faults.append(f"{path}.{name}.{key}: {stated}, but the model's width is {width}; they must be equal")
    return faults
