"""From command line to a folder of findings about gates: what ``tools/analyze_gates.py`` runs."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import Runner

from gatefuse_plugins.analysis.gates.comparison import compare_samples
from gatefuse_plugins.analysis.gates.data import GateData, Sample, labels
from gatefuse_plugins.analysis.gates.demo import METRICS, NOTE, SCOPES
from gatefuse_plugins.analysis.gates.evolution import gate_evolution
from gatefuse_plugins.analysis.gates.gate_map import analyse_gate_maps
from gatefuse_plugins.analysis.gates.individual import choose_samples, sample_gates
from gatefuse_plugins.analysis.gates.intervention_options import INTERVENTIONS, StudyOptions
from gatefuse_plugins.analysis.gates.off_topic_study import run_interventions
from gatefuse_plugins.analysis.gates.patterns import activation_patterns
from gatefuse_plugins.analysis.gates.report import GateReport, build_report
from gatefuse_plugins.analysis.gates.runs import compare_runs
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.analysis.gates.writing import write_report
from gatefuse_plugins.analysis.moment_queries import MomentQuery, analyse_queries
from gatefuse_plugins.data.base import ComposedRetrievalDataset
from gatefuse_plugins.data.moments.base import MomentDataset
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import require_folder
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.launch_analysis_sources import Source, find_source, train_demo
from gatefuse_plugins.launch_setup import refuse_flags
from gatefuse_plugins.user_code import load_module

MAX_SAMPLES = 50
"""Samples with pictures of their own, unless another number is asked for."""
GATE_MAPS = 6
"""Queries of composed retrieval whose gates are drawn over the reference image, at most."""


def launch_analysis(args: argparse.Namespace) -> GateReport:
    """Analyse the gates of a model, or of logs, and write the findings to ``args.out``; returns them.

    Raises:
        ConfigError: arguments that do not go together, or a fault of the config.
        CheckpointError, DataError, GatefuseError: what cannot be read or recorded, before anything is written.
    """
    check_arguments(args)
    for module in args.imports:
        load_module(module, "--imports")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gatefuse_gates_")))
        args = train_demo(args, folder) if args.demo else args
        source = find_source(args, folder)
        report = analyse(source, args)
        out = write_report(args.out, report, args.save_raw_data)
    print_log(
        f"{report.diagnosis.paragraph}\nreport: {out / 'report.html'} and {out / 'ANALYSIS_REPORT.md'}", "current"
    )
    return report


def check_arguments(args: argparse.Namespace) -> None:
    """ConfigError for arguments that contradict each other or would have no effect, before anything is loaded."""
    given = [name for name in ("config", "log", "legacy_model", "demo") if getattr(args, name)]
    if len(given) != 1:
        found = ", ".join(f"--{name.replace('_', '-')}" for name in given) or "none"
        raise ConfigError(f"one of --config, --log, --legacy-model and --demo is needed; given: {found}")
    if bool(args.config) != bool(args.checkpoint):
        raise ConfigError("--config and --checkpoint go together; give both")
    if args.interventions is not None and not (args.config or args.demo):
        raise ConfigError("--intervene evaluates a model: it needs --config and --checkpoint, or --demo")
    _refuse_idle(args)
    require_folder(args.out, "--out")
    for flag, value in (("--max-samples", args.max_samples), ("--num-samples", args.num_samples)):
        if value is not None and (value < -1 or (value == 0 and flag == "--num-samples")):
            raise ConfigError(f"{flag} {value}: expected a number from {int(flag != '--max-samples')}, or -1 for all")


def _refuse_idle(args: argparse.Namespace) -> None:
    """Flags of the model and its data set, without one; the demonstration brings its own."""
    if args.config:
        return
    idle = ("--split", "--data-path", "--cfg-options", "--work-dir", "--trust", *(["--training-log"] * args.demo))
    refuse_flags(args, idle, "it needs --config with --checkpoint")
    if args.launcher != "none":
        raise ConfigError(f"--launcher {args.launcher}: gates are analysed in one process; leave it out")


def analyse(source: Source, args: argparse.Namespace) -> GateReport:
    """The report of a source."""
    data, compared = source.data, list(args.compare_samples or ())
    summary = summarise(data, _first(data, args))
    if args.demo and not compared:
        extremes = activation_patterns(summary, 1)
        compared = [str(summary.samples[at].id) for at in (*extremes.top, *extremes.bottom)]
    shown = choose_samples(
        data, MAX_SAMPLES if args.max_samples is None else args.max_samples, compared, summary.samples
    )
    individuals = tuple(sample_gates(data, sample) for sample in shown)
    parts: dict[str, Any] = {}
    if source.others:
        chosen = {name: summarise(one, _first(one, args)) for name, one in source.others.items()}
        parts["runs"] = compare_runs({source.name: summary, **chosen})
    if compared:
        by_id = {str(one.sample.id): one for one in individuals}
        parts["comparison"] = compare_samples(tuple(by_id[one] for one in dict.fromkeys(compared)))
    if args.training_log:
        names = dict(zip(data.gates, labels(list(data.gates.values())), strict=True))
        found = gate_evolution(args.training_log, names)
        parts["evolution"] = replace(found, source=Path(args.training_log).name) if args.demo else found
    if source.runner is not None:
        parts |= _model_parts(source, source.runner, shown)
        if args.interventions is not None:
            options = StudyOptions(args.interventions or INTERVENTIONS)
            options = replace(options, scopes=SCOPES, metrics=METRICS) if args.demo else options
            parts["interventions"] = run_interventions(source.runner, options)
    warnings = (*source.warnings, *((NOTE,) if args.demo else ()))
    return build_report(summary, warnings, individuals=individuals, **parts)


def _first(data: GateData, args: argparse.Namespace) -> Sequence[Sample] | None:
    return None if args.num_samples == -1 else list(data.samples)[: args.num_samples]


def _model_parts(source: Source, runner: Runner, shown: Sequence[Sample]) -> dict[str, Any]:
    """What only the model and its test set can tell about single samples."""
    dataset: Any = runner.test_loop.dataloader.dataset
    rows = [source.rows[sample.id] for sample in shown]
    if isinstance(dataset, MomentDataset):
        found: list[MomentQuery] = analyse_queries(unwrapped(runner.model), dataset, rows)
        return {"queries": {sample.id: query for sample, query in zip(shown, found, strict=True)}}
    if isinstance(dataset, ComposedRetrievalDataset) and source.data.gates:
        return {"gate_maps": tuple(analyse_gate_maps(unwrapped(runner.model), dataset, rows[:GATE_MAPS]))}
    return {}
