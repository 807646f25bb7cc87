"""Interventions on the model of a runner; on embedded events also against the off-topic mask that is known there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.runner import Runner
from torch import nn

from gatefuse_plugins.analysis.gates.bootstrap import Interval
from gatefuse_plugins.analysis.gates.evaluate import evaluate_outcomes
from gatefuse_plugins.analysis.gates.intervention_reading import change_words, describe_gates
from gatefuse_plugins.analysis.gates.intervention_study import StudyOptions, compare_interventions
from gatefuse_plugins.analysis.gates.intervention_table import InterventionTable, OffTopicGate
from gatefuse_plugins.analysis.gates.outcomes import Outcomes
from gatefuse_plugins.data.events.store import OFF_TOPIC
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.off_topic import OffTopicGateHook, audio_taps

PAIRS = "the gates see the text, so what passes them are pairs of text and video, which have no order of samples"

AUC_WORDS = (
    (0.9, "they tell them apart"),
    (0.6, "they know in part"),
    (0.4, "they do not know"),
    (0.1, "they are turned the wrong way in part"),
    (0.0, "they do the reverse"),
)
"""What an AUC from each bound on means."""


def run_interventions(runner: Runner, options: StudyOptions | None = None) -> InterventionTable:
    """The whole study on the test set of ``runner``, whose weights are loaded.

    Takes one evaluation, and one for each intervention and scope (``options`` narrows them). No hook of the runner
    runs, and no submission is written.

    Raises:
        ConfigError, DataError, GatefuseError: see :func:`compare_interventions` and :func:`evaluate_outcomes`.
    """
    options = options or StudyOptions()
    model = unwrapped(runner.model)
    if getattr(model, "text_conditioned", False):
        options = replace(options, not_samples=PAIRS)
    auc: dict[str, float] = {}
    known = _has_mask(runner)
    first = True

    def evaluate() -> Outcomes:
        nonlocal first
        scoring, first = known and first, False
        return _scored(runner, auc) if scoring else evaluate_outcomes(runner)

    table = compare_interventions(evaluate, model, options)
    gates = _gates(model, auc)
    return replace(table, off_topic=gates, off_topic_paragraph=off_topic_paragraph(gates, table))


def off_topic_paragraph(gates: tuple[OffTopicGate, ...], table: InterventionTable) -> str:
    """AUC of each gate, and what freezing it costs, in plain words; empty without ``gates``."""
    if not gates:
        return ""
    sentences = [
        "On this embedded event set it is known in which clips the sound does not belong to the picture. The AUC is the"
        " probability that a gate stands further open in a clip whose sound belongs there: 1 knows, 0.5 does not."
    ]
    for gate in gates:
        knows = next(words for bound, words in AUC_WORDS if gate.auc >= bound)
        text = f"The {describe_gates(gate.kind, gate.layer)} have AUC {gate.auc:.2f}: {knows}"
        row = next((row for row in table.rows if row.intervention == "mean" and row.gates == (gate.gate,)), None)
        if row is not None and row.applicable:
            found = Interval(row.change, row.low, row.high, row.samples, row.groups)
            text += f"; frozen at their mean they change {change_words(row.metric, found, table.unit)}, {row.meaning}"
        sentences.append(f"{text}.")
    return " ".join(sentences)


def _has_mask(runner: Runner) -> bool:
    dataset: Any = runner.test_loop.dataloader.dataset
    root = getattr(dataset, "data_root", None)
    embedded = getattr(dataset, "metainfo", {}).get("identity", {}).get("embedded", False)
    return bool(embedded) and root is not None and (Path(root) / OFF_TOPIC).is_file()


def _scored(runner: Runner, auc: dict[str, float]) -> Outcomes:
    """An evaluation that fills ``auc`` with :class:`OffTopicGateHook`'s figures."""
    hook = OffTopicGateHook()
    hook.before_test_epoch(runner)
    outcomes = evaluate_outcomes(runner, lambda number, batch, outputs: hook.after_test_iter(runner, number, batch))
    hook.after_test_epoch(runner, auc)
    return outcomes


def _gates(model: nn.Module, auc: Mapping[str, float]) -> tuple[OffTopicGate, ...]:
    found = []
    for name, tap in audio_taps(model).items():
        value = auc.get(f"gate_auc/{tap.kind}" + ("" if tap.layer is None else f"_{tap.layer}"), math.nan)
        if not math.isnan(value):
            found.append(OffTopicGate(name, tap.kind, tap.layer, value))
    return tuple(found)
