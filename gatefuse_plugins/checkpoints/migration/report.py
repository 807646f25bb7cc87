"""Plans and comparisons as tables for the terminal."""

from __future__ import annotations

import math

from rich.table import Table

from gatefuse_plugins.checkpoints.migration.comparison import Comparison
from gatefuse_plugins.checkpoints.migration.execute import Result
from gatefuse_plugins.checkpoints.migration.hosts import host_type
from gatefuse_plugins.checkpoints.migration.plan import Plan, Row
from gatefuse_plugins.checkpoints.safety.values import listed

_QUIET = ("kept",)  # rows that say nothing new, counted unless all are asked for


def plan_table(plan: Plan, everything: bool = False) -> Table:
    """Rows of the plan; equal, kept rows are only counted unless ``everything``."""
    title = f"{plan.found.origin} ({plan.found.fusion}) to {host_type(plan.config)}"
    table = Table(title=title)
    for heading in ("status", "checkpoint", "model", "shape", "note"):
        table.add_column(heading, overflow="fold")  # names are copied from here, so none may be cut short
    for row in plan.rows:
        if everything or row.status not in _QUIET:
            table.add_row(row.status, row.old or "", _new_name(row), _shape(row), row.note)
    counts = ", ".join(f"{count} {status}" for status, count in plan.counts().items())
    table.caption = f"{counts}; new parameters: --init {plan.init}" if plan.named("new") else counts
    return table


def plan_lines(plan: Plan) -> list[str]:
    """Judgements, and whether the plan can be run."""
    lines = [f"{finding.level}: {finding.message}" for finding in plan.findings]
    lines += [f"undecided: {fact}" for fact in plan.found.undecided]
    if plan.faults:
        return [*lines, f"cannot be run, {len(plan.faults)} faults"]
    kept = "outputs stay what they were" if plan.exact else "outputs change; run shows by how much"
    return [*lines, f"can be run; {kept}"]


def fault_lines(plan: Plan, shown: int = 20) -> list[str]:
    """Why the plan cannot be run; empty where it can."""
    lines = [f"fault: {fault}" for fault in plan.faults]
    return lines[:shown] + ([f"... and {len(lines) - shown} more"] if len(lines) > shown else [])


def comparison_table(comparison: Comparison) -> Table:
    """Largest difference of every output."""
    table = Table("output", title="old and new model on the same seeded inputs")
    table.add_column("largest difference", justify="right")
    table.add_column("largest value", justify="right")
    for name, value in comparison.differences.items():
        scale = comparison.scales[name]
        table.add_row(name, f"{value:.3g}", "nothing finite" if math.isnan(scale) else f"{scale:.3g}")
    for name, count in comparison.frozen.items():
        table.add_row(f"{name} (weights)", f"{count} tensors", "")
    for name, value in comparison.informative.items():
        table.add_row(name, f"{value:.3g}", "")
    if comparison.empty:
        table.caption = "nothing finite to compare: all outputs of the old model are NaN or infinite"
    else:
        table.caption = "equal in float32" if comparison.equal else "not equal"
    return table


def result_lines(result: Result) -> list[str]:
    """What was written, and what is worth knowing."""
    counts = ", ".join(f"{count} {what}" for what, count in result.counts.items())
    lines = [*result.notes, f"written: {result.path} ({result.path.stat().st_size / 1e6:.1f} MB; {counts})"]
    if result.non_finite:
        odd = result.non_finite
        lines.append(f"warning: NaN or infinity in {len(odd)} tensors, as in the source: {listed(odd, 5)}")
    return lines


def _new_name(row: Row) -> str:
    return "" if row.new is None or row.new == row.old else row.new


def _shape(row: Row) -> str:
    shapes = (row.old_shape, row.new_shape)
    told = ["x".join(map(str, shape)) or "scalar" for shape in shapes if shape is not None]
    return " to ".join(dict.fromkeys(told))
