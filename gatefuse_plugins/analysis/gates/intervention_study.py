"""What is a gate worth? The data set is evaluated again with gates at other values, and the metrics are compared."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from mmengine.dist import get_world_size
from mmengine.logging import print_log
from torch import nn

from gatefuse_plugins.analysis.gates.bootstrap import Interval, bootstrap_means
from gatefuse_plugins.analysis.gates.intervention_options import (
    GateScope,
    StudyOptions,
    build_interventions,
    gate_scopes,
)
from gatefuse_plugins.analysis.gates.intervention_reading import change_words, deed, describe_gates, meaning
from gatefuse_plugins.analysis.gates.intervention_table import InterventionRow, InterventionTable
from gatefuse_plugins.analysis.gates.outcomes import Outcomes
from gatefuse_plugins.errors import ConfigError, DataError, GatefuseError, suggestion
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.fusion_taps import fusion_taps
from gatefuse_plugins.recording.gate_profile import profile_gates
from gatefuse_plugins.recording.intervene import choose_taps, intervene
from gatefuse_plugins.recording.interventions import Intervention
from gatefuse_plugins.recording.shuffles import ShuffleSamples


def compare_interventions(
    evaluate: Callable[[], Outcomes], model: nn.Module, options: StudyOptions | None = None
) -> InterventionTable:
    """Call ``evaluate`` once as it is, then once for each intervention and scope.

    Args:
        evaluate: runs ``model`` over the data set, always in the same order and without randomness.
        model: holds the gates; left as it was.
        options: see :class:`StudyOptions`.

    Raises:
        ConfigError: the model has no gates, or a metric is unknown.
        DataError: a gate gives NaN.
        GatefuseError: the model is compiled, or several processes share the data set.
    """
    options = options or StudyOptions()
    if get_world_size() > 1:
        raise GatefuseError(f"interventions run in one process, and this is one of {get_world_size()}; leave torchrun")
    root = unwrapped(model)
    taps = fusion_taps(root) if options.select is None else choose_taps(root, options.select)
    if not taps:
        raise ConfigError(f"{type(root).__name__} has no gates, so no intervention is possible")
    began = time.perf_counter()
    with profile_gates(root, list(taps)) as profiling:
        before = evaluate()
    seconds, profiles = time.perf_counter() - began, profiling.result()
    metrics = _metrics(options.metrics, before)
    scopes = gate_scopes(taps, options.scopes)
    planned = [(intervention, scope) for intervention in build_interventions(options, profiles) for scope in scopes]
    rows: list[InterventionRow] = []
    for number, (intervention, scope) in enumerate(planned, 1):
        left = f"about {math.ceil(seconds * (len(planned) - number + 1))} s left"
        what = f"{intervention.name} on {describe_gates(scope.kind, scope.layer)}"
        print_log(f"intervention {number} of {len(planned)}: {what} ({left})", "current")
        trial = _try(intervention, scope, evaluate, root, taps, options.not_samples)
        rows += [_row(trial, metric, before, options) for metric in metrics]
    return InterventionTable(
        tuple(rows),
        metrics,
        before.unit,
        len(before),
        len(set(before.groups)),
        options.resamples,
        options.seed,
    )


def _metrics(wanted: Sequence[str] | None, before: Outcomes) -> tuple[str, ...]:
    for name in wanted or ():
        if name not in before.figures:
            raise ConfigError(f"metric {name!r} has no figures of single samples{suggestion(name, before.figures)}")
    return tuple(wanted or before.primary)


@dataclass(frozen=True)
class _Trial:
    """One intervention on one scope: what came of it, or why there was nothing to do."""

    intervention: Intervention
    scope: GateScope
    after: Outcomes | None
    moved: float
    reason: str
    left_out: int

    @property
    def what(self) -> str:
        text = deed(self.intervention.name, self.scope.kind, self.scope.layer)
        return f"{text} ({self.left_out} of {len(self.scope.names)} n/a)" if self.left_out else text


def _try(
    intervention: Intervention,
    scope: GateScope,
    evaluate: Callable[[], Outcomes],
    model: nn.Module,
    taps: Mapping[str, GateTap],
    not_samples: str,
) -> _Trial:
    """Evaluate under the intervention, where it can be applied."""
    reasons = [reason for name in scope.names if (reason := intervention.refusal(name, taps[name]))]
    reason = not_samples if isinstance(intervention, ShuffleSamples) else ""
    if not reason and len(reasons) == len(scope.names):
        reason = "; ".join(dict.fromkeys(reasons))
    if reason:
        return _Trial(intervention, scope, None, math.nan, reason, 0)
    try:
        with intervene(model, intervention, scope.names) as acting:
            after = evaluate()
    except DataError as error:  # one broken evaluation must not take the others with it
        return _Trial(intervention, scope, None, math.nan, f"the evaluation failed: {error}", 0)
    moved = acting.moved()
    if not moved:
        reason = (
            f"in the evaluation no value passed any of {len(acting.taps)} gates; it seems to call another model, or a"
            " compiled wrapper of this one"
        )
        return _Trial(intervention, scope, None, math.nan, reason, 0)
    return _Trial(intervention, scope, after, float(np.mean([*moved.values()])), "", len(reasons))


def _row(trial: _Trial, metric: str, before: Outcomes, options: StudyOptions) -> InterventionRow:
    """What a trial did to one metric."""
    base = before.figures[metric]
    if trial.after is None:
        found, value = Interval(math.nan, math.nan, math.nan, 0, 0), math.nan
        says, sentence = trial.reason, f"{trial.what}: not applicable, {trial.reason}."
    else:
        new = trial.after.figures[metric]
        found = bootstrap_means((new - base)[:, None], before.groups, options.resamples, options.seed)[0]
        value, says = _mean(new), meaning(trial.intervention.name, metric, found)
        if trial.moved == 0:
            says = "they stand there already, so nothing could change"
        sentence = f"{trial.what} changes {change_words(metric, found, before.unit)}: {says}."
    return InterventionRow(
        intervention=trial.intervention.name,
        kind=trial.scope.kind,
        layer=trial.scope.layer,
        gates=trial.scope.names,
        metric=metric,
        baseline=_mean(base),
        value=value,
        change=found.mean,
        low=found.low,
        high=found.high,
        moved=trial.moved,
        samples=found.samples,
        groups=found.groups,
        applicable=trial.after is not None,
        meaning=says,
        sentence=sentence,
    )


def _mean(values: np.ndarray) -> float:
    given = values[np.isfinite(values)]
    return float(given.mean()) if given.size else math.nan
