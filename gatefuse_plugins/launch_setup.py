"""What training and testing need before a Runner: the judged config, ranks and checkpoints."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import init_dist
from mmengine.logging import print_log
from torch import nn

import gatefuse_plugins.plugins  # noqa: F401  registers every component before a config is judged
from gatefuse_plugins.checkpoints.avigate import with_our_names
from gatefuse_plugins.checkpoints.loading import LoadReport, load_into
from gatefuse_plugins.checkpoints.migration import changed_options
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.config import load_config, validate_config
from gatefuse_plugins.data.cache_builder import module_digest
from gatefuse_plugins.engine.file_backend import check_writable
from gatefuse_plugins.engine.locate_data import locate_data
from gatefuse_plugins.engine.prepare import TESTING, prepare
from gatefuse_plugins.engine.prepare_clips import check_clip_features
from gatefuse_plugins.engine.prepare_features import check_vision
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.distributed import unwrapped

# What lavis's dependencies print while they are imported concerns neither the user nor this project.
for _message in ("`torch.jit.script` is deprecated", "`torch.cuda.amp.custom_", "pkg_resources is deprecated"):
    warnings.filterwarnings("ignore", message=_message)


def load_run_config(args: argparse.Namespace) -> Config:
    """The resolved config of ``args``, without a fault, its work dir writable and its ranks joined.

    ``args.split``, where there is one, is the split of the data set to test on.

    Raises:
        ConfigError: lists every fault of config and overrides; or the launcher cannot work here.
        DataError: ``profile`` is ``auto`` and the data is there in part.
        CheckpointError: the work dir cannot be written.
    """
    options = list(args.cfg_options or [])
    if split := getattr(args, "split", None):
        options.append(f"test_dataloader.dataset.split={split}")
    cfg = load_config(args.config, options)
    if cfg.get("profile") == "auto":
        # sizes that fit the real data set do not fit the embedded one, and which of them is there shows only now
        profile = "embedded" if locate_data(cfg).embedded else "real"
        cfg = load_config(args.config, [*options, f"profile={profile}"])
    validate_config(cfg)
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or str(Path("work_dirs") / Path(args.config).stem)
    check_writable(cfg.work_dir)  # the Runner opens its log there at once
    cfg.launcher = args.launcher
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.launcher != "none":
        _join_ranks(cfg, args.launcher)
        cfg.model_wrapper_cfg = {"type": "MMDistributedDataParallel", "find_unused_parameters": True}
        if not torch.cuda.is_available():
            cfg.model_wrapper_cfg["device_ids"] = None  # mmengine would give the local rank, which names a GPU
    return cfg


def _join_ranks(cfg: Config, launcher: str) -> None:
    if torch.cuda.is_available():
        cfg.env_cfg.dist_cfg.backend = "nccl"
        init_dist(launcher, **cfg.env_cfg.dist_cfg)
    elif launcher == "pytorch":
        cfg.env_cfg.dist_cfg.backend = "gloo"
        torch.distributed.init_process_group("gloo")  # mmengine's init_dist would ask for a CUDA device
    else:
        raise ConfigError(f"--launcher {launcher}: needs CUDA, and none is available here; use torchrun with pytorch")


def refuse_flags(args: argparse.Namespace, flags: Iterable[str], advice: str) -> None:
    """ConfigError with ``advice`` where one of ``flags``, which would have no effect, is given."""
    for flag in flags:
        given = getattr(args, flag.removeprefix("--").replace("-", "_"), None)
        if given is not None and given is not False:
            shown = flag if given is True else f"{flag} {' '.join(given) if isinstance(given, list) else given}"
            raise ConfigError(f"{shown}: has no effect here; {advice}")


def read_and_prepare(cfg: Config, args: argparse.Namespace) -> tuple[Checkpoint, dict[str, Any]]:
    """The checkpoint ``args.checkpoint``, and the identity of the data set that ``cfg`` tests on, made ready.

    Raises:
        CheckpointError: unreadable, or trained on the features of other frozen encoders.
        ConfigError, DataError: as :func:`~gatefuse_plugins.engine.prepare.prepare`.
    """
    checkpoint = read_checkpoint(args.checkpoint, args.trust)
    identity = prepare(cfg, checkpoint.meta.get("vision_state"), TESTING)
    check_vision(checkpoint.meta, cfg)
    check_clip_features(checkpoint.meta, identity)
    return checkpoint, identity


def load_for_evaluation(model: nn.Module, checkpoint: Checkpoint) -> LoadReport:
    """As :func:`load_weights`, but a model with a frozen vision encoder takes a checkpoint of cached tokens too.

    The encoder then gets the weights that the checkpoint stamps, else keeps those that the config gave it; they must be
    those that the tokens came from.

    Raises:
        CheckpointError: the weights do not fit, or the tokens came from another vision encoder.
    """
    report = load_weights(model, checkpoint, new_parts=("visual_encoder.**",))
    if any(name.startswith("visual_encoder.") for name in report.missing):
        encoder = unwrapped(model).visual_encoder
        if state := checkpoint.meta.get("vision_state"):
            encoder.load_state_dict(state)
        check_vision(checkpoint.meta, ConfigDict(prepared_vision={"digest": module_digest(encoder)}))
    return report


def warn_of_changes(checkpoint: Checkpoint, model: ConfigDict) -> None:
    """Warn of options without parameters in which the config ``model`` differs from the checkpoint's own."""
    if changed := changed_options(checkpoint, model.to_dict()):
        told = "; ".join(changed)
        print_log(f"{checkpoint.path}: was trained with other options: {told}", "current", logging.WARNING)


def load_weights(model: nn.Module, checkpoint: Checkpoint, new_parts: tuple[str, ...] = ()) -> LoadReport:
    """Load a checkpoint of any origin into ``model`` (wrapped or not); every key must find its place.

    Args:
        new_parts: patterns over the model's names that may keep the values they have, where the checkpoint knows none.

    Raises:
        CheckpointError: lists all missing, unexpected and shape-conflicting keys at once.
    """
    target = unwrapped(model)
    renamed, dropped = with_our_names(checkpoint, target)
    report = load_into(target, renamed, **_leftovers(renamed, target, new_parts))
    report.dropped |= dropped
    return report


def _leftovers(checkpoint: Checkpoint, model: nn.Module, new_parts: tuple[str, ...] = ()) -> dict[str, Any]:
    """Patterns that apply to these two; a pattern without match would be an error."""
    held = model.state_dict()
    absent = [
        pattern
        for pattern in new_parts
        if any(name.split(".")[0] == pattern.split(".")[0] for name in held)
        and not any(name.split(".")[0] == pattern.split(".")[0] for name in checkpoint.state_dict)
    ]
    return {"allow_missing": absent} if absent else {}
