from __future__ import annotations

import pytest
import torch
from toy_training import ToyModel, build_runner

from gatefuse_plugins.engine.hooks.non_finite_loss import NonFiniteLossHook
from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.errors import NonFiniteLossError


def test_stops_at_the_step_and_keeps_the_last_good_checkpoint(tmp_path):
    runner = build_runner(tmp_path, [NonFiniteLossHook()], ToyModel(nan_at=6), interval=3)
    with pytest.raises(NonFiniteLossError, match=r"step 6: .*loss_fit=nan.*iter_3\.pth"):
        runner.train()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_3.pth"]
    weights = load_resumable(tmp_path / "iter_3.pth")["state_dict"]
    assert all(torch.isfinite(value).all() for value in weights.values())


def test_deferred_check_still_comes_before_a_save(tmp_path):
    """Terms that wait for the next check, as they do on CUDA, are read before anything is written."""
    hook = NonFiniteLossHook(interval=1000)
    runner = build_runner(tmp_path)
    hook._unchecked = [(4, {"loss": torch.tensor(1.0)}), (5, {"loss": torch.tensor(float("inf"))})]
    with pytest.raises(NonFiniteLossError, match=r"step 5: .*loss=inf.*no checkpoint was written yet"):
        hook.before_save_checkpoint(runner, {"state_dict": {}})


def test_bad_weights_are_never_saved(tmp_path):
    runner = build_runner(tmp_path)
    state = {"gate.weight": torch.tensor([1.0, float("nan")]), "steps": torch.tensor(3)}
    with pytest.raises(NonFiniteLossError, match=r"weights of gate.weight \(1 in all\)"):
        NonFiniteLossHook().before_save_checkpoint(runner, {"state_dict": state})
