"""From command line to metrics, submission and pictures: what ``tools/test.py`` runs."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import is_method_overridden

from gatefuse_plugins.analysis.moment_plots import draw_queries
from gatefuse_plugins.analysis.moment_queries import analyse_queries, choose_rows
from gatefuse_plugins.checkpoints.reader import Checkpoint
from gatefuse_plugins.config.signatures import parameters_of
from gatefuse_plugins.data.moments.base import MomentDataset
from gatefuse_plugins.engine.runner import AnnouncingRunner
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.evaluation.leakage import LeakReport
from gatefuse_plugins.evaluation.moment_labels import field
from gatefuse_plugins.evaluation.moment_metrics import MomentMetric
from gatefuse_plugins.files import require_file, require_folder, write_json
from gatefuse_plugins.hosts.avigate import AVIGATE
from gatefuse_plugins.hosts.avigate.sets import find_leaks
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.launch_setup import (
    load_for_evaluation,
    load_run_config,
    read_and_prepare,
    refuse_flags,
    warn_of_changes,
)
from gatefuse_plugins.recording.gate_log_hook import requested_gate_log
from gatefuse_plugins.registry import DATASETS, HOOKS, METRICS

_PLOT_FLAGS = ("--plots", "--plot-qids", "--plots-dir")
_FILE_FLAGS = ("--out", "--submission", *_PLOT_FLAGS, "--gate-log", "--gate-sample-count", "--gate-save-path")


def launch_test(args: argparse.Namespace) -> dict[str, float]:
    """Evaluate ``args.checkpoint``, write metrics, submission and the pictures asked for; returns the metrics.

    A split without labels gives a submission and no metrics of its own.

    Raises:
        CheckpointError: unreadable, of another model or fusion, or trained on another vision encoder.
        ConfigError: a fault of the config, or an argument that the config's data set or metric cannot serve.
        DataError: data is missing or faulty, or a query to draw is unknown; before the model runs, where possible.
    """
    cfg = load_run_config(args)
    for flag, path in (("--out", args.out), ("--submission", args.submission)):
        if path:
            require_file(path, flag)
    if args.plots_dir:
        require_folder(args.plots_dir, "--plots-dir")
    prefix = str(Path(cfg.work_dir) / (args.split or "test"))
    submissions = _choose_submission(cfg, args.submission, f"{prefix}_submission.jsonl")
    checkpoint, identity = read_and_prepare(cfg, args)
    shown = _choose_queries(cfg, args)
    gate_log = requested_gate_log(args, cfg)
    runner = build_runner(cfg, checkpoint)
    if gate_log is not None:
        runner.register_hook(gate_log)
    metrics = runner.test()
    if is_main_process():
        out = Path(args.out or f"{prefix}_metrics.json")
        record = {
            "metrics": metrics,
            "dataset": identity,
            "trained_on": checkpoint.meta.get("dataset_identity"),
            "checkpoint": str(args.checkpoint),
            "config": str(cfg.filename),
        }
        write_json(out, record | ({"submission": submissions} if submissions else {}))
        if _lacks_labels(runner):
            lacking = f"split {identity['split']} of {identity['name']} has no labels: no metrics can be computed"
            print_log(f"{lacking}; predictions written to {', '.join(submissions)}", "current")
        print_log(f"metrics on {identity['name']} written to {out}", "current")
        if shown is not None:
            folder = args.plots_dir or f"{prefix}_plots"
            pictures = draw_queries(analyse_queries(unwrapped(runner.model), *shown), folder)
            print_log(f"{len(pictures)} pictures written to {folder}", "current")
    return metrics


def launch_leak_check(args: argparse.Namespace) -> LeakReport:
    """Do the scores of ``args.checkpoint`` tell which text belongs to which video? Logs and returns the result.

    Raises:
        CheckpointError, DataError: as :func:`launch_test`.
        ConfigError: a fault of the config, a flag about files that are not written here, or a model that scores no
            pairs of text and video.
    """
    refuse_flags(args, _FILE_FLAGS, "--leak-check writes nothing; leave one of them out")
    cfg = load_run_config(args)
    checkpoint, _ = read_and_prepare(cfg, args)
    runner = build_runner(cfg, checkpoint)
    model = unwrapped(runner.model)
    if not isinstance(model, AVIGATE):
        raise ConfigError(
            f"--leak-check: a {type(model).__name__} is no text-video model whose pairs could be shuffled; "
            "expected AVIGATE or a class derived from it"
        )
    loader = runner.build_dataloader(cfg.test_dataloader)
    report = find_leaks(model, loader)
    print_log(f"leak check of {args.checkpoint}:\n{report}", "current")
    return report


def build_runner(cfg: Config, checkpoint: Checkpoint) -> Runner:
    """A Runner over the prepared ``cfg`` with the weights of ``checkpoint``, ready to test.

    Raises:
        CheckpointError: the weights do not fit.
    """
    for name in ("prepared_vision", "pretrained"):
        cfg.pop(name, None)
    cfg.load_from, cfg.resume = None, False
    # hooks that write training files have nothing to do here
    cfg.custom_hooks = [hook for hook in cfg.get("custom_hooks") or [] if _acts_in_testing(hook)]
    runner = AnnouncingRunner.from_cfg(cfg)
    report = load_for_evaluation(runner.model, checkpoint)
    warn_of_changes(checkpoint, cfg.model)
    print_log(f"{checkpoint.path} ({checkpoint.origin}): {report}", "current")
    return runner


def _choose_submission(cfg: Config, wanted: str | None, default: str) -> list[str]:
    """Set where each metric writes its submission; returns the files. Metrics without such a file are left alone."""
    evaluators: list[ConfigDict] = cfg.test_evaluator if isinstance(cfg.test_evaluator, list) else [cfg.test_evaluator]
    writers = [one for one in evaluators if "submission_file" in parameters_of(METRICS.get(one.type)).accepted]
    if wanted and not writers:
        kinds = ", ".join(one.type for one in evaluators)
        raise ConfigError(
            f"--submission {wanted}: test_evaluator is {kinds}, which has no submission_file; expected a metric that"
            " writes one, such as QVHighlightsMetric or TVSumMetric"
        )
    for one in writers:
        one.submission_file = wanted or one.get("submission_file") or default
    return [str(one.submission_file) for one in writers]


def _choose_queries(cfg: Config, args: argparse.Namespace) -> tuple[MomentDataset, list[int]] | None:
    """The data set and the rows to draw; None where no picture is wanted."""
    if args.plots is None and args.plot_qids is None:
        if args.plots_dir:
            raise ConfigError(f"--plots-dir {args.plots_dir}: nothing to draw; add --plots N or --plot-qids QID ...")
        return None
    flag = "--plot-qids" if args.plots is None else "--plots"
    if args.plots is not None and args.plots < 1:
        raise ConfigError(f"--plots {args.plots}: expected 1 or more")
    if find_spec("matplotlib") is None:
        raise ConfigError(f"{flag}: needs matplotlib; pip install 'gatefuse-plugins[report]', or leave the flag out")
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not isinstance(dataset, MomentDataset):
        raise ConfigError(
            f"{flag}: pictures are of moment-retrieval queries, and test_dataloader.dataset is a "
            f"{type(dataset).__name__}; expected QVHighlightsDataset or TVSumDataset"
        )
    return dataset, choose_rows(dataset.metainfo["annotations"], args.plots, args.plot_qids)


def _acts_in_testing(hook: dict[str, Any]) -> bool:
    return is_method_overridden("after_test_epoch", Hook, HOOKS.get(hook["type"]))


def _lacks_labels(runner: Runner) -> bool:
    metrics = [metric for metric in runner.test_loop.evaluator.metrics if isinstance(metric, MomentMetric)]
    return any(not field(metric.meta("annotations"), metric.label) for metric in metrics)
