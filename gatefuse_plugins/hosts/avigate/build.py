"""Builder of the host from a flat config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from gatefuse_plugins.hosts.avigate.model import AVIGATE
from gatefuse_plugins.hosts.avigate.options import FusionOptions, NetworkSizes, TrainingOptions
from gatefuse_plugins.patterns import match_names
from gatefuse_plugins.registry import MODELS


@MODELS.register_module(name="AVIGATE")
def build_avigate(
    width: int = 512,
    num_heads: int = 8,
    num_query_tokens: int = 12,
    resampler_layers: int = 4,
    fusion_layers: int = 4,
    max_frames: int = 77,
    fusion_mix: float = 0.05,
    lse_temperature: float = 1.0,
    gating: bool = True,
    query_gate: str = "off",
    query_gate_scale: bool = False,
    dual_path: bool = False,
    text_gates: bool = False,
    text_alignment: str = "mean",
    layer_decay: str = "off",
    decay_ffn: bool = False,
    attention_temperature: float = 1.0,
    gate_pooling: str = "mean",
    mask_padding: bool = True,
    margin_beta: float = 0.2,
    margin_bound: float = 0.1,
    mask_same_video: bool = True,
    max_bytes: int = 1 << 31,
    frame_encoder: dict | None = None,
    text_encoder: dict | None = None,
    audio_encoder: dict | None = None,
    frozen: Sequence[str] = (),
    data_preprocessor: dict | None = None,
) -> AVIGATE:
    """Build the host from a config.

    Args:
        width: see :class:`NetworkSizes`, up to ``max_frames``.
        fusion_mix: see :class:`AVIGATENetwork`, likewise ``lse_temperature``.
        gating: see :class:`FusionOptions`, up to ``mask_padding``.
        margin_beta: see :class:`TrainingOptions`, up to ``max_bytes``.
        frame_encoder: config of a module of MODELS; ``None`` where the batch holds features. Likewise the others.
        frozen: dotted globs over the names of parameters that are not trained.

    Raises:
        ConfigError: sizes or options that do not go together, all of a kind at once.
        PatternError: a pattern of ``frozen`` matches no parameter.
    """
    given = dict(locals())

    def options(cls: type) -> Any:
        return cls(**{item.name: given[item.name] for item in fields(cls)})

    encoders = {
        name: MODELS.build(given[name]) if given[name] is not None else None
        for name in ("frame_encoder", "text_encoder", "audio_encoder")
    }
    model = AVIGATE(
        sizes=options(NetworkSizes),
        options=options(FusionOptions),
        training_options=options(TrainingOptions),
        fusion_mix=fusion_mix,
        lse_temperature=lse_temperature,
        data_preprocessor=data_preprocessor,
        **encoders,
    )
    parameters = dict(model.named_parameters())
    for pattern in frozen:
        for name in match_names(pattern, parameters, host="the parameters of AVIGATE"):
            parameters[name].requires_grad_(False)
    return model
