"""What to do with a checkpoint, in words, with the exact next command."""

from __future__ import annotations

import os
import shlex
from typing import Any

from gatefuse_plugins.checkpoints.migration.behaviour import KEYS
from gatefuse_plugins.checkpoints.migration.families import type_of
from gatefuse_plugins.checkpoints.migration.inspection import inspect, printable
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.errors import CheckpointError

_TOOL = ("python", "tools/migrate.py")
_TRAIN = ("python", "tools/train.py")
_RETRIEVAL = ("gating", "query_gate", "query_gate_scale", "text_gates", "gate_pooling", *KEYS["avigate"])


def guide(path: str | os.PathLike[str], trust: bool = False) -> list[str]:
    """Explanation of the checkpoint at ``path``; the last line is the next command, quoted for a shell.

    Raises:
        CheckpointError: it cannot be read, or not safely.
    """
    source = open_source(path, trust)
    return [*(printable(line) for line in _explained(source)), shlex.join(_next(source))]


def _explained(source: Source) -> list[str]:
    described = inspect(source)
    found = described.identity
    lines = [f"{source.path} is {found.description} ({found.origin}); fusion: {found.fusion}."]
    if described.non_finite:
        lines.append(f"{len(described.non_finite)} tensors hold NaN or infinity; they migrate as they are.")
    if source.provenance.get("kind") == "gates":
        return [*lines, "It holds gates alone. They go into a checkpoint of the same host, here CHECKPOINT."]
    if source.provenance:
        return [*lines, "It was migrated already and can be used in a config: load_from=FILE."]
    if found.family == "unknown":
        return [*lines, "No table knows its parameters, so only a config whose model has the same names fits."]
    if found.origin == "qd_detr_exp_other":
        lines.append("This fusion has no equal here; leaving it out keeps the video-only part.")
    lines.append(_suggest(found)[2])
    lines += [f"The shapes leave open: {fact}." for fact in found.undecided]
    if source.training:
        held = f"It holds {', '.join(source.training)}"
        resumes = ": with --out NAME.pth training can go on where it stopped" if "optimizer" in source.training else ""
        lines.append(f"{held}{resumes}.")
    lines.append("The plan writes nothing; `run` with the same arguments and --out FILE migrates, and verifies first.")
    return lines


def _next(source: Source) -> list[str]:
    found, path = inspect(source).identity, str(source.path)
    if source.provenance.get("kind") == "gates":
        return [*_TOOL, "import-gates", path, "CHECKPOINT", "--out", "NAME.safetensors"]
    if source.provenance:
        name, options = _recorded(source) or _suggest(found)[:2]
        return [*_TRAIN, name, "--cfg-options", *options, f"load_from={path}"]
    if found.family == "unknown":
        return [*_TOOL, "inspect", path, "--json"]
    config, options, _why = _suggest(found)
    return [*_TOOL, "plan", path, "--config", config, *(["--cfg-options", *options] if options else [])]


def _recorded(source: Source) -> tuple[str, list[str]] | None:
    """Config and options that a migration recorded; ``None`` where it was given none."""
    text = source.provenance.get("config") or ""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise CheckpointError(f"{source.path}: its record names the config {text[:80]!r}: {error}") from error
    if not words:
        return None
    name, *options = words
    if name.startswith("-") or not all("=" in word and not word.startswith("-") for word in options):
        raise CheckpointError(f"{source.path}: its record names the config {text[:80]!r}; expected FILE KEY=VALUE ...")
    return name, options


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
    if found.origin == "gatefuse":
        told_here = [f"model.{key}={found.extras[key]}" for key in _RETRIEVAL if key in found.extras]
        return "configs/msrvtt_avigate.py", told_here, "Its gates are kept as they are."
    why = "Gates on the query need model.query_gate_scale=True to start without a change."
    return "configs/msrvtt_avigate.py", [], why


def _suggest_moments(found: Identity) -> tuple[str, list[str], str]:
    fusion: dict[str, Any] = found.fusion_config or {}
    options = [f"model.{key}={found.extras[key]}" for key in KEYS["qd_detr"] if found.extras.get(key)]
    if type_of(fusion) == "AvigateCustomFusion":
        told = (
            "generation",
            "gating_type",
            "fusion_layers",
            "fusion_n_heads",
            "ffn_gate_film",
            "mha_gate_temp",
            "pool",
        )
        options += [f"fusion.{key}={fusion[key]}" for key in told if key in fusion]
        return "configs/qvhighlights_avigate.py", options, "Its gates are kept in their own generation and granularity."
    if type_of(fusion) == "Concat":
        why = "Its concatenated audio is kept; gated audio instead would change the outputs (--allow-inexact)."
        return "configs/qvhighlights_concat.py", options, why
    if type_of(fusion) == "QueryAwareTemporalGate":
        return "configs/qvhighlights_temporal_gate.py", options, "Its gate is kept."
    why = "Gated audio is added; outputs stay the same until the gates learn."
    return "configs/qvhighlights_avigate.py", options, why
