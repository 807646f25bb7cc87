"""Which change of fusion keeps a model's outputs, which only nearly, and which makes no sense."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gatefuse_plugins.checkpoints.migration.behaviour import FUSION_KEYS, KEYS, PADDING, filled, options_of
from gatefuse_plugins.checkpoints.migration.families import Config, type_of
from gatefuse_plugins.checkpoints.migration.recognise import Identity

_UNTOLD = ("fusion_n_heads", "mha_gate_temp")


@dataclass(frozen=True)
class Finding:
    """A judgement on the change from the checkpoint's fusion to the config's.

    Attributes:
        level: ``note``; ``inexact``: outputs change, done only on request; ``refused``.
        message: what and why.
    """

    level: str
    message: str


def judge(found: Identity, config: Config, how: str) -> list[Finding]:
    """All findings on migrating ``found`` to the model ``config`` with the start ``how``; none where it is exact."""
    judges = {"qd_detr": _judge_moments, "blip2": _judge_composed, "avigate": _judge_retrieval}
    if found.family not in judges:
        findings = []
    else:
        config = filled(config)
        findings = [*judges[found.family](found, config), *_judge_options(found, config)]
    if how != "identity":
        findings.append(Finding("note", f"--init {how}: new parameters change the outputs; the difference is measured"))
    return findings


def _judge_moments(found: Identity, config: Config) -> list[Finding]:
    if found.origin == "qd_detr_exp_other":
        return [Finding("refused", f"the checkpoint's fusion, {found.fusion}, has no equal here")]
    old, new = found.fusion_config, config.get("fusion")
    kinds = (type_of(old), type_of(new))
    if kinds[0] == "Concat" and kinds[1] != "Concat":
        text = "concatenated audio shares one LayerNorm with the video, which cannot be taken apart exactly"
        return [Finding("inexact", f"{text}; video and audio columns go to projections of their own")]
    if kinds[1] == "Concat" and kinds[0] != "Concat":
        return [
            Finding("refused", "audio cannot be concatenated to a trained video projection: its LayerNorm spans both")
        ]
    if "" in kinds:
        return []
    if kinds[0] != kinds[1]:
        dropped = "--drop 'fusion.**' gives up the old one and starts the new one afresh"
        return [Finding("refused", f"{kinds[0]} cannot become {kinds[1]}: they compute different things; {dropped}")]
    return _judge_avigate_custom(found, old or {}, new or {}) if kinds[0] == "AvigateCustomFusion" else []


def _judge_avigate_custom(found: Identity, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Finding]:
    findings = []
    generation, gating = new.get("generation", "sigmoid"), new.get("gating_type", "global")
    film, old_film = bool(new.get("ffn_gate_film")), bool(old.get("ffn_gate_film"))
    if old["generation"] != generation:
        text = f"gates of the {old['generation']} generation stay so; as {generation} gates they give other values"
        findings.append(Finding("inexact", f"{text}. fusion.generation='{old['generation']}' is exact"))
    elif film != old_film:
        text = "FiLM multiplies by 1 + gate where the plain FFN branch multiplies by the gate"
        findings.append(Finding("inexact", f"{text}; fusion.ffn_gate_film={old_film} is exact"))
    told = not any("global or clipwise" in text for text in found.undecided)
    if told and old["gating_type"] != gating:
        reason = f"gates are {old['gating_type']}, the config's {gating}"
        if "elementwise" in (old["gating_type"], gating):
            reason += ": the heads have other widths (1 value against one a channel)"
        else:
            reason += (
                ": the heads are as wide, but read the mean of all clips in one case and single clips in the other"
            )
        findings.append(Finding("refused", f"{reason}; set fusion.gating_type='{old['gating_type']}'"))
    layers = new.get("fusion_layers", 4)
    if layers < old["fusion_layers"]:
        findings.append(Finding("refused", f"{old['fusion_layers']} fusion layers do not fit into {layers}"))
    if "fusion_n_heads" in old and new.get("fusion_n_heads", 4) != old["fusion_n_heads"]:
        heads = old["fusion_n_heads"]
        findings.append(Finding("inexact", f"the fusion has {heads} heads; set fusion.fusion_n_heads={heads}"))
    temperature = new.get("mha_gate_temp", 1.5)
    if generation == "sigmoid" and old.get("mha_gate_temp", temperature) != temperature:
        kept = old["mha_gate_temp"]
        findings.append(
            Finding("inexact", f"the attention gate's temperature is {kept}; set fusion.mha_gate_temp={kept}")
        )
    return findings


def _judge_composed(found: Identity, config: Config) -> list[Finding]:
    old, new = found.fusion_config, config.get("fusion")
    findings = []
    if found.origin == "gated_sprc":
        text = "the fork's inference path skips its gate; here it acts in training and inference"
        findings.append(Finding("note", f"{text}, as the fork's training does"))
    if old is None or not new:
        return findings
    if type_of(old) != type_of(new):
        return [*findings, Finding("refused", f"{type_of(old)} cannot become {type_of(new)}")]
    for key in ("strategy", "text_proj", "norm_affine"):
        default = "residual" if key == "strategy" else False
        if key in old and old[key] != new.get(key, default):
            advice = f"set model.fusion.{key}={old[key]}"
            findings.append(Finding("refused", f"the checkpoint's fusion has {key}={old[key]}; {advice}"))
    return findings


def _judge_retrieval(found: Identity, config: Config) -> list[Finding]:
    findings = []
    if found.extras.get("gating", True) != config.get("gating", True):
        text = "tanh gates cannot be 1, so gated and ungated branches cannot be equal"
        findings.append(Finding("inexact", f"{text}; model.gating={found.extras.get('gating', True)} is exact"))
    return findings


def _judge_options(found: Identity, config: Config) -> list[Finding]:
    """Options without parameters: changed ones are inexact, those that the file does not tell are assumed."""
    old, new = found.extras, options_of(config)
    before, after = found.fusion_config or {}, config.get("fusion") or {}
    pairs = {
        f"model.{key}": (old[key], new[key])
        for key in KEYS[found.family]
        if key in old and key in new and _acts(key, old, new)
    }
    if type_of(before) == type_of(after):
        skipped = PADDING if found.origin != "gatefuse" else ()
        keys = [key for key in FUSION_KEYS if key in before and key in after and key not in skipped]
        pairs |= {f"model.fusion.{key}": (before[key], after[key]) for key in keys}
    findings = [
        Finding("inexact", f"{key} is {was!r} in the checkpoint's model, {now!r} in the config; {key}={was} is exact")
        for key, (was, now) in pairs.items()
        if was != now
    ]
    assumed = [f"{key}={new[key]}" for key in KEYS[found.family] if key in new and key not in (*old, *PADDING)]
    if type_of(before) == type_of(after) == "AvigateCustomFusion":
        assumed += [f"fusion.{key}={after[key]}" for key in _UNTOLD if key not in before]
        if any("global or clipwise" in text for text in found.undecided):
            assumed.append(f"fusion.gating_type={after['gating_type']}")
    if assumed:
        findings.append(Finding("note", f"the file does not tell, so assumed as in the config: {', '.join(assumed)}"))
    return findings


def _acts(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the option ``key`` changes what the parts compute that the checkpoint has."""
    if key == "dual_path":
        return bool(old.get("query_gate", "off") != "off")
    if key == "text_alignment":
        return bool(old.get("query_gate", "off") != "off" or old.get("text_gates"))
    if key == "decay_ffn":
        return "off" not in (old.get("layer_decay"), new.get("layer_decay"))
    return True
