"""From command line to training: what ``tools/train.py`` runs, and the arguments that testing shares."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from torch import nn

from gatefuse_plugins.checkpoints.migration import load_from_any
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.engine.prepare import prepare
from gatefuse_plugins.engine.resume import allow_checkpoint_globals, find_latest
from gatefuse_plugins.engine.runner import AnnouncingRunner
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.launch_setup import load_run_config, load_weights

NEW_PARTS = ("prompt_tokens", "fusion.**", "gatefuse_injection.**")
"""What a model may have beyond the BLIP-2 weights that it starts from."""

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments that training and testing share."""
    parser.add_argument("--work-dir", help="folder for logs, checkpoints and figures; work_dirs/CONFIG by default")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="none", help="how the ranks were started")
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        metavar="KEY=VALUE",
        help="overrides, such as data_root=/data/cirr backbone=pretrain",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)


def launch_training(args: argparse.Namespace) -> Path:
    """Train; returns the work dir.

    Raises:
        GatefuseError: anything wrong with config, data, weights or work dir, before the first step where possible.
    """
    cfg = load_run_config(args)
    if args.amp:
        _use_mixed_precision(cfg)
    start_from = cfg.get("load_from")
    if start_from and not Path(start_from).is_file():
        raise CheckpointError(f"load_from={str(start_from)!r}: no such file; expected a checkpoint of any known origin")
    resume_from = _checkpoint_to_resume(args.resume, Path(cfg.work_dir))
    cfg.resume, cfg.load_from = resume_from is not None, str(resume_from) if resume_from else None
    state = read_checkpoint(resume_from).meta.get("vision_state") if resume_from else None
    prepare(cfg, state)
    cfg.pop("prepared_vision", None)
    pretrained = cfg.pop("pretrained", None)
    model_config = cfg.model.to_dict()
    runner = AnnouncingRunner.from_cfg(cfg)
    if start_from and not cfg.resume:
        print_log(str(load_from_any(unwrapped(runner.model), start_from, model_config)), "current")
    elif pretrained and not cfg.resume:
        _load_pretrained(runner.model, pretrained)
    allow_checkpoint_globals()  # only now: each safe read of a checkpoint ends by forbidding these again
    runner.train()
    return Path(cfg.work_dir)


def _use_mixed_precision(cfg: Config) -> None:
    if not torch.cuda.is_available():
        raise ConfigError("--amp: mixed precision needs CUDA and none is available here; leave --amp out")
    cfg.optim_wrapper.type = "AmpOptimWrapper"
    cfg.optim_wrapper.loss_scale = "dynamic"


def _checkpoint_to_resume(resume: str | None, work_dir: Path) -> Path | None:
    if resume is None:
        return None
    if resume != "auto":
        if not Path(resume).is_file():
            raise CheckpointError(f"--resume {resume}: no such file")
        return Path(resume)
    found = find_latest(work_dir)
    if found is None:
        print_log(f"--resume: no checkpoint in {work_dir}, so training starts at step 0", "current")
    return found


def _load_pretrained(model: nn.Module, source: str) -> None:
    """BLIP-2 weights as a start: what gated fusion and SPRC add keeps its initialisation."""
    from gatefuse_plugins.hosts.blip2_cir.weights import locate_file

    path = locate_file(None if "://" in source else source, source, "pretrained")
    report = load_weights(model, read_checkpoint(path), new_parts=NEW_PARTS)
    print_log(f"pretrained {path}: {report}", "current")
