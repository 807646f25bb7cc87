"""Where ``tools/analyze_gates.py`` gets gates from: a model and its test set, logs, a fork, a model of its own."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import nn

from gatefuse_plugins.analysis.gates.data import GateData, SampleId, select_gates
from gatefuse_plugins.analysis.gates.demo import CONFIG, SAMPLES, demo_options
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.analysis.gates.sources_log import LogGateData
from gatefuse_plugins.analysis.gates.sources_model import record_loader, record_runner
from gatefuse_plugins.checkpoints.legacy import adapt_legacy_model
from gatefuse_plugins.engine.resume import find_latest
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.launch import launch_training
from gatefuse_plugins.launch_setup import load_run_config, read_and_prepare
from gatefuse_plugins.launch_test import build_runner
from gatefuse_plugins.user_code import call_function


@dataclass(frozen=True)
class Source:
    """
    Attributes:
        data: gates to analyse.
        runner: the model behind them, with its test set; ``None`` for a log.
        rows: row of the test set of each sample, by id.
        warnings: what a reader has to know.
        name, others: of several logs, the name of the first, and the others by name.
    """

    data: GateData
    runner: Runner | None = None
    rows: Mapping[SampleId, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    name: str = ""
    others: Mapping[str, GateData] = field(default_factory=dict)


def find_source(args: argparse.Namespace, folder: Path) -> Source:
    """What ``args`` name; ``folder`` is for files that live as long as the source.

    Raises:
        ConfigError, CheckpointError, DataError, GatefuseError: what cannot be read or recorded.
    """
    if args.log:
        return _logs(args)
    return _legacy(args, folder) if args.legacy_model else _model(args, folder)


def train_demo(args: argparse.Namespace, folder: Path) -> argparse.Namespace:
    """Train the demonstration's model; the arguments that analyse it, and show everything there is."""
    if not CONFIG.is_file():
        raise ConfigError(f"--demo trains {CONFIG.name}, and {CONFIG.parent} lacks it; run it from a whole checkout")
    run, options = folder / "run", demo_options(folder)
    common = {"config": str(CONFIG), "cfg_options": options, "launcher": "none", "local_rank": 0}
    launch_training(argparse.Namespace(**common, work_dir=str(run), amp=False, resume=None))
    chosen = {"checkpoint": str(find_latest(run)), "split": "val", "training_log": str(run / "training_log.csv")}
    shown = SAMPLES if args.max_samples is None else args.max_samples
    more = {"interventions": args.interventions or [], "max_samples": shown}
    return argparse.Namespace(**{**vars(args), **common, **chosen, **more})


def _logs(args: argparse.Namespace) -> Source:
    """The first log; others beside it as runs to compare with."""
    named = [_named(text) for text in args.log]
    names = [name for name, _ in named]
    if len(set(names)) < len(names):
        raise ConfigError(f"--log: two logs are called {', '.join(names)}; name them, as in --log first=A second=B")
    opened: dict[str, GateData] = {name: open_log(path, args.num_samples) for name, path in named}
    warnings = tuple(text for one in opened.values() for text in getattr(one, "warnings", ()))
    if args.select:
        opened = {name: select_gates(one, args.select) for name, one in opened.items()}
    first = opened.pop(names[0])
    return Source(first, warnings=warnings, name=names[0], others=opened)


def open_log(path: str | Path, limit: int = -1) -> GateData:
    """The gates of a log of JSON lines (its first ``limit`` samples), or of a gate store where ``path`` is a folder.

    Raises:
        DataError: neither of them.
    """
    return StoreGateData(path) if Path(path).is_dir() else LogGateData(path, limit)


def _named(text: str) -> tuple[str, Path]:
    """``NAME=PATH``, or ``PATH``, which is then its own name."""
    name, mark, path = text.partition("=")
    return (name, Path(path)) if mark and not Path(text).exists() else (text, Path(text))


def _model(args: argparse.Namespace, folder: Path) -> Source:
    given = argparse.Namespace(**vars(args))
    given.cfg_options = [*(args.cfg_options or []), *([f"data_root={args.data_path}"] if args.data_path else [])]
    given.work_dir = args.work_dir or str(Path(args.out) / "run")
    cfg = load_run_config(given)
    if cfg.launcher != "none":
        raise ConfigError(f"--launcher {cfg.launcher}: gates are analysed in one process; leave it out")
    checkpoint, identity = read_and_prepare(cfg, given)
    runner = build_runner(cfg, checkpoint)
    reality = "an embedded set: figures are not of the real one" if identity["embedded"] else "real data"
    tested = "the demonstration's model" if args.demo else args.checkpoint
    origin = f"{tested} on {identity['name']}, split {identity['split']} ({reality})"
    found = record_runner(runner, folder / "store", origin, args.select or "**")
    return Source(found.data, runner, found.rows, found.warnings)


def _legacy(args: argparse.Namespace, folder: Path) -> Source:
    model, loader = model_and_loader(args.legacy_model)
    origin = f"{type(model).__name__} from {args.legacy_model}"
    with adapt_legacy_model(model):
        found = record_loader(model, loader, folder / "store", origin, args.select or "**")
    return Source(found.data, None, found.rows, found.warnings)


def model_and_loader(name: str) -> tuple[nn.Module, Iterable[Any]]:
    """What the function ``MODULE:FUNCTION`` gives.

    Raises:
        ConfigError: as :func:`~gatefuse_plugins.user_code.call_function`, or it returns something else.
    """
    found = call_function(name, "--legacy-model", "(model, loader)")
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise ConfigError(f"--legacy-model {name}: returned a {type(found).__name__}; expected (model, loader)")
    model, loader = found
    if not isinstance(model, nn.Module) or not isinstance(loader, Iterable):
        kinds = f"({type(model).__name__}, {type(loader).__name__})"
        raise ConfigError(f"--legacy-model {name}: returned {kinds}; expected a torch.nn.Module and batches")
    return model, loader
