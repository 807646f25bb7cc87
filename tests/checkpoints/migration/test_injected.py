"""Configs that inject gates into a host are migrated to and from like any other; the file itself tells its config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import honest_files as files
import pytest
import torch
from mmengine.config import Config
from torch import Tensor

from gatefuse_plugins.checkpoints.migration import (
    compare_files,
    export_gates,
    inspect,
    load_from_any,
    make_plan,
    migrate,
    open_source,
    to_upstream,
)
from gatefuse_plugins.checkpoints.migration.families import family_of
from gatefuse_plugins.checkpoints.migration.saved_config import model_of_text, modern
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError, ConfigError

LAYER = "Qformer.bert.encoder.layer"
CROSS = {"pattern": f"{LAYER}.*.crossattention.output.dense", "gate": {"type": "ResidualGate"}}
QUERY = {"pattern": f"{LAYER}.*.output_query.dense", "gate": {"type": "ResidualGate", "kind": "ffn"}}
CLIPWISE = {"type": "ResidualGate", "granularity": "clipwise"}


def trained(folder: Path, config: dict[str, Any], old: Path, how: str = "migrated") -> Path:
    """A checkpoint of ``config`` whose gates have left their start; it tells its config, or does not."""
    made = migrate(make_plan(old, config), folder / "made.pth")
    content = torch.load(made.path, weights_only=False)
    generator = torch.Generator().manual_seed(1)
    for name, tensor in content["state_dict"].items():
        if "_gate." in name or "gatefuse_injection" in name:
            tensor += 0.3 * torch.randn(tensor.shape, generator=generator)
    if how == "trained":
        text = Config({"model": config, "lr": 1e-4, "hooks": [{"type": "A"}]}).pretty_text
        content = {"meta": {"cfg": text, "epoch": 2}, "state_dict": content["state_dict"]}
    elif how == "bare":
        content = {"model": content["state_dict"]}
    path = folder / f"{how}.pth"
    torch.save(content, path)
    return path


def test_the_plan_names_every_insert(tmp_path: Path) -> None:
    config = files.injected(files.COMPOSED, CROSS, QUERY)
    plan = make_plan(files.sprc(tmp_path / "old.pt"), config)
    assert plan.faults == []
    assert {row.new for row in plan.named("new")} == {
        f"gatefuse_injection.inserts.Qformer/bert/encoder/layer/{place}/output.raw"
        for place in (
            *("0/crossattention/output/dense", "2/crossattention/output/dense"),
            *(f"{layer}/output_query/dense" for layer in range(4)),
        )
    }


@pytest.mark.parametrize("how", ["migrated", "trained", "bare"])
def test_trained_gates_stay_and_more_are_added(tmp_path: Path, how: str) -> None:
    old = trained(tmp_path, files.injected(files.COMPOSED, CROSS), files.sprc(tmp_path / "old.pt"), how)
    config = files.injected(files.COMPOSED, CROSS, QUERY)
    result = migrate(make_plan(old, config), tmp_path / "new.safetensors")
    assert result.counts["new"] == 4
    assert result.comparison is not None
    assert result.comparison.largest == 0
    without = compare_files(tmp_path / "old.pt", result.path)
    assert not without.equal, "the trained gates do nothing, so the comparison above proves nothing"


def test_slots_of_equal_shapes_are_told_by_the_file(tmp_path: Path) -> None:
    """A pooled and a clipwise head have equal shapes: the recorded config decides, else it would have to be guessed."""
    rule = files.slot("transformer.encoder.layers.*", "ffn", granularity="clipwise")
    config = files.injected(files.moments(), rule)
    old = trained(tmp_path, config, files.qd_detr(tmp_path / "old.ckpt"), "trained")
    found = inspect(old).identity
    assert (found.origin, list(found.injection or ())) == ("gatefuse", [rule])
    assert "attention heads" not in " ".join(found.undecided)
    result = migrate(make_plan(old, files.injected(files.moments(files.AVIGATE_CUSTOM), rule)), tmp_path / "n.pth")
    assert result.comparison is not None
    assert result.comparison.largest == 0


def test_giving_gates_up_takes_a_request_and_is_measured(tmp_path: Path) -> None:
    old = trained(tmp_path, files.injected(files.COMPOSED, CROSS), files.sprc(tmp_path / "old.pt"))
    assert "--drop 'gatefuse_injection.**'" in "\n".join(make_plan(old, files.COMPOSED).faults)
    plan = make_plan(old, files.COMPOSED, drop=["gatefuse_injection.**"])
    assert plan.faults == []
    result = migrate(plan, tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert result.comparison.largest > 1e-3


def test_inserts_that_only_a_config_can_tell(tmp_path: Path) -> None:
    fusion = {"type": "GatedFeedForward"}
    rule = {"pattern": f"{LAYER}.*.output_query.dense", "gate": fusion}
    config = files.injected(files.COMPOSED, rule)
    old = trained(tmp_path, config, files.sprc(tmp_path / "old.pt"), "bare")
    found = inspect(old).identity
    assert found.injection is None
    assert any("injected into the layers" in fact for fact in found.undecided)
    result = migrate(make_plan(old, config), tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert result.comparison.largest == 0


def test_scalar_gates_of_linear_maps_go_back_to_upstream(tmp_path: Path) -> None:
    old = files.sprc(tmp_path / "old.pt")
    gated = trained(tmp_path, files.injected(files.COMPOSED, CROSS, QUERY), old)
    result = to_upstream(gated, tmp_path / "back.pt")
    assert result.comparison is not None
    assert result.comparison.equal
    assert "6 gates of one number multiplied into the weights" in result.notes
    gates, state, before = (read_checkpoint(path).state_dict for path in (gated, result.path, old))
    assert {name for name in state if "position_ids" not in name} == {
        name for name in before if "position_ids" not in name
    }
    name = f"{LAYER}.2.crossattention.output.dense.bias"
    raw = gates[f"gatefuse_injection.inserts.{name.removesuffix('.bias').replace('.', '/')}/output.raw"]
    torch.testing.assert_close(state[name], before[name] * (1 + raw.tanh().squeeze()))


def test_other_gates_cannot_go_back(tmp_path: Path) -> None:
    config = files.injected(files.COMPOSED, {**CROSS, "gate": CLIPWISE})
    gated = trained(tmp_path, config, files.sprc(tmp_path / "old.pt"))
    with pytest.raises(CheckpointError, match="gates that are not one number a layer"):
        to_upstream(gated, tmp_path / "back.pt")


def test_gates_are_exported_without_a_config(tmp_path: Path) -> None:
    gated = trained(tmp_path, files.injected(files.COMPOSED, CROSS), files.sprc(tmp_path / "old.pt"), "trained")
    names = set(read_checkpoint(export_gates(gated, tmp_path / "g.safetensors").path).state_dict)
    assert {name.rpartition("/")[0].rpartition("layer/")[2] for name in names} == {
        "0/crossattention/output/dense",
        "2/crossattention/output/dense",
    }


def test_into_a_live_model(tmp_path: Path) -> None:
    config = files.injected(files.COMPOSED, CROSS)
    model = family_of(config).runnable(config)
    report = load_from_any(model, files.sprc(tmp_path / "old.pt"), config)
    assert "2 new" in report


def test_rules_for_a_frozen_encoder_say_what_to_do(tmp_path: Path) -> None:
    config = files.injected(files.COMPOSED, {"pattern": "visual_encoder.blocks.*", "gate": CLIPWISE})
    with pytest.raises(ConfigError, match=r"model\.injection\.0: .* lies in visual_encoder, .* inject afterwards"):
        make_plan(files.sprc(tmp_path / "old.pt"), config)
    with pytest.raises(ConfigError, match=r"model\.host 'QDDETRR': .* did you mean 'QDDETR'"):
        make_plan(files.sprc(tmp_path / "old.pt"), {**config, "host": "QDDETRR"})


def test_early_configs_with_layer_gates_are_understood(tmp_path: Path) -> None:
    rule = {"pattern": "transformer.encoder.layers.*", "branch": "ffn", "gate": {"granularity": "clipwise"}}
    expected = files.slot(rule["pattern"], "ffn", kind="ffn", granularity="clipwise")
    early = files.moments(layer_gates=[rule])
    assert modern(early) == files.injected(files.moments(), expected)
    assert modern(files.moments(layer_gates=[])) == files.moments()
    state: dict[str, Tensor] = family_of(modern(early)).starting(modern(early), 0).state_dict()
    text = Config({"model": early}).pretty_text
    torch.save({"meta": {"cfg": text}, "state_dict": state}, tmp_path / "early.pth")
    source = open_source(tmp_path / "early.pth")
    assert source.model == modern(early)
    assert make_plan(source, source.model).counts() == {"kept": len(state)}


@pytest.mark.parametrize(
    "text",
    [
        *("", "model = __import__('os').system('touch sentinel')", "model = dict(a=open('sentinel', 'w'))"),
        *("model = dict(**{'a': 1})", "model = [1]", "model = dict(a=b)", "x = 1", "model = dict(", "(" * 10_000),
        *("-" * 200_000 + "1", "model = dict(a=1)\n" + "#" * (1 << 20), 3, None),
    ],
)
def test_texts_of_configs_that_tell_nothing(text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert model_of_text(text) == {}
    assert not list(tmp_path.iterdir())


def test_text_of_a_config_is_read_as_data() -> None:
    text = "a = 1\nmodel = dict(type='QDDETR', n=-1, f=dict(g=[1, (2.5, None)], h={'x': True}))\n"
    assert model_of_text(text) == {"type": "QDDETR", "n": -1, "f": {"g": [1, [2.5, None]], "h": {"x": True}}}
