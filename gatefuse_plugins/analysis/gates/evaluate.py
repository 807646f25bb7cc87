"""One pass of a model over its test set that leaves nothing behind but the outcomes of the samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.runner import Runner
from mmengine.runner.amp import autocast

from gatefuse_plugins.analysis.gates.outcomes import KNOWN, Outcomes, outcomes_of
from gatefuse_plugins.errors import DataError

AfterBatch = Callable[[int, Any, Any], None]
"""Called with number, batch and output of the model."""


def evaluate_outcomes(runner: Runner, after_batch: AfterBatch | None = None) -> Outcomes:
    """Run the test set of ``runner`` through its model once, without hooks: nothing is logged and no file written.

    Raises:
        DataError: the test set has no labels, or no metric of ``runner`` has figures of single samples.
    """
    loop: Any = runner.test_loop
    metric = _metric_of(loop.evaluator.metrics)
    model, training = runner.model, runner.model.training
    model.eval()
    first: Mapping[str, Any] = {}
    metric.results.clear()
    try:
        for number, batch in enumerate(loop.dataloader):
            with torch.no_grad(), autocast(enabled=loop.fp16):
                outputs = model.test_step(batch)
            metric.process(batch, outputs)
            first = first or outputs[0]
            if after_batch is not None:
                after_batch(number, batch, outputs)
        with torch.no_grad():
            return outcomes_of(metric, first)
    finally:
        metric.results.clear()
        model.train(training)


def _metric_of(metrics: Sequence[BaseMetric]) -> BaseMetric:
    for metric in metrics:
        if outcomes_of.dispatch(type(metric)) is not outcomes_of.dispatch(object):
            return metric
    kinds = ", ".join(type(metric).__name__ for metric in metrics)
    raise DataError(f"test_evaluator is {kinds or 'empty'}, which has no figures of single samples; expected {KNOWN}")
