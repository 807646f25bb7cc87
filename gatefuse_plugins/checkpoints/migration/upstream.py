"""Back to the layout of the upstream project, so that its own code loads the file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from gatefuse_plugins.checkpoints.migration.behaviour import filled, upstream_options
from gatefuse_plugins.checkpoints.migration.execute import Result
from gatefuse_plugins.checkpoints.migration.families import Config, family_of, type_of
from gatefuse_plugins.checkpoints.migration.folding import fold_scalar_gates
from gatefuse_plugins.checkpoints.migration.hosts import host_config
from gatefuse_plugins.checkpoints.migration.plan import make_plan
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.migration.upstream_names import encoders_to_clip4clip
from gatefuse_plugins.checkpoints.migration.verify import chosen_config, compare_values, new_values
from gatefuse_plugins.checkpoints.migration.writers import write_torch
from gatefuse_plugins.errors import CheckpointError


@dataclass(frozen=True)
class UpstreamForm:
    """The nearest model that upstream has.

    Attributes:
        project: whose code loads it.
        config: of our host with nothing that upstream lacks.
        lost: what upstream lacks, in words.
    """

    project: str
    config: Config
    lost: tuple[str, ...] = ()


def to_upstream(
    checkpoint: Source | str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    allow_inexact: bool = False,
    trust: bool = False,
    overwrite: bool = False,
) -> Result:
    """Write ``checkpoint`` in upstream's layout.

    Gates on residual branches that are one number a layer are multiplied into the branch's last projection. What else
    upstream lacks is left out only on request, and the error that this makes is measured.

    Args:
        checkpoint: of this project's model.
        out: any name, as upstream's code expects it.
        config: its model's config; ``None`` takes the one that the file itself holds.
        allow_inexact: write also where outputs change.

    Raises:
        CheckpointError: no config is known, the checkpoint does not fit it, ``out`` cannot be written, or upstream has
            no such model and ``allow_inexact`` was not given; the message holds the measured error.
    """
    source = open_source(checkpoint, trust)
    plan = make_plan(source, chosen_config(source, config))
    new = [row.new for row in plan.named("new")]
    if plan.faults or new:
        listed = "\n  ".join(plan.faults[:10] or [f"{name}: missing" for name in new[:10]])
        raise CheckpointError(f"{source.path}: does not fit the config, so it is not clear what it is:\n  {listed}")
    path = _target(out, source.path, overwrite)
    form = upstream_form(host_config(plan.config))
    values = new_values(plan)
    folded, gates = fold_scalar_gates(values, plan.family.skeleton(plan.config))
    held = _held(form.config)
    frozen = plan.family.frozen
    kept = {name: tensor for name, tensor in folded.items() if name in held or name.split(".", 1)[0] in frozen}
    lost = [*form.lost, *(["gates that are not one number a layer"] if gates.left else [])]
    comparison = compare_values(plan.config, values, form.config, kept)
    if not comparison.equal and not allow_inexact:
        listed = "\n  ".join([*lost, *comparison.lines()])
        raise CheckpointError(f"{source.path}: {form.project} has no such model; the nearest one differs:\n  {listed}")
    write_torch(path, _layout(form.project, kept, form.config, source.epoch or 0))
    notes = [f"layout of {form.project}", *(f"left out: {what}" for what in lost)]
    if gates.folded:
        notes.append(f"{len(gates.folded)} gates of one number multiplied into the weights")
    return Result(path, {"written": len(kept)}, comparison, notes=notes)


def upstream_form(config: Config) -> UpstreamForm:
    """The nearest model of upstream; ``config`` is that of a bare host."""
    fusion, kind = config.get("fusion"), type_of(config.get("fusion"))
    if type_of(config) == "QDDETR":
        if fusion and fusion.get("no_audio") == "learned":
            form = upstream_form({**config, "fusion": {**fusion, "no_audio": "error"}})
            return replace(form, lost=(*form.lost, "the learned state of samples without audio"))
        if kind == "AvigateCustomFusion":
            return UpstreamForm("QD-DETR-exp", config)
        if kind in ("", "Concat"):
            return UpstreamForm("QD-DETR", config)
        video_only = {**config, "fusion": None, "audio_dim": None}
        return UpstreamForm("QD-DETR", video_only, (f"fusion {kind}", "the audio"))
    if type_of(config) == "Blip2ComposedRetrieval":
        if not fusion:
            return UpstreamForm("SPRC", {**config, "weight_patch": 0.0})
        same = kind == "TextGuidedImageFusion" and fusion.get("text_proj") and fusion.get("norm_affine")
        if same and fusion.get("strategy", "residual") == "residual":
            return UpstreamForm("gated SPRC", {**config, "weight_patch": 0.0})
        return UpstreamForm("SPRC", {**config, "fusion": None, "weight_patch": 0.0}, (f"fusion {kind}",))
    ours = {"query_gate": "off", "text_gates": False, "layer_decay": "off", "gate_pooling": "mean"}
    full = filled(config)
    fixed = upstream_options("avigate", {"width": full["width"]})
    lost = tuple(f"{key}={full[key]}" for key, value in (ours | fixed).items() if full[key] != value)
    return UpstreamForm("AVIGATE", {**config, **ours, **fixed, "query_gate_scale": False} if lost else config, lost)


def _target(out: str | os.PathLike[str], source: Path, overwrite: bool) -> Path:
    path = Path(out)
    if path.exists() and source.exists() and path.samefile(source):
        raise CheckpointError(f"--out {path}: is the source itself; a migration never overwrites it")
    if path.exists() and not overwrite:
        raise CheckpointError(f"--out {path}: exists already; --overwrite replaces it")
    return path


def _held(config: Config) -> set[str]:
    """Parameters of upstream's model, frozen encoders left out."""
    names = family_of(config).skeleton(config).state_dict()
    return {name for name in names if not name.startswith("fusion.no_audio.")}


def _layout(project: str, values: Mapping[str, Tensor], config: Config, epoch: int) -> dict[str, Any]:
    if project in ("QD-DETR", "QD-DETR-exp"):
        config = filled(config)  # what is left to a default must be told too
        options = {key: value for key, value in config.items() if isinstance(value, int | float | str | bool)}
        renamed = {"video_dim": "v_feat_dim", "text_dim": "t_feat_dim", "audio_dim": "a_feat_dim"}
        told = {renamed.get(key, key): value for key, value in options.items() if key != "type"}
        fusion = config.get("fusion") or {}
        told = {key: value for key, value in fusion.items() if key != "type"} | told
        return {"model": dict(values), "epoch": epoch, "opt": argparse.Namespace(**told)}
    if project == "AVIGATE":
        return encoders_to_clip4clip(values)
    renamed = {
        (f"gated_fusion_module.{name.removeprefix('fusion.')}" if name.startswith("fusion.") else name): tensor
        for name, tensor in values.items()
    }
    tied = {
        "Qformer.cls.predictions.decoder.weight": "Qformer.bert.embeddings.word_embeddings.weight",
        "Qformer.cls.predictions.decoder.bias": "Qformer.cls.predictions.bias",
    }
    renamed |= {copy: renamed[first] for copy, first in tied.items() if first in renamed}
    return {"epoch": epoch, "Blip2QformerCirAlignPrompt": renamed}
