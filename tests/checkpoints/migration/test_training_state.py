"""Training goes on after a migration: moments follow their parameters, new ones start fresh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration import make_plan, migrate
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.engine.resume import load_resumable
from gatefuse_plugins.errors import CheckpointError

CUSTOM = files.AVIGATE_CUSTOM
TRAINING = {
    "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": 1e-4, "weight_decay": 1e-4}},
    "param_scheduler": [{"type": "StepLR", "step_size": 5, "gamma": 0.1, "by_epoch": True}],
}


def upstream_run(path: Path, kind: str = "video", epochs: int = 8, drop: int = 400) -> dict[str, Any]:
    """An upstream checkpoint after training, whose moments are told apart by their numbers."""
    files.qd_detr(path, kind)
    content = torch.load(path, weights_only=False)
    parameters = [nn.Parameter(tensor) for tensor in content["model"].values()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, drop)
    for number, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, 0.001 * (number + 1))
    for _epoch in range(epochs):
        optimizer.step()
        schedule.step()
    content |= {"optimizer": optimizer.state_dict(), "lr_scheduler": schedule.state_dict(), "epoch": epochs - 1}
    torch.save(content, path)
    return content


def resumed(path: Path, config: dict[str, Any]) -> tuple[dict[str, Any], nn.Module, Any]:
    """The checkpoint, and a model and optimizer that took it over as mmengine's resume does."""
    content = load_resumable(path)
    model = family_of(config).starting(config, 1)
    model.load_state_dict(content["state_dict"])
    wrapper = build_optim_wrapper(model, TRAINING["optim_wrapper"])
    wrapper.load_state_dict(content["optimizer"])
    return content, model, wrapper


def test_moments_follow_their_parameters_and_new_ones_start_fresh(tmp_path: Path) -> None:
    old = upstream_run(tmp_path / "old.ckpt")
    config = files.moments(CUSTOM)
    result = migrate(make_plan(tmp_path / "old.ckpt", config), tmp_path / "new.pth", training=TRAINING)
    content, model, wrapper = resumed(tmp_path / "new.pth", config)
    expected = {name: old["optimizer"]["state"][i]["exp_avg"] for i, name in enumerate(old["model"])}
    found: dict[str, Tensor] = {
        name: wrapper.optimizer.state[parameter]["exp_avg"]
        for name, parameter in model.named_parameters()
        if parameter in wrapper.optimizer.state
    }
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (content["meta"]["epoch"], content["meta"]["iter"]) == (8, 8)
    assert any("178 parameters travel; 86 new ones start fresh" in note for note in result.notes)


def test_the_schedule_goes_on_at_its_epoch(tmp_path: Path) -> None:
    upstream_run(tmp_path / "old.ckpt")
    config = files.moments()
    migrate(make_plan(tmp_path / "old.ckpt", config), tmp_path / "new.pth", training=TRAINING)
    content = load_resumable(tmp_path / "new.pth")
    (schedule,) = content["param_schedulers"]
    assert schedule["last_step"] == 8
    assert schedule["_last_value"] == pytest.approx([1e-5])
    by_iteration = {**TRAINING, "param_scheduler": [{"type": "StepLR", "step_size": 5, "by_epoch": False}]}
    with pytest.raises(CheckpointError, match="counts iterations"):
        migrate(make_plan(tmp_path / "old.ckpt", config), tmp_path / "other.pth", training=by_iteration)
    assert not (tmp_path / "other.pth").exists()


def test_moments_are_cut_with_their_parameters(tmp_path: Path) -> None:
    old = upstream_run(tmp_path / "old.ckpt", "audio")
    config = files.moments(CUSTOM)
    plan = make_plan(tmp_path / "old.ckpt", config, allow_inexact=True)
    migrate(plan, tmp_path / "new.pth", training=TRAINING)
    _content, model, wrapper = resumed(tmp_path / "new.pth", config)
    moments = old["optimizer"]["state"][list(old["model"]).index("input_vid_proj.0.net.1.weight")]["exp_avg_sq"]
    parameters = dict(model.named_parameters())
    for name, columns in (("input_vid_proj", moments[:, :20]), ("input_aud_proj", moments[:, 20:])):
        found = wrapper.optimizer.state[parameters[f"{name}.0.net.1.weight"]]["exp_avg_sq"]
        assert torch.equal(found, columns)


def test_a_resumed_step_is_that_of_the_old_run(tmp_path: Path) -> None:
    """The next step from a migrated file moves old parameters as the old optimizer would have moved them."""
    old = upstream_run(tmp_path / "old.ckpt")
    config = files.moments(CUSTOM)
    migrate(make_plan(tmp_path / "old.ckpt", config), tmp_path / "new.pth", training=TRAINING)
    _content, model, wrapper = resumed(tmp_path / "new.pth", config)
    parameters = [nn.Parameter(tensor.clone()) for tensor in old["model"].values()]
    optimizer = torch.optim.AdamW(parameters)
    optimizer.load_state_dict(old["optimizer"])
    ours = dict(model.named_parameters())
    for parameter in [*parameters, *ours.values()]:
        parameter.grad = torch.full_like(parameter, 0.01)
    optimizer.step()
    wrapper.optimizer.step()
    assert all(torch.equal(ours[name], value) for name, value in zip(old["model"], parameters, strict=True))


