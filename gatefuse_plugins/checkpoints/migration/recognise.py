"""What a checkpoint is: told by names and shapes of its parameters, never by its file name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from gatefuse_plugins.checkpoints.migration.behaviour import KEYS, PADDING, filled, options_of, upstream_options, usable
from gatefuse_plugins.checkpoints.migration.hosts import Rules, rules_of, type_of
from gatefuse_plugins.checkpoints.migration.source import Source
from gatefuse_plugins.checkpoints.migration.structure import avigate, blip2, injection, qd_detr
from gatefuse_plugins.checkpoints.migration.structure.shapes import Shapes


@dataclass(frozen=True)
class Identity:
    """What a checkpoint holds.

    Attributes:
        origin: key of :data:`~gatefuse_plugins.checkpoints.migration.tables.TABLES`.
        family: ``qd_detr``, ``blip2``, ``avigate`` or ``unknown``.
        description: in words.
        sizes: what the shapes tell, under the names of the host's config.
        fusion: the fusion in words; ``"none"`` where there is none.
        fusion_config: config of an equal fusion of ours; ``None`` without one.
        extras: further options of the host that the parameters tell (kinds of gates), that the file's own config or
            options state, or that upstream's code fixes.
        injection: rules of the gates that were put into the host; ``None`` where nothing tells them.
        undecided: what shapes cannot tell and the saved options do not say.
    """

    origin: str
    family: str
    description: str
    sizes: dict[str, int] = field(default_factory=dict)
    fusion: str = "none"
    fusion_config: dict[str, Any] | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    injection: Rules | None = ()
    undecided: tuple[str, ...] = ()


def recognise(source: Source) -> Identity:
    """Identify ``source``; never fails, an unknown origin is ``unknown``."""
    shapes = Shapes({name: tuple(tensor.shape) for name, tensor in source.state.items()})
    own = bool(source.provenance) or source.checkpoint.origin == "mmengine"
    options, odd = usable({**source.options, **(_flat_options(source.model) if source.model else {})})
    gates = injection.recognise(shapes, rules_of(source.model))
    own = own or bool(gates)
    for family, structure in (("qd_detr", qd_detr), ("blip2", blip2), ("avigate", avigate)):
        found = structure.recognise(shapes, options)
        if found is not None:
            if gates.get("injection", ()) is None:
                found["undecided"] += ("what was injected into the layers (the config's rules are taken)",)
            found |= {**gates, **({"origin": "gatefuse"} if own else {})}
            return _with_behaviour(Identity(family=family, **found), source.model, odd)
    return Identity("gatefuse" if own else "unknown", "unknown", "parameters of no model that is known here")


def _with_behaviour(found: Identity, model: Mapping[str, Any], odd: list[str]) -> Identity:
    """``found`` with the options that have no parameters: from the file's config, or fixed by upstream's code."""
    told, _odd = usable(options_of(model) if model else upstream_options(found.origin, found.sizes))
    extras = {**told, **found.extras}
    untold = [key for key in KEYS[found.family] if key not in (*extras, *PADDING)]
    lines = [f"{', '.join(untold)} (shapes do not tell; the config's are taken)"] if untold else []
    fusion, saved = found.fusion_config, filled(model).get("fusion") if model else None
    if fusion and isinstance(saved, Mapping) and type_of(fusion) in (type_of(saved), "unknown"):
        known = {key: value for key, value in fusion.items() if key != "type"}
        fusion = {**usable(saved)[0], **known}
    return replace(found, extras=extras, fusion_config=fusion, undecided=(*found.undecided, *lines, *odd))


def _flat_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """A model config as options, defaults too: those of the fusion beside the model's, as upstream's flags are."""
    full = filled(model)
    fusion = full.get("fusion")
    return {**full, **({k: v for k, v in fusion.items() if k != "type"} if isinstance(fusion, Mapping) else {})}


def refine(found: Identity, config: Mapping[str, Any]) -> Identity:
    """``found`` with what only the new config can tell: that a wide video projection holds the audio too."""
    video, audio = config.get("video_dim"), config.get("audio_dim")
    if (
        found.family != "qd_detr"
        or found.fusion_config
        or not audio
        or not any("are audio" in t for t in found.undecided)
    ):
        return found
    if not isinstance(video, int) or found.sizes["video_dim"] != video + audio:
        return found
    return replace(
        found,
        sizes=found.sizes | {"video_dim": video, "audio_dim": audio},
        fusion="concatenated audio",
        fusion_config={"type": "Concat"},
        undecided=tuple(text for text in found.undecided if "are audio" not in text),
    )
