"""What the subcommands of ``tools/migrate.py`` do: arguments in, text out, the exit status back."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from mmengine.config import Config
from rich.console import Console
from rich.progress import Progress

from gatefuse_plugins.checkpoints.migration.execute import migrate
from gatefuse_plugins.checkpoints.migration.gate_files import export_gates, import_gates
from gatefuse_plugins.checkpoints.migration.guide import guide
from gatefuse_plugins.checkpoints.migration.inspection import inspect
from gatefuse_plugins.checkpoints.migration.plan import Plan, make_plan
from gatefuse_plugins.checkpoints.migration.report import (
    comparison_table,
    fault_lines,
    plan_lines,
    plan_table,
    result_lines,
)
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.migration.target import better_choices, load_target
from gatefuse_plugins.checkpoints.migration.upstream import to_upstream
from gatefuse_plugins.checkpoints.migration.verify import compare_files


def explain(args: argparse.Namespace, console: Console) -> int:
    """Explain a checkpoint and name the next command."""
    print_lines(console, guide(args.checkpoint, args.trust))
    return 0


def show_inspection(args: argparse.Namespace, console: Console) -> int:
    """Say what a checkpoint is."""
    found = inspect(args.checkpoint, args.trust)
    print_lines(console, [json.dumps(found.to_json(), indent=2)] if args.json else found.lines())
    return 0


def show_plan(args: argparse.Namespace, console: Console) -> int:
    """Show the complete mapping; 1 where it cannot be run."""
    plan, _config, added = planned(args)
    if args.json:
        print_lines(console, [json.dumps(plan.to_json(), indent=2)])
        return 1 if plan.faults else 0
    if args.all or set(plan.counts()) != {"kept"}:
        console.print(plan_table(plan, args.all))
    else:
        print_lines(console, [f"all {len(plan.rows)} parameters are kept under their names"])
    print_lines(console, [*(f"chosen for this checkpoint: {option}" for option in added), *plan_lines(plan)])
    print_faults(args, console, plan)
    return 1 if plan.faults else 0


def run(args: argparse.Namespace, console: Console) -> int:
    """Migrate."""
    plan, config, added = planned(args)
    if plan.faults:
        print_faults(args, console, plan)
        return 2
    name = shlex.join([str(args.config), *(args.cfg_options or []), *added])
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("writing", total=sum(t.numel() * t.element_size() for t in plan.source.state.values()))
        result = migrate(
            plan,
            args.out,
            verify=not args.no_verify,
            config_name=name,
            overwrite=args.overwrite,
            training=config.to_dict(),
            progress=lambda count: bar.advance(task, count),
        )
    if result.comparison:
        console.print(comparison_table(result.comparison))
    print_lines(console, [*plan_lines(plan)[:-1], *result_lines(result)])
    return 0


def show_comparison(args: argparse.Namespace, console: Console) -> int:
    """Compare two checkpoints; 1 where they differ."""
    old = open_source(args.old, args.trust)
    comparison = compare_files(old, args.new, chosen_model(args, old), args.seed, args.trust)
    console.print(comparison_table(comparison))
    return 0 if comparison.equal else 1


def write_gates(args: argparse.Namespace, console: Console) -> int:
    """Export or import gates."""
    source = open_source(args.checkpoint, args.trust)
    model = chosen_model(args, source)
    if args.command == "export-gates":
        result = export_gates(source, args.out, model, overwrite=args.overwrite)
    else:
        result = import_gates(args.gates, source, args.out, model, args.trust, args.overwrite)
    print_lines(console, result_lines(result))
    return 0


def write_upstream(args: argparse.Namespace, console: Console) -> int:
    """Write upstream's layout."""
    source = open_source(args.checkpoint, args.trust)
    model = chosen_model(args, source)
    result = to_upstream(source, args.out, model, args.allow_inexact, overwrite=args.overwrite)
    if result.comparison:
        console.print(comparison_table(result.comparison))
    print_lines(console, result_lines(result))
    return 0


def planned(args: argparse.Namespace) -> tuple[Plan, Config, list[str]]:
    """The plan that the arguments ask for, its config, and options that were added."""
    source = open_source(args.checkpoint, args.trust)
    config, added = load_target(args.config, args.cfg_options, source)
    plan = make_plan(source, config.model.to_dict(), args.init, args.seed, args.allow_inexact, args.drop)
    return plan, config, added


def chosen_model(args: argparse.Namespace, source: Source) -> dict[str, Any] | None:
    """Model config named by the arguments, if any."""
    return load_target(args.config, args.cfg_options, source)[0].model.to_dict() if args.config else None


def print_faults(args: argparse.Namespace, console: Console, plan: Plan) -> None:
    """Why a plan cannot be run, and what would fit better."""
    better = better_choices(args.config, args.cfg_options, plan.source) if plan.named("conflicting") else []
    print_lines(console, [*fault_lines(plan), *(f"fits better: --cfg-options {option}" for option in better)])


def print_lines(console: Console, lines: Sequence[str]) -> None:
    """Text as it is, without markup or line breaks."""
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "guide": explain,
    "inspect": show_inspection,
    "plan": show_plan,
    "run": run,
    "verify": show_comparison,
    "export-gates": write_gates,
    "import-gates": write_gates,
    "to-upstream": write_upstream,
}