def test_state_of_other_parameters_or_another_optimizer_is_refused(tmp_path: Path) -> None:
    content = upstream_run(tmp_path / "old.ckpt")
    plan = make_plan(tmp_path / "old.ckpt", files.moments())
    other = {**TRAINING, "optim_wrapper": {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}}
    with pytest.raises(CheckpointError, match=r"keeps exp_avg, exp_avg_sq, step, a SGD"):
        migrate(plan, tmp_path / "new.pth", verify=False, training=other)
    content["optimizer"]["param_groups"][0]["params"].pop()
    torch.save(content, tmp_path / "old.ckpt")
    plan = make_plan(tmp_path / "old.ckpt", files.moments())
    with pytest.raises(CheckpointError, match="holds 177 parameters, its model 178"):
        migrate(plan, tmp_path / "new.pth", verify=False, training=TRAINING)
    assert not (tmp_path / "new.pth").exists()


def own_run(path: Path, config: dict[str, Any]) -> tuple[nn.Module, Any]:
    """A checkpoint of our own training after one step, as mmengine writes it."""
    model = family_of(config).starting(config, 0)
    wrapper = build_optim_wrapper(model, TRAINING["optim_wrapper"])
    for number, parameter in enumerate(model.parameters()):
        parameter.grad = torch.full_like(parameter, 0.001 * (number + 1)) if parameter.requires_grad else None
    wrapper.optimizer.step()
    hub = MessageHub("migration test")
    hub.update_scalar("train/loss", 0.5)
    schedule = {"last_step": 3, "_global_step": 4, "step_size": 5, "gamma": 0.1, "by_epoch": True}
    content = {
        "meta": {"epoch": 3, "iter": 21, "seed": 4, "dataset_identity": {"name": "events"}, "cfg": "not needed"},
        "state_dict": model.state_dict(),
        "optimizer": wrapper.optimizer.state_dict(),
        "param_schedulers": [schedule],
        "message_hub": hub.state_dict(),
    }
    torch.save(content, path)
    return model, wrapper


def test_our_own_training_goes_on_with_new_gates(tmp_path: Path) -> None:
    config = files.moments({"type": "QueryAwareTemporalGate"})
    old, before = own_run(tmp_path / "epoch_3.pth", config)
    gated = files.injected(config, files.slot("transformer.t2v_encoder.layers.*", "ffn"))
    migrate(make_plan(tmp_path / "epoch_3.pth", gated), tmp_path / "new.pth", training=TRAINING)
    content, model, after = resumed(tmp_path / "new.pth", gated)
    expected = {name: before.optimizer.state.get(parameter) for name, parameter in old.named_parameters()}
    for name, parameter in model.named_parameters():
        entry = after.optimizer.state.get(parameter)
        assert bool(entry) == bool(expected.get(name)), name
        assert not entry or torch.equal(entry["exp_avg"], expected[name]["exp_avg"])
    kept = {"epoch": 3, "iter": 21, "seed": 4, "dataset_identity": {"name": "events"}}
    assert kept.items() <= content["meta"].items()
    assert content["message_hub"]["log_scalars"]["train/loss"].current() == 0.5
    assert content["param_schedulers"][0]["last_step"] == 3


def test_groups_of_their_own_for_gates_keep_their_options(tmp_path: Path) -> None:
    """Where a config gives the fusion another learning rate, old parameters keep theirs and new ones get that."""
    upstream_run(tmp_path / "old.ckpt")
    optimizer = {"type": "AdamW", "lr": 5e-4}
    wrapper = {
        "type": "OptimWrapper",
        "optimizer": optimizer,
        "paramwise_cfg": {"custom_keys": {"fusion": {"lr_mult": 2}}},
    }
    config = files.moments(CUSTOM)
    training = {**TRAINING, "optim_wrapper": wrapper}
    migrate(make_plan(tmp_path / "old.ckpt", config), tmp_path / "new.pth", verify=False, training=training)
    groups = load_resumable(tmp_path / "new.pth")["optimizer"]["param_groups"]
    parameters = family_of(config).skeleton(config).named_parameters()
    names = [name for name, parameter in parameters if parameter.requires_grad]  # mmengine leaves the others out
    rates = {names[number]: group["lr"] for group in groups for number in group["params"]}
    assert sorted(number for group in groups for number in group["params"]) == list(range(len(names)))
    assert rates["class_embed.bias"] == 1e-4
    assert rates["fusion.fusion_layers.0.ffn1.0.weight"] == 1e-3


def test_weights_alone_leave_the_training_state_and_say_so(tmp_path: Path) -> None:
    upstream_run(tmp_path / "old.ckpt")
    plan = make_plan(tmp_path / "old.ckpt", files.moments())
    result = migrate(plan, tmp_path / "new.safetensors", verify=False)
    assert result.notes == ["optimizer, lr_scheduler stayed behind; --out NAME.pth takes what resuming needs"]


def test_an_own_run_with_groups_leaves_frozen_parameters_out(tmp_path: Path) -> None:
    """With options by group mmengine numbers trained parameters only."""
    config = files.moments()
    model, _wrapper = own_run(tmp_path / "old.pth", config)
    content = torch.load(tmp_path / "old.pth", weights_only=False)
    frozen = {index for index, parameter in enumerate(model.parameters()) if not parameter.requires_grad}
    assert len(frozen) == 3
    numbers = {old: new for new, old in enumerate(i for i in range(len(list(model.parameters()))) if i not in frozen)}
    optimizer = content["optimizer"]
    optimizer["state"] = {numbers[old]: entry for old, entry in optimizer["state"].items()}
    optimizer["param_groups"][0]["params"] = list(numbers.values())
    torch.save(content, tmp_path / "old.pth")
    migrate(make_plan(tmp_path / "old.pth", config), tmp_path / "new.pth", verify=False, training=TRAINING)
    _content, new, wrapper = resumed(tmp_path / "new.pth", config)
    for number, parameter in enumerate(new.parameters()):
        entry = wrapper.optimizer.state.get(parameter)
        assert (entry is None) == (number in frozen)
        assert entry is None or torch.equal(entry["exp_avg"], optimizer["state"][numbers[number]]["exp_avg"])
