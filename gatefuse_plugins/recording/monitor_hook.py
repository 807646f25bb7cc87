"""Training hook that watches gates: statistics every N steps, warnings on saturation and collapse."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from gatefuse_plugins.config.rules import dimension_rule
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.changes import record_changes
from gatefuse_plugins.recording.health import CAUSES, GateThresholds, diagnose
from gatefuse_plugins.recording.recorder import EVERYTHING, find_taps, record_gates
from gatefuse_plugins.recording.recording import GateRecording
from gatefuse_plugins.recording.running_moments import RunningMoments
from gatefuse_plugins.recording.statistics import fetch_states, figures
from gatefuse_plugins.registry import HOOKS

STATISTICS = ("mean", "std", "minimum", "maximum")
SCALAR_NAMES = {"minimum": "min", "maximum": "max"}


@HOOKS.register_module()
class GateMonitorHook(Hook):
    """Every ``interval`` steps, log that step's gate statistics and how far each fusion moved its stream.

    Scalars in the message hub, which the logger, TensorBoard and CSV hooks read:
    ``train/gates/<tap>/{mean,std,min,max}`` and ``train/gates/<fusion>/change``, the mean of |fused - image| over valid
    positions. They keep their value between monitored steps; log at the same interval, or a multiple of it, to see no
    value twice. Under data parallelism each rank watches its own samples, and rank 0's are logged.

    A warning is given once for each tap and cause, when the cause held in ``patience`` monitored steps in a row:
    a gate that starts at its neutral value, as published ones do, is no fault in itself.

    Hooks sit on the model in monitored steps only. ``torch.compile`` may skip hooks that were attached after it
    traced the model; the monitor then says that no gate was seen.

    Args:
        interval: training steps between monitored steps.
        select: dotted glob or globs over tap names.
        saturation_fraction, collapse_std, collapse_distance, closing_level, dominance_level, query_low, query_high: see
            :class:`~gatefuse_plugins.recording.health.GateThresholds`.
        patience: monitored steps in a row before a warning.

    Raises:
        ConfigError: an interval, patience or threshold is out of range.
        PatternError: (when training starts) an explicit ``select`` matches no tap of the model.
    """

    priority = "NORMAL"  # before LoggerHook (BELOW_NORMAL), which reads the scalars in the same step

    def __init__(
        self,
        interval: int = 50,
        select: str | Sequence[str] = EVERYTHING,
        saturation_fraction: float = 0.95,
        collapse_std: float = 1e-3,
        collapse_distance: float = 1e-2,
        patience: int = 3,
        closing_level: float = 0.05,
        dominance_level: float = 0.5,
        query_low: float = 0.1,
        query_high: float = 0.9,
    ) -> None:
        if interval < 1 or patience < 1:
            raise ConfigError(
                f"GateMonitorHook: interval is {interval} and patience {patience}; expected whole numbers from 1"
            )
        self.interval = interval
        self.select = select
        self.patience = patience
        self.thresholds = GateThresholds(
            saturation_fraction,
            collapse_std,
            collapse_distance,
            closing_level,
            dominance_level,
            query_low,
            query_high,
        )
        self._enabled = True
        self._scope = contextlib.ExitStack()
        self._gates: GateRecording | None = None
        self._changes: dict[str, RunningMoments] = {}
        self._streaks: dict[tuple[str, str], int] = {}
        self._said: set[tuple[str, str]] = set()

    def before_train(self, runner: Runner) -> None:
        """Check the selection before the first step; a model without gates is left alone, and that is said."""
        model = unwrapped(runner.model, compiled=True)
        taps = find_taps(model, self.select)
        self._enabled = bool(taps) or any(isinstance(module, Fusion) for module in model.modules())
        if not self._enabled:
            self._say_once(runner, ("", "no gates"), f"{type(model).__name__} has no gates to monitor", warn=False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Attach to the model in a monitored step."""
        self._scope.close()  # a step that raised has left its hooks behind
        self._gates = None
        if not self._enabled or not self.every_n_train_iters(runner, self.interval):
            return
        model = unwrapped(runner.model, compiled=True)
        self._gates = self._scope.enter_context(record_gates(model, self.select, "moments", warn=False))
        self._changes = self._scope.enter_context(record_changes(model))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Detach, publish the step's figures, and warn where a gate is ill."""
        self._scope.close()
        if self._gates is None:
            return
        gates, self._gates = self._gates, None
        summary = gates.summary()
        if gates.names and not summary:
            message = (
                "no value passed any gate tap in a monitored step: either the model's forward does not reach its"
                " fusion, or torch.compile skipped the hooks (monitor the uncompiled model)"
            )
            self._say_once(runner, ("", "silent"), message)
        for name, tap in summary.items():
            if tap.count:
                for statistic in STATISTICS:
                    scalar = f"train/gates/{name}/{SCALAR_NAMES.get(statistic, statistic)}"
                    runner.message_hub.update_scalar(scalar, getattr(tap, statistic))
            self._warn(runner, name, diagnose(name, tap, self.thresholds))
        for name, state in fetch_states(self._changes).items():
            change = figures(state)["mean"]
            if not math.isnan(change):
                runner.message_hub.update_scalar(f"train/gates/{name}/change", change)

    def after_train(self, runner: Runner) -> None:
        """Leave no hook behind, whichever way training ended."""
        self._scope.close()

    def _warn(self, runner: Runner, name: str, ailments: dict[str, str]) -> None:
        for cause in CAUSES:
            key = (name, cause)
            self._streaks[key] = self._streaks.get(key, 0) + 1 if cause in ailments else 0
            if self._streaks[key] >= self.patience:
                self._say_once(runner, key, ailments[cause])

    def _say_once(self, runner: Runner, key: tuple[str, str], message: str, warn: bool = True) -> None:
        if key not in self._said:
            self._said.add(key)
            (runner.logger.warning if warn else runner.logger.info)(message)


@dimension_rule("GateMonitorHook")
def limits_in_range(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
    """Interval, patience and thresholds, as the hook judges them when it is built."""
    try:
        GateMonitorHook(**{key: value for key, value in node.items() if key not in ("type", "priority")})
    except ConfigError as error:
        return [f"{path}: {error}"]
    return []
