"""An evaluation that does not call the model under study."""

from __future__ import annotations

import copy
import math

import pytest
from health_models import SoundScorer, sound_task

from gatefuse_plugins.analysis.gates.intervention_options import StudyOptions
from gatefuse_plugins.analysis.gates.intervention_study import compare_interventions


def test_an_evaluation_of_another_model_measures_nothing() -> None:
    model, task = SoundScorer(), sound_task()
    other = copy.deepcopy(model)
    options = StudyOptions(["neutral", "mean"], scopes=["all"], resamples=20)
    with pytest.warns(UserWarning, match="no value passed any of 2 gates"):
        neutral, mean = compare_interventions(lambda: task.outcomes(other), model, options).rows
    assert not neutral.applicable and math.isnan(neutral.change)
    assert "no value passed any of 2 gates; it seems to call another model" in neutral.sentence
    assert not mean.applicable and "no value passed it in the first pass" in mean.sentence
