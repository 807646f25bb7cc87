"""How new parameters start: so that nothing changes at first, as published, or at random."""

from __future__ import annotations

import functools
from collections.abc import Collection

import torch
from torch import nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.fusions.avigate_custom_layer import AvigateCustomLayer
from gatefuse_plugins.fusions.text_guided_image import TextGuidedImageFusion
from gatefuse_plugins.gates.query_gate import QueryGate

STARTS = ("identity", "balanced", "random")
_STD = 0.02


def start(model: nn.Module, names: Collection[str], how: str, seed: int) -> dict[str, str]:
    """Give the parameters ``names`` of ``model`` their start.

    Args:
        model: freshly made, so that its parameters are at its authors' own start.
        names: the new parameters; the others are of no interest and may change too.
        how: ``identity``: outputs stay what they were and every new parameter has a gradient at the first step or the
            second; ``balanced``: as the fusion's authors start it; ``random``: weights normal with deviation 0.02,
            biases and lone numbers as the authors start them.
        seed: of ``random``.

    Returns:
        How each starts, in words.

    Raises:
        ConfigError: unknown ``how``, or a gate without ``outer_scale`` that ``identity`` cannot start.
    """
    if how not in STARTS:
        raise ConfigError(f"--init {how!r} is unknown{suggestion(how, STARTS)}")
    told = dict.fromkeys(names, "as published")
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        if how == "identity":
            told |= _start_identically(model, set(names))
        elif how == "random":
            generator = torch.Generator().manual_seed(seed)
            for name in sorted(names):
                if name in parameters and parameters[name].dim() > 1:
                    parameters[name].normal_(std=_STD, generator=generator)
                    told[name] = f"normal, deviation {_STD}"
    return told


def _start_identically(model: nn.Module, names: set[str]) -> dict[str, str]:
    chosen: set[int] = set()
    for prefix, module in model.named_modules():
        own = {name for name, _parameter in module.named_parameters(prefix=prefix)}
        if own & names:
            chosen |= {id(parameter) for parameter in start_as_identity(module, own <= names)}
    values = {name: value for name, value in model.named_parameters() if name in names and id(value) in chosen}
    return {name: f"{float(value.flatten()[0]):g}, so that nothing changes" for name, value in values.items()}


@functools.singledispatch
def start_as_identity(module: nn.Module, whole: bool) -> list[nn.Parameter]:
    """Set what makes ``module`` change nothing; returns these parameters.

    Args:
        module: of any kind; ``whole`` says that all its parameters are new, not only some.

    For most modules there is nothing to do: a residual gate is 1 + tanh(0), a temporal gate adds through a linear map
    that starts at 0, attention pools and text layers start at 0. Modules of other kinds register themselves here.
    """
    return []


def _zero(*modules: nn.Module | nn.Parameter | None) -> list[nn.Parameter]:
    zeroed = []
    for module in modules:
        found = (
            [module] if isinstance(module, nn.Parameter) else list(module.parameters()) if module is not None else []
        )
        for parameter in found:
            parameter.zero_()
        zeroed += found
    return zeroed


@start_as_identity.register
def _(module: AvigateCustomLayer, whole: bool) -> list[nn.Parameter]:
    """Both deltas through their norm (second generation) or last projection, then the two ungated branches.

    Of norm and projection only one may be 0: behind a projection of 0 the norm's scale would have no gradient. A layer
    that was trained and gets some parameters more is not closed.
    """
    if not whole:
        return []
    if isinstance(module.delta_norm_mha, nn.LayerNorm):
        deltas = _zero(module.delta_norm_mha, module.delta_norm_ffn, getattr(module.gating_function, "ffn_beta", None))
    else:
        deltas = _zero(module.out_proj, module.ffn1[2])
    return deltas + _zero(module.self_attention.out_proj, module.ffn2[2])


@start_as_identity.register
def _(module: TextGuidedImageFusion, whole: bool) -> list[nn.Parameter]:
    """``I + alpha g d`` through alpha; without alpha through the last layer of d."""
    return _zero(module.alpha if module.alpha is not None else module.delta_net[4])


@start_as_identity.register
def _(module: QueryGate, whole: bool) -> list[nn.Parameter]:
    """Through the outer scale: 0 closes a new gate, 1 leaves a trained one as it is."""
    if module.outer_scale is None:
        raise ConfigError(
            "--init identity: a query gate changes nothing only times an outer scale that starts at 0; set"
            " --cfg-options model.query_gate_scale=True, in training too, or choose --init balanced"
        )
    module.outer_scale.fill_(0.0 if whole else 1.0)
    return [module.outer_scale]
