"""Every fault of a config at once, each with its dotted path and the nearest valid name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, Registry
from torch import nn

from gatefuse_plugins.config import dimension_rule, load_config, validate_config
from gatefuse_plugins.config.signatures import parameters_of
from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.errors import ConfigError


@pytest.fixture
def config(config_file: Path) -> dict[str, Any]:
    return load_config(config_file).to_dict()


def test_a_sound_config_passes(config: dict[str, Any]) -> None:
    assert config_faults(config) == []
    validate_config(Config(config))


def test_all_faults_are_listed_at_once(config: dict[str, Any]) -> None:
    config["data_rot"] = "x"
    config["model"]["fusion"] = {"type": "ToyFusoin", "dim_in": 1}
    config["model"]["vision"] = {"type": "ToyVision", "dept": 3}
    config["train_dataloader"]["dataset"]["splt"] = "val"
    config["default_hooks"]["logger"]["intervall"] = 5
    config["param_scheduler"][0]["type"] = "OneCycle"
    config["train_cfg"]["max_epoch"] = config["train_cfg"].pop("max_epochs")
    faults = config_faults(config)
    expected = [
        "data_rot: unknown top-level key; did you mean 'data_root'",
        "model.vision.dept: ToyVision has no parameter 'dept'; did you mean 'depth'",
        "model.vision.width: missing; ToyVision requires it",
        "model.fusion.type: 'ToyFusoin' is not a registered fusion; did you mean 'ToyFusion'",
        "train_dataloader.dataset.splt: ToySet has no parameter 'splt'; did you mean 'split'?",
        "train_cfg.max_epoch: EpochBasedTrainLoop has no parameter 'max_epoch'; did you mean 'max_epochs'",
        "train_cfg.max_epochs: missing",
        "param_scheduler.0.type: 'OneCycle' is not a registered parameter scheduler; did you mean 'OneCycleLR'",
        "default_hooks.logger.intervall: LoggerHook has no parameter 'intervall'; did you mean 'interval'",
    ]
    assert len(faults) == len(expected)
    for line, beginning in zip(faults, expected, strict=True):
        assert line.startswith(beginning)
    with pytest.raises(ConfigError) as caught:
        validate_config(config)
    assert all(fault in str(caught.value) for fault in faults)
    assert "9 faults" in str(caught.value)


def test_what_lies_below_an_unknown_type_is_still_checked(config: dict[str, Any]) -> None:
    config["model"]["type"] = "ToyHots"
    config["model"]["fusion"]["alpha_int"] = 1
    assert [fault.split(":")[0] for fault in config_faults(config)] == ["model.type", "model.fusion.alpha_int"]


def test_a_component_of_another_kind_is_named(config: dict[str, Any]) -> None:
    config["model"]["fusion"] = {"type": "ToyGate", "dim": 3}
    (fault,) = config_faults(config)
    assert fault.startswith("model.fusion.type: 'ToyGate' is a gate; expected a fusion; valid: ")


def test_the_scope_decides_what_a_bare_name_means(config: dict[str, Any]) -> None:
    config["default_scope"] = "mmengine"
    config["model"]["fusion"]["type"] = "gatefuse.ToyFusion"
    faults = config_faults(config)
    assert "model.type: 'ToyHost' is not a registered model; did you mean 'gatefuse.ToyHost'?" in faults
    assert not any(fault.startswith("model.fusion") for fault in faults)
    config["model"]["_scope_"] = "gatefuse"
    assert not any(fault.startswith("model.") for fault in config_faults(config))


def test_what_builders_fill_in_is_not_missing(config: dict[str, Any]) -> None:
    del config["model"]["fusion"]["text_dim"]  # the host knows it
    assert config_faults(config) == []
    config["default_hooks"]["checkpoint"] = {"type": "CheckpointHook", "save_bset": "cirr/mean"}
    (fault,) = config_faults(config)
    assert fault.startswith("default_hooks.checkpoint.save_bset: CheckpointHook has no parameter 'save_bset'; did you")


def test_a_scope_without_a_registry_of_ours_is_searched(config: dict[str, Any]) -> None:
    config["train_dataloader"]["collate_fn"] = {"type": "gatefuse.identity_collate"}
    child = FUNCTIONS.children.get("gatefuse") or Registry("function", parent=FUNCTIONS, scope="gatefuse")
    if "identity_collate" not in child.module_dict:
        child.register_module(name="identity_collate", module=lambda batch: batch)
    assert config_faults(config) == []
    config["train_dataloader"]["collate_fn"]["type"] = "gatefuse.identity_colate"
    assert "did you mean 'identity_collate'" in config_faults(config)[0]


def test_a_type_object_is_a_fault(config: dict[str, Any]) -> None:
    config["model"]["fusion"]["type"] = nn.Linear
    (fault,) = config_faults(config)
    assert "model.fusion.type" in fault
    assert "expected the registered name as a string" in fault


def test_private_and_documented_variables_pass(config: dict[str, Any]) -> None:
    config.update(_helper=3, dataset_identity={"type": "anything"}, custom_imports={"imports": []})
    assert config_faults(config) == []
    del config["model"]
    assert config_faults(config) == ["model: missing; the Runner needs it"]


def test_dimension_rules_see_node_path_and_root(config: dict[str, Any]) -> None:
    @dimension_rule("ToyFusion")
    def widths_agree(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
        width = root["model"]["vision"]["width"]
        return [f"{path}.dim_in: {node['dim_in']}, expected {width}"] if node["dim_in"] != width else []

    assert config_faults(config) == []
    config["model"]["fusion"].update(type="gatefuse.ToyFusion", dim_in=768)
    assert config_faults(config) == ["model.fusion.dim_in: 768, expected 32"]
    del config["model"]["fusion"]["dim_in"]  # trips the rule, whose cause is reported
    assert config_faults(config) == ["model.fusion.dim_in: missing; ToyFusion requires it"]


def test_a_broken_rule_is_not_swallowed(config: dict[str, Any]) -> None:
    @dimension_rule("ToyFusion")
    def broken(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
        return [node["no_such_key"]]

    with pytest.raises(KeyError, match="no_such_key"):
        config_faults(config)


class _Base:
    def __init__(self, a: int, b: int = 2) -> None: ...


class _HandsOn(_Base):
    def __init__(self, c: int, **kwargs: Any) -> None:
        super().__init__(a=1, **kwargs)


class _UsesKwargs(nn.Module):
    def __init__(self, c: int = 0, **kwargs: Any) -> None:
        super().__init__()


def test_parameters_are_read_through_the_bases() -> None:
    handed_on = parameters_of(_HandsOn)
    assert handed_on.accepted == {"a", "b", "c"}
    assert handed_on.required == {"c"}
    assert not handed_on.open
    assert parameters_of(_UsesKwargs).open
    assert not parameters_of(nn.Identity).required
    assert parameters_of(lambda x, y=1: x).required == {"x"}
