"""From command line to Runner: what ``tools/train.py`` and ``tools/test.py`` share."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import init_dist, is_main_process
from mmengine.logging import print_log
from torch import nn

import gatefuse_plugins.plugins  # noqa: F401  registers every component before a config is judged
from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.config import load_config, validate_config
from gatefuse_plugins.engine.file_backend import check_writable
from gatefuse_plugins.engine.locate_data import locate_data
from gatefuse_plugins.engine.prepare import prepare
from gatefuse_plugins.engine.prepare_features import check_vision
from gatefuse_plugins.engine.resume import allow_checkpoint_globals, find_latest, load_resumable
from gatefuse_plugins.engine.runner import AnnouncingRunner
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.files import write_json

# What lavis's dependencies print while they are imported concerns neither the user nor this project.
for _message in ("`torch.jit.script` is deprecated", "`torch.cuda.amp.custom_", "pkg_resources is deprecated"):
    warnings.filterwarnings("ignore", message=_message)

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
    cfg = _load(args)
    if args.amp:
        _use_mixed_precision(cfg)
    resume_from = _checkpoint_to_resume(args.resume, Path(cfg.work_dir))
    cfg.resume, cfg.load_from = resume_from is not None, str(resume_from) if resume_from else None
    state = _read(resume_from).meta.get("vision_state") if resume_from else None
    prepare(cfg, state)
    cfg.pop("prepared_vision", None)
    pretrained = cfg.pop("pretrained", None)
    runner = AnnouncingRunner.from_cfg(cfg)
    if pretrained and not cfg.resume:
        _load_pretrained(runner.model, pretrained)
    allow_checkpoint_globals()  # only now: each safe read of a checkpoint ends by forbidding these again
    runner.train()
    return Path(cfg.work_dir)


def launch_test(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate ``args.checkpoint`` and write the metrics file; returns the metrics.

    Raises:
        CheckpointError: unreadable, of another model or fusion, or trained on another vision encoder.
    """
    cfg = _load(args)
    checkpoint = _read(args.checkpoint, args.trust)
    identity = prepare(cfg, checkpoint.meta.get("vision_state"))
    check_vision(checkpoint.meta, cfg)
    for name in ("prepared_vision", "pretrained"):
        cfg.pop(name, None)
    cfg.load_from, cfg.resume = None, False
    # hooks that write training files have nothing to do here
    cfg.custom_hooks = []
    runner = AnnouncingRunner.from_cfg(cfg)
    report = load_into(_bare(runner.model), checkpoint, **_leftovers(checkpoint, _bare(runner.model)))
    print_log(f"{args.checkpoint} ({checkpoint.origin}): {report}", "current")
    metrics = runner.test()
    if is_main_process():
        out = Path(args.out or Path(cfg.work_dir) / "test_metrics.json")
        trained_on = checkpoint.meta.get("dataset_identity")
        write_json(
            out,
            {
                "metrics": metrics,
                "dataset": identity,
                "trained_on": trained_on,
                "checkpoint": str(args.checkpoint),
                "config": str(cfg.filename),
            },
        )
        print_log(f"metrics on {identity['name']} written to {out}", "current")
    return metrics


def _load(args: argparse.Namespace) -> Config:
    cfg = load_config(args.config, args.cfg_options)
    if cfg.get("profile") == "auto":
        # sizes that fit the real data set do not fit the embedded one, and which of them is there shows only now
        profile = "embedded" if locate_data(cfg).embedded else "real"
        cfg = load_config(args.config, [*(args.cfg_options or []), f"profile={profile}"])
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


def _read(path: str | Path, trust: bool = False) -> Checkpoint:
    """Any checkpoint; those to resume from also hold schedules, which only their own reader lets through."""
    try:
        content = load_resumable(path)
    except CheckpointError:
        return read_checkpoint(path, trust)  # weights of another origin, or a message about what is wrong
    return Checkpoint(content["state_dict"], "mmengine", content["meta"], Path(path))


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
    checkpoint, bare = read_checkpoint(path), _bare(model)
    report = load_into(bare, checkpoint, **_leftovers(checkpoint, bare, new_parts=("prompt_tokens", "fusion.**")))
    print_log(f"pretrained {path}: {report}", "current")


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


def _bare(model: nn.Module) -> nn.Module:
    return model.module if hasattr(model, "module") else model
