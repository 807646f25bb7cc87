"""``REPORT.md``: one page on what a run was and what it reached."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.engine.training_log import read_training_log
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import atomic_writer, read_json
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class ReportHook(Hook):
    """Write ``REPORT.md`` at the end of training from ``metrics.json`` and ``training_log.csv``.

    It names the data set first, so that no figure is read as another set's, then metrics, the fusion's settings, what
    is injected, the gates' last statistics, and the curves.

    Args:
        filename: name of the page in the work dir.
    """

    priority = "LOWEST"  # after CurvesHook; listed before MetricsFileHook, which says where the page lies

    def __init__(self, filename: str = "REPORT.md") -> None:
        self.filename = filename

    @master_only
    def after_run(self, runner: Runner) -> None:
        """Write the page; skipped where no metrics were written (a run without validation)."""
        work_dir = Path(runner.work_dir)
        try:
            metrics = read_json(work_dir / "metrics.json")
        except DataError as error:
            runner.logger.warning(f"no {self.filename}: {error}")
            return
        sections = [
            _head(runner, metrics),
            _metric_table(metrics),
            _test_table(metrics),
            _fusion(runner),
            _gates(work_dir / "training_log.csv"),
        ]
        if (work_dir / "curves.png").is_file():
            sections.append("## Curves\n\n![losses, recalls and gates](curves.png)")
        with atomic_writer(work_dir / self.filename, "w") as stream:
            stream.write("\n\n".join(section for section in sections if section) + "\n")
        runner.logger.info(f"report: {work_dir / self.filename}")


def _head(runner: Runner, metrics: dict[str, Any]) -> str:
    data = metrics.get("dataset") or {"name": "unknown data"}
    lines = [f"# {Path(str(metrics.get('config'))).stem} on {data['name']}", ""]
    if data.get("embedded"):
        lines += ["**These are figures of an embedded set and say nothing of the real data set.**", ""]
    lines += [
        f"- config `{metrics.get('config')}`, seed {metrics.get('seed')}",
        f"- step {metrics['step']}, epoch {metrics['epoch']}",
        f"- data digest `{str(data.get('digest'))[:16]}`, split {data.get('split')}",
        f"- parameters {sum(p.numel() for p in runner.model.parameters()):,}",
    ]
    return "\n".join(lines)


def _metric_table(metrics: dict[str, Any]) -> str:
    best = metrics.get("best") or {}
    reached = best.get("metrics", {})
    lines = ["## Metrics", "", f"| metric | last | best (step {best.get('step', '-')}) |", "|---|---:|---:|"]
    for name, value in metrics["metrics"].items():
        lines.append(f"| {name} | {_figure(value)} | {_figure(reached.get(name))} |")
    if best:
        lines += ["", f"Best checkpoint by {best['metric']}: `{Path(best['checkpoint']).name}`"]
    return "\n".join(lines)


def _test_table(metrics: dict[str, Any]) -> str:
    found = metrics.get("test")
    if not found:
        return ""
    lines = ["## Test split", "", "Seen once, after validation had chosen the best epoch.", ""]
    lines += [f"| metric | {' | '.join(found)} |", "|---|" + "---:|" * len(found)]
    for name in found["last"]:
        lines.append(f"| {name} | {' | '.join(_figure(column[name]) for column in found.values())} |")
    return "\n".join(lines)


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _fusion(runner: Runner) -> str:
    config = runner.cfg.model
    rules = config.get("injection") or ()
    if "fusion" not in config and not rules:
        return ""  # the host's gates are its own
    fusion = config.get("fusion") or {}
    lines = [f"- {name}: {value}" for name, value in fusion.items()]
    lines += [
        f"- learned {n}: {p.item():.4f}" for n, p in runner.model.named_parameters() if n.endswith("fusion.alpha")
    ]
    lines += [f"- injected, {_rule(rule)}" for rule in rules]
    return "\n".join(["## Fusion", "", *(lines or ["None: the ungated arm."])])


def _rule(rule: Mapping[str, Any]) -> str:
    at = f" at {rule['at']}" if "at" in rule else ""
    return f"`{rule['pattern']}`{at}: {(rule.get('gate') or rule['fusion'])['type']}"


def _gates(log: Path) -> str:
    try:
        columns, rows = read_training_log(log)
    except DataError:
        return ""
    taps = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in columns if name.startswith("gates/")))
    last = next((row for row in reversed(rows) if any(row.get(f"{tap}/mean") for tap in taps)), None)
    if last is None:
        return ""
    lines = [f"## Gates at step {last['step']}", "", "| tap | mean | std | min | max |", "|---|---:|---:|---:|---:|"]
    for tap in taps:
        values = [last.get(f"{tap}/{name}") for name in ("mean", "std", "min", "max")]
        if all(values):
            cells = " | ".join(f"{float(value):.4f}" for value in values if value is not None)
            lines.append(f"| {tap.removeprefix('gates/')} | {cells} |")
    return "\n".join(lines)
