"""What to do with a checkpoint, in words, with the exact next command."""

from __future__ import annotations

import os
import shlex

from gatefuse_plugins.checkpoints.migration.families import type_of
from gatefuse_plugins.checkpoints.migration.inspection import inspect
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.checkpoints.migration.source import open_source

_TOOL = "python tools/migrate.py"


def guide(path: str | os.PathLike[str], trust: bool = False) -> list[str]:
    """Explanation of the checkpoint at ``path``; the last line is the next command.

    Raises:
        CheckpointError: it cannot be read, or not safely.
    """
    source = open_source(path, trust)
    described = inspect(source)
    found = described.identity
    lines = [f"{path} is {found.description} ({found.origin}); fusion: {found.fusion}."]
    if described.non_finite:
        lines.append(f"{len(described.non_finite)} tensors hold NaN or infinity; they migrate as they are.")
    quoted = shlex.quote(str(path))
    if source.provenance:
        lines.append("It was migrated already and can be used in a config: load_from=FILE.")
        name, *options = shlex.split(source.provenance.get("config") or "CONFIG")
        chosen = shlex.join([*options, f"load_from={path}"])
        return [*lines, f"python tools/train.py {shlex.quote(name)} --cfg-options {chosen}"]
    if found.family == "unknown":
        lines.append("No table knows its parameters, so only a config whose model has the same names fits.")
        return [*lines, f"{_TOOL} inspect {quoted} --json"]
    if found.origin == "qd_detr_exp_other":
        lines.append("This fusion has no equal here; leaving it out keeps the video-only part.")
    config, options, why = _suggest(found)
    lines.append(why)
    for fact in found.undecided:
        lines.append(f"The shapes leave open: {fact}.")
    if source.training:
        lines.append(f"It holds {', '.join(source.training)}: with --out NAME.pth training can go on where it stopped.")
    chosen = f" --cfg-options {' '.join(options)}" if options else ""
    lines.append("The plan writes nothing; `run` with the same arguments and --out FILE migrates, and verifies first.")
    return [*lines, f"{_TOOL} plan {quoted} --config {config}{chosen}"]


def _suggest(found: Identity) -> tuple[str, list[str], str]:
    """Config, options and the reason."""
    if found.family == "qd_detr":
        return _suggest_moments(found)
    if found.family == "blip2":
        backbone = {1408: "pretrain", 1024: "pretrain_vitL"}.get(found.sizes["encoder_width"], "tiny")
        options = [f"backbone={backbone}"]
        if type_of(found.fusion_config) == "TextGuidedImageFusion" and found.fusion_config:
            told = ("strategy", "text_proj", "norm_affine", "pool")
            options += [f"fusion.{key}={found.fusion_config[key]}" for key in told if key in found.fusion_config]
            return "configs/cirr_gated.py", options, "Its fusion is kept as it is."
        return "configs/cirr_gated.py", options, "A fusion is added; outputs stay the same until its gates learn."
    why = "Gates on the query need model.query_gate_scale=True to start without a change."
    return "configs/msrvtt_avigate.py", [], why


def _suggest_moments(found: Identity) -> tuple[str, list[str], str]:
    fusion = found.fusion_config or {}
    options = [f"model.nheads={found.extras['nheads']}"] if "nheads" in found.extras else []
    if type_of(fusion) == "AvigateCustomFusion":
        told = ("generation", "gating_type", "fusion_layers", "fusion_n_heads", "ffn_gate_film", "mha_gate_temp")
        options += [f"fusion.{key}={fusion[key]}" for key in told if key in fusion]
        return "configs/qvhighlights_avigate.py", options, "Its gates are kept in their own generation and granularity."
    if type_of(fusion) == "Concat":
        why = "Its concatenated audio is kept; gated audio instead would change the outputs (--allow-inexact)."
        return "configs/qvhighlights_concat.py", options, why
    if type_of(fusion) == "QueryAwareTemporalGate":
        return "configs/qvhighlights_temporal_gate.py", options, "Its gate is kept."
    why = "Gated audio is added; outputs stay the same until the gates learn."
    return "configs/qvhighlights_avigate.py", options, why
