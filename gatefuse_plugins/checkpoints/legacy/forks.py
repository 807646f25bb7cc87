"""The forks whose gates are known, as data; recognised by the names of modules and parameters, never of classes.

=====================  ============================================================================================
fork                   source
=====================  ============================================================================================
``qd_detr_sigmoid``    QD-DETR-exp, branch ``feat/gate_analysis_junhan_v2-0812`` (sigmoid generation, FiLM)
``qd_detr_ssm``        QD-DETR-exp, branch ``diagstrip-ssm``, gating type ``global_diagstrip_ssm``
``qd_detr_tanh``       QD-DETR-exp, branches ``avigate_custom``, ``avigate``, ``gate_analysis``, ``feat/t2v-ffn``,
                       ``feat/t2v+avigate_custom_with_saliency_token`` (tanh generation)
``qd_detr_temporal``   QD-DETR-exp, branch ``temporal_gate``, ``qd_detr/temporal_gate.py``
``qd_detr_text_audio`` QD-DETR-exp, branches ``txt_audio*``, ``qd_detr/custom_audio_fusion.py``
``avigate``            AVIGATE (CVPR 2025), ``modules/module_cross.py``, gated fusion transformer
``gated_sprc``         gated fork of SPRC, text-guided image fusion
=====================  ============================================================================================

The other gating types of ``diagstrip-ssm`` have the names of ``qd_detr_tanh``, but for ``global`` a sigmoid attention
gate: recorded values are right, its stated range (-1, 1) is too wide.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from gatefuse_plugins.checkpoints.legacy.rules import GateRule
from gatefuse_plugins.errors import ConfigError, nearest
from gatefuse_plugins.patterns import compile_pattern

# The whole model sees the mask in every fork; where only the fusion is at hand, its blocks do.
_CLIPS = ("src_vid_mask", "video_mask")


@dataclass(frozen=True)
class Fork:
    """How a fork is recognised (each pattern of ``marks`` matches a module or parameter) and where its gates are."""

    marks: tuple[str, ...]
    rules: tuple[GateRule, ...]


def _pair(attention: tuple[float | None, float | None], ffn: tuple[float | None, float | None]) -> tuple[GateRule, ...]:
    """Rules for ``gating_function``, which returns attention and FFN gate."""
    pattern = "**.gating_function"
    return (
        GateRule(pattern, "attention", item=0, low=attention[0], high=attention[1], mask=_CLIPS),
        GateRule(pattern, "ffn", item=1, low=ffn[0], high=ffn[1], mask=_CLIPS),
    )


FORKS: dict[str, Fork] = {
    "qd_detr_sigmoid": Fork(
        ("**.gating_function.mha_scale", "**.gating_function.ffn_alpha"),
        (
            *_pair((0.0, None), (None, None)),
            GateRule(
                "**.gating_function.mlp_ffn_beta", "shift", squash="tanh", scale="ffn_beta", mask=_CLIPS, optional=True
            ),
        ),
    ),
    "qd_detr_ssm": Fork(("**.gating_function.ssm_gate.mlp_mha",), _pair((0.0, 1.0), (-1.0, 1.0))),
    "qd_detr_tanh": Fork(("**.gating_function.mlp_mha", "**.gating_function.mlp_ffn"), _pair((-1.0, 1.0), (-1.0, 1.0))),
    "qd_detr_temporal": Fork(
        ("**.gate_net.fc_base", "**.gate_net.w_q"),
        (GateRule("**.gate_net", "attention", low=0.0, high=1.0, mask=_CLIPS),),
    ),
    "qd_detr_text_audio": Fork(
        ("**.gate_self_attention", "**.gate_mlp"), (GateRule("**.gate_mlp", "attention", low=0.0, high=1.0),)
    ),
    "avigate": Fork(
        ("**.attn_gate.ag_fc", "**.ff_gate.fg_fc"),
        (
            GateRule("**.attn_gate", "attention", low=-1.0, high=1.0, squash="tanh"),
            GateRule("**.ff_gate", "ffn", low=-1.0, high=1.0, squash="tanh"),
        ),
    ),
    "gated_sprc": Fork(
        ("**.gate_net.0", "**.delta_net.0"),
        (
            GateRule("**.gate_net", "image", low=0.0, high=1.0, squash="sigmoid"),
            GateRule("**.delta_net", "delta", low=-1.0, high=1.0, squash="tanh"),
        ),
    ),
}


def recognise_fork(model: nn.Module) -> str:
    """Name of the first fork of ``FORKS`` all of whose marks are in ``model``.

    Raises:
        ConfigError: none; names the modules that look like gates.
    """
    names = [name for name, _ in model.named_modules()] + [name for name, _ in model.named_parameters()]
    for fork, description in FORKS.items():
        if all(any(compile_pattern(mark).fullmatch(name) for name in names) for mark in description.marks):
            return fork
    modules = {name for name, _ in model.named_modules() if name}
    likely = sorted(name for name in modules if "gat" in name.rpartition(".")[2].lower())[:5]
    likely = likely or nearest("fusion.gate", modules) or ["none"]
    raise ConfigError(
        f"{type(model).__name__} is none of the known forks ({', '.join(FORKS)}); give rules=[dict(pattern=...,"
        f" kind=...)] for its gates; modules that may hold them: {', '.join(likely)}"
    )
