"""``metrics.json``: what a run reached, on which data, with which seed and config."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process, master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from rich.console import Console
from rich.table import Table

from gatefuse_plugins.engine.hooks.checkpoint import SafeCheckpointHook
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.files import write_json
from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class MetricsFileHook(Hook):
    """Write ``metrics.json`` after each validation and at the end, then print the final table.

    Keys: ``step``, ``epoch``, ``finished``, ``metrics`` (of the latest validation), ``best`` (``metric``, ``score``,
    ``step``, ``epoch``, ``checkpoint``, ``metrics``; null without ``save_best``), ``test`` (metrics of ``last`` and
    ``best`` on the test split, null without ``FinalTestHook``), ``dataset`` (identity, null where the config carries
    none), ``seed``, ``config`` (path) and ``wall_seconds`` (of training, summed over resumes). The dataset's identity,
    ``cfg.dataset_identity``, is stamped into ``meta.dataset_identity`` of every checkpoint too, so that no figure is
    mistaken for another data set's.

    Args:
        filename: name of the file in the work dir.
        console: where the table is printed; by default stdout.

    Raises:
        ConfigError: before training, where the run has no ``SafeCheckpointHook`` to record its validations.
    """

    priority = "LOWEST"  # after SafeCheckpointHook, which decides what is best and records it

    def __init__(self, filename: str = "metrics.json", console: Console | None = None) -> None:
        self.filename = filename
        self.console = console
        self._trained = False
        self._seconds_before = 0.0
        self._started = 0.0

    def before_train(self, runner: Runner) -> None:
        """Check that the validations will be recorded."""
        if not any(isinstance(hook, SafeCheckpointHook) for hook in runner.hooks):
            raise ConfigError(
                "MetricsFileHook: reads what SafeCheckpointHook records; expected "
                "default_hooks.checkpoint=dict(type='gatefuse.SafeCheckpointHook', interval=...)"
            )
        self._trained = True
        if runner.iter == 0:  # weights of another run may have been loaded; its time is not ours
            self._seconds_before = 0.0
        self._started = time.monotonic()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Take up the clock of the run that is resumed."""
        self._seconds_before = float(checkpoint.get("meta", {}).get("wall_seconds", 0.0))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Stamp the dataset's identity and the time so far into the checkpoint."""
        checkpoint["meta"].update(dataset_identity=dataset_identity(runner), wall_seconds=self._wall_seconds())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the file with this validation's results."""
        if self._trained and metrics and is_main_process():
            self._write(runner, finished=False)

    @master_only
    def after_train(self, runner: Runner) -> None:
        """Mark the run as finished."""
        self._write(runner, finished=True)

    @master_only
    def after_run(self, runner: Runner) -> None:
        """Print the metric table and where to find what."""
        if self._trained:
            self._print(runner)

    def _write(self, runner: Runner, finished: bool) -> None:
        info = runner.message_hub.runtime_info
        latest = info.get("latest_validation") or {"step": runner.iter, "epoch": runner.epoch, "metrics": {}}
        best = info.get("best_validation")
        write_json(
            Path(runner.work_dir, self.filename),
            {
                **latest,
                "finished": finished,
                "best": best and {**best, "checkpoint": str(info["best_ckpt"])},
                "test": info.get("final_test") if finished else None,  # a resumed run carries that of an earlier end
                "dataset": dataset_identity(runner),
                "seed": runner.seed,
                "wall_seconds": round(self._wall_seconds(), 2),
                "config": str(runner.cfg.filename) if runner.cfg.filename else None,
            },
        )

    def _wall_seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._started if self._trained else 0.0)

    def _print(self, runner: Runner) -> None:
        console = self.console or Console()
        info = runner.message_hub.runtime_info
        latest, best = info.get("latest_validation"), info.get("best_validation")
        if latest:
            columns = {f"last (step {latest['step']})": latest["metrics"]}
            if best:
                columns[f"best (step {best['step']})"] = best["metrics"]
            console.print(_table(f"validation on {_name(dataset_identity(runner))}", columns))
        if found := info.get("final_test"):
            console.print(_table("test split, epochs as chosen by validation", found))
        places = {
            "best checkpoint": info.get("best_ckpt"),
            "last checkpoint": info.get("last_ckpt"),
            **{
                name: Path(runner.work_dir, name)
                for name in (self.filename, "training_log.csv", "curves.png", "REPORT.md")
            },
        }
        for name, place in places.items():
            if place and Path(place).is_file():
                console.print(f"{name:>16}: {place}", soft_wrap=True, highlight=False, markup=False)


def _table(title: str, columns: dict[str, dict[str, float]]) -> Table:
    table = Table(title=title)
    table.add_column("metric")
    for name in columns:
        table.add_column(name, justify="right")
    for metric in next(iter(columns.values())):
        table.add_row(metric, *(f"{found[metric]:.2f}" for found in columns.values()))
    return table


def dataset_identity(runner: Runner) -> dict[str, Any] | None:
    """``cfg.dataset_identity`` as a plain dict, so that a checkpoint holds no config class; None where absent."""
    identity = runner.cfg.get("dataset_identity")
    return identity.to_dict() if hasattr(identity, "to_dict") else identity


def _name(identity: dict[str, Any] | None) -> str:
    if not identity:
        return "a data set without identity"
    return f"{identity.get('name')} {identity.get('split', '')}{' (embedded set)' if identity.get('embedded') else ''}"
