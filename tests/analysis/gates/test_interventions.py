"""What gates are worth, measured on a task that is built so that one gate counts and the other does not."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from health_models import SoundScorer, sound_task
from torch import Tensor, nn

from gatefuse_plugins.analysis.gates.bootstrap import Interval
from gatefuse_plugins.analysis.gates.intervention_options import StudyOptions, gate_scopes
from gatefuse_plugins.analysis.gates.intervention_reading import change_words, deed, meaning
from gatefuse_plugins.analysis.gates.intervention_study import compare_interventions
from gatefuse_plugins.analysis.gates.intervention_table import InterventionTable
from gatefuse_plugins.analysis.gates.off_topic_study import PAIRS, run_interventions
from gatefuse_plugins.analysis.gates.outcomes import Outcomes
from gatefuse_plugins.errors import ConfigError, DataError, GatefuseError
from gatefuse_plugins.evaluation import QVHighlightsMetric
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.interventions import Hold, Neutral

TASK = sound_task()


def study(model: SoundScorer, **options: Any) -> InterventionTable:
    return compare_interventions(lambda: TASK.outcomes(model), model, StudyOptions(**{"resamples": 300, **options}))


def test_interventions_find_the_gate_that_counts() -> None:
    model = SoundScorer()
    table = study(model)
    free = TASK.outcomes(model).figures["hit"]
    for name in ("neutral", "open", "mean", "shuffle_samples"):
        harmed, harmless = table.row(name, kind="attention"), table.row(name, kind="ffn")
        assert harmed is not None and harmless is not None
        assert harmed.baseline == pytest.approx(free.mean())
        assert harmed.change < -30
        assert harmed.low <= harmed.change <= harmed.high < 0
        assert harmed.change == pytest.approx(harmed.value - harmed.baseline)
        assert harmed.shown and harmed.moved > 0.1
        assert (harmless.change, harmless.shown) == (0.0, False)
        assert harmless.meaning == "no effect can be shown on 48 samples"
    assert not any(model.attention_tap._forward_hooks)


def test_a_row_is_the_difference_of_two_evaluations() -> None:
    model = SoundScorer()
    row = study(model, interventions=["neutral"], scopes=["all"]).rows[0]
    shut = torch.where(TASK.mask, TASK.picture, -torch.inf).argmax(1) == TASK.target
    assert row.value == pytest.approx(100 * float(shut.double().mean()))
    assert (row.samples, row.groups) == (48, 16)
    assert row.where == "all gates"
    assert row.sentence == (
        f"Putting all gates at neutral changes hit by {row.change:+.2f} points"
        f" (95 % CI {row.low:+.2f} to {row.high:+.2f}): the model relies on what they let through."
    )


def test_what_cannot_be_done_says_why() -> None:
    table = study(SoundScorer(), interventions=["shuffle_time"], scopes=["all", "kind"])
    row = table.row("shuffle_time", kind="ffn")
    assert row is not None and not row.applicable
    assert math.isnan(row.change)
    assert row.sentence == "Shuffling the ffn gates over time: not applicable, it gives no values along time."
    partly = table.row("shuffle_time")
    assert partly is not None and partly.applicable
    assert partly.sentence.startswith("Shuffling all gates over time (1 of 2 n/a) changes hit by -")


def test_a_gate_that_stands_there_already_is_told_from_one_without_effect() -> None:
    row = study(SoundScorer(gain=0.0), interventions=["neutral"], scopes=["all"]).rows[0]
    assert (row.moved, row.meaning) == (0.0, "they stand there already, so nothing could change")


def test_a_failing_evaluation_costs_its_own_rows_alone() -> None:
    model = SoundScorer()

    def evaluate() -> Outcomes:
        outcomes = TASK.outcomes(model)
        if outcomes.figures["hit"].mean() < 30:  # as where predictions become NaN
            raise DataError("predicted windows holds NaN")
        return outcomes

    table = compare_interventions(evaluate, model, StudyOptions(["neutral", "mean"], ["all"]))
    neutral, mean = table.rows
    assert (neutral.applicable, mean.applicable) == (False, True)
    assert neutral.meaning == "the evaluation failed: predicted windows holds NaN"


def test_metrics_are_ones_choice_and_missing_figures_are_left_out() -> None:
    table = study(SoundScorer(), interventions=["neutral"], scopes=["all"], metrics=["odd/hit", "MeanR"])
    odd, rank = table.rows
    assert (odd.samples, odd.change < 0) == (24, True)
    assert rank.change > 0
    assert rank.meaning == "the model relies on what they let through"  # a higher rank is worse
    assert " ranks (95 % CI +" in rank.sentence
    with pytest.raises(ConfigError, match="metric 'hits' has no figures of single samples; did you mean 'hit'"):
        study(SoundScorer(), metrics=["hits"])


def test_shuffles_repeat_themselves_by_seed() -> None:
    first, again, other = (
        study(SoundScorer(), interventions=["shuffle_samples"], scopes=["all"], seed=seed).rows[0] for seed in (0, 0, 5)
    )
    assert first == again
    assert first.moved != other.moved


class Reversed(Hold):
    name = "reversed"

    def level(self, name: str, tap: GateTap) -> float:
        return -1.0


def test_an_intervention_of_ones_own_takes_part() -> None:
    row = study(SoundScorer(), interventions=[Reversed()], scopes=["all"]).rows[0]
    assert row.change < -90
    assert row.sentence.startswith("reversed on all gates changes hit by -")
    assert row.meaning == "the model gets worse"


def test_scopes_act_on_the_same_gates_once() -> None:
    taps = {
        f"{kind}.{layer}": GateTap(kind, 0.0, 1.0, layer=layer) for layer in (0, 1) for kind in ("attention", "ffn")
    }
    found = [(scope.kind, scope.layer, len(scope.names)) for scope in gate_scopes(taps)]
    assert found == [
        (None, None, 4),
        ("attention", None, 2),
        ("ffn", None, 2),
        (None, 0, 2),
        (None, 1, 2),
        ("attention", 0, 1),
        ("ffn", 0, 1),
        ("attention", 1, 1),
        ("ffn", 1, 1),
    ]
    one_layer = {"gate": GateTap("image", 0.0, 1.0), "delta": GateTap("delta", -1.0, 1.0)}
    assert [(scope.kind, scope.layer) for scope in gate_scopes(one_layer)] == [
        (None, None),
        ("image", None),
        ("delta", None),
    ]


def test_wrong_requests_are_refused() -> None:
    with pytest.raises(ConfigError, match="intervention 'nuetral' is unknown; did you mean 'neutral'"):
        StudyOptions(interventions=["nuetral"])
    with pytest.raises(ConfigError, match="scope 'layers' is unknown; did you mean 'layer'"):
        StudyOptions(scopes=["layers"])
    with pytest.raises(ConfigError, match="no intervention or no scope"):
        StudyOptions(interventions=[])
    with pytest.raises(ConfigError, match="Linear has no gates"):
        compare_interventions(lambda: TASK.outcomes(SoundScorer()), nn.Linear(1, 1))


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatefuse_plugins.analysis.gates.intervention_study.get_world_size", lambda: 2)
    with pytest.raises(GatefuseError, match="interventions run in one process, and this is one of 2"):
        study(SoundScorer())


def test_the_table_is_written_as_markdown_and_json(tmp_path: Path) -> None:
    table = study(SoundScorer(), scopes=["kind"])
    paths = table.write(tmp_path / "out")
    assert [path.name for path in paths] == ["interventions.md", "interventions.json"]
    markdown = paths[0].read_text()
    assert "48 samples in 16 groups" in markdown
    assert "| shuffle_time | ffn gates | n/a | n/a | n/a | n/a | it gives no values along time |" in markdown
    assert markdown.count("| neutral | ") == 2
    stored = json.loads(paths[1].read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert len(stored["rows"]) == 10
    assert stored["rows"][0]["metric"] == "hit"
    assert stored["rows"][-1]["change"] is None


def test_sentences_read_well() -> None:
    assert deed("shuffle_samples", None, None) == "Giving every sample the gates of another one"
    assert deed("mean", "attention", 0) == "Freezing the attention gates of layer 0 at their mean"
    better, alone = Interval(3.0, 1.0, 5.0, 10, 10), Interval(3.0, math.nan, math.nan, 10, 1)
    assert meaning("mean", "mAP", better) == "their variation does harm"
    assert meaning("mean", "mAP", alone) == "one sample or group alone says nothing of others"
    assert change_words("mAP", alone, "") == "mAP by +3.000"
    assert change_words("MR-full-R1@0.7", Interval(-1e-9, -1.0, 0.5, 10, 10), "points") == (
        "MR-full-R1@0.7 by +0.00 points (95 % CI -1.00 to +0.50)"
    )


class MomentHost(nn.Module):
    """Scores clips by :class:`SoundScorer`, and gives the best one as its window."""

    text_conditioned = False

    def __init__(self) -> None:
        super().__init__()
        self.fusion = SoundScorer()

    def test_step(self, batch: dict[str, Tensor]) -> list[dict[str, Any]]:
        rows = batch["sample_index"]
        scores = self.fusion(TASK.picture[rows], TASK.sound[rows], TASK.agreement[rows], batch["video_mask"])
        best = scores.argmax(1).tolist()
        return [
            {
                "sample_index": rows,
                "windows": [np.array([[2.0 * clip, 2.0 * clip + 2, 1.0]]) for clip in best],
                "saliency": [one[one.isfinite()].numpy() for one in scores],
            }
        ]


def moment_runner(folder: Path) -> Any:
    """What :func:`run_interventions` needs of a Runner, over embedded events in ``folder``."""
    annotations = [
        {
            "qid": row,
            "vid": f"v{row}",
            "query": "",
            "duration": 2.0 * int(TASK.mask[row].sum()),
            "relevant_windows": [[2.0 * clip, 2.0 * clip + 2]],
            "relevant_clip_ids": [clip],
            "saliency_scores": [[4, 4, 4]],
            "query_kind": "sound" if row % 2 else "both",
        }
        for row, clip in enumerate(TASK.target.tolist())
    ]
    known = {f"v{row}": (TASK.agreement[row] < 0)[TASK.mask[row]].int().tolist() for row in range(len(annotations))}
    (folder / "off_topic.json").write_text(json.dumps(known))
    metric = QVHighlightsMetric(submission_file=folder / "submission.jsonl")
    info = {"annotations": annotations, "clip_length": 2.0, "identity": {"embedded": True}}
    metric.dataset_meta = info

    class Batches(list):
        dataset = SimpleNamespace(metainfo=info, data_root=folder)

    rows = torch.arange(len(annotations)).split(20)
    loader = Batches({"sample_index": part, "video_mask": TASK.mask[part]} for part in rows)
    loop = SimpleNamespace(dataloader=loader, evaluator=SimpleNamespace(metrics=[metric]), fp16=False)
    return SimpleNamespace(model=MomentHost().train(), test_loop=loop, test_dataloader=loader)


def test_a_runner_is_studied_without_trace(tmp_path: Path) -> None:
    runner = moment_runner(tmp_path)
    table = run_interventions(runner, StudyOptions(resamples=200))
    assert table.metrics == ("MR-full-R1@0.7", "MR-full-mAP", "HL-min-VeryGood-mAP")
    assert (table.samples, table.groups) == (48, 48)
    row = table.row("neutral")
    assert row is not None and row.change < -50
    (gate,) = table.off_topic  # the FFN gate is scored by sample, and none is off-topic throughout
    assert (gate.gate, gate.auc) == ("fusion.attention_tap", 1.0)
    assert "The attention gates of layer 0 have AUC 1.00: they tell them apart; frozen" in table.off_topic_paragraph
    assert "at their mean they change MR-full-R1@0.7 by -" in table.off_topic_paragraph
    assert not (tmp_path / "submission.jsonl").exists()
    assert runner.model.training
    assert not runner.model.fusion.attention_tap._forward_hooks


def test_pairs_of_text_and_video_are_no_samples_to_shuffle(tmp_path: Path) -> None:
    runner = moment_runner(tmp_path)
    runner.model.text_conditioned = True
    (tmp_path / "off_topic.json").unlink()
    table = run_interventions(runner, StudyOptions(["shuffle_samples", Neutral()], ["all"], metrics=["MR-full-mAP"]))
    shuffled, neutral = table.rows
    assert (shuffled.applicable, shuffled.meaning) == (False, PAIRS)
    assert neutral.applicable
    assert (table.off_topic, table.off_topic_paragraph) == ((), "")
