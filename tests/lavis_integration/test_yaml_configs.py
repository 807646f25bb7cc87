"""YAML and Python configs of one model are the same model."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

from gatefuse_plugins import plugins  # noqa: F401  registers what the configs name
from gatefuse_plugins.config import load_config
from gatefuse_plugins.injection import load_injection
from gatefuse_plugins.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAVES = ("cirr_gated", "cirr_ungated", "cirr_additive", "cirr_weighted", "cirr_qformer_gates")


def model_section(name: str) -> Any:
    """As LAVIS's own Config lays a file over the shipped YAML of its model type."""
    pytest.importorskip("lavis", reason="needs the extra 'lavis'")
    from lavis.common.config import Config
    from omegaconf import OmegaConf

    import gatefuse_plugins.lavis  # noqa: F401

    return Config.build_model_config(OmegaConf.load(CONFIGS / "lavis" / f"{name}.yaml")).model


def shapes(model: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.state_dict().items()}


def with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """What the parts are built with, keys that stand at their default filled in."""
    filled = {}
    for key, value in options.items():
        if isinstance(value, dict) and "type" in value:
            component = MODELS.get(value["type"])
            parameters = inspect.signature(component).parameters.values()
            defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
            value = {**defaults, **value}
        filled[key] = value
    return filled


@pytest.mark.parametrize("name", LEAVES)
def test_a_lavis_yaml_is_its_python_leaf(name: str) -> None:
    section = model_section(name)
    from gatefuse_plugins.lavis import Blip2CirGated
    from gatefuse_plugins.lavis.config import read_model_config

    python = load_config(CONFIGS / f"{name}.py").model.to_dict()
    read = read_model_config(section)
    kind, host = python.pop("type"), python.pop("host", None)
    assert read.injection == (python.pop("injection") if kind == "Injected" else [])
    assert (host or kind) == "Blip2ComposedRetrieval"
    assert with_defaults(read.parts) == with_defaults(python)
    with DefaultScope.overwrite_default_scope("gatefuse"):
        built = MODELS.build(load_config(CONFIGS / f"{name}.py").model)
    model = Blip2CirGated.from_config(section)
    assert shapes(model) == shapes(built)
    assert model.loss_options == built.loss_options
    model.load_state_dict(built.state_dict())
    images = torch.randn(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    captions = ["make it red", "add a small blue circle"]
    found = model.eval()({"image": images, "target": images.flip(0), "text_input": captions})
    expected = built.eval()(mode="loss", reference=images, target=images.flip(0), caption=captions)
    assert {name: value.item() for name, value in found.items()} == {k: v.item() for k, v in expected.items()}


def test_every_lavis_yaml_is_tested() -> None:
    others = {"cirr_spatial_attention"}  # no leaf of its own; below
    assert {path.stem for path in (CONFIGS / "lavis").glob("*.yaml")} == set(LEAVES) | others


def test_another_fusion_sheds_the_shipped_ones_keys() -> None:
    section = model_section("cirr_spatial_attention")
    from gatefuse_plugins.errors import ConfigError
    from gatefuse_plugins.fusions import TextGuidedSpatialAttention
    from gatefuse_plugins.lavis import Blip2CirGated

    fusion = Blip2CirGated.from_config(section).fusion
    assert isinstance(fusion, TextGuidedSpatialAttention)
    assert fusion.query.out_features == 64
    section.fusion.strategy = "additive"  # not the shipped value: somebody meant it
    with pytest.raises(ConfigError, match=r"model\.fusion\.strategy"):
        Blip2CirGated.from_config(section)


def test_lavis_weights_start_a_model_with_gates(tmp_path: Path) -> None:
    section = model_section("cirr_qformer_gates")
    from gatefuse_plugins.errors import CheckpointError
    from gatefuse_plugins.gates import named_gate_parameters
    from gatefuse_plugins.lavis import Blip2CirGated

    model = Blip2CirGated.from_config(section)
    gates = dict(named_gate_parameters(model))
    assert len(gates) == 4
    plain = {name: value for name, value in model.state_dict().items() if "gatefuse_injection" not in name}
    torch.save({"model": plain}, tmp_path / "start.pth")
    section.load_pretrained, section.pretrained = True, str(tmp_path / "start.pth")
    started = Blip2CirGated.from_config(section)
    assert all(torch.equal(started.state_dict()[name], value) for name, value in plain.items())
    section.load_pretrained, section.load_finetuned, section.finetuned = False, True, str(tmp_path / "start.pth")
    with pytest.raises(CheckpointError, match="gatefuse_injection"):
        Blip2CirGated.from_config(section)


PYTHON_LEAVES = {"blip2_qformer_gates": "cirr_qformer_gates", "qd_detr_layer_gates": "qvhighlights_layer_gates"}
PYTHON_RULES: dict[str, list[dict[str, Any]]] = {
    "blip2_transformers_qformer_gates": [
        {
            "pattern": "encoder.layer.*.crossattention.output.dense",
            "gate": {"type": "ResidualGate", "kind": "attention"},
        },
        {"pattern": "encoder.layer.{0,1,2,3}.output_query.dense", "gate": {"type": "ResidualGate", "kind": "ffn"}},
    ],
    "bert_cross_attention": [
        {
            "pattern": "encoder.layer.{0,1}",
            "fusion": {"type": "GatedCrossAttention", "num_heads": 2},
            "dim": 16,
            "context_dim": 12,
            "context": {"given": "image"},
            "context_mask": {"given": "image_mask"},
        }
    ],
}


# files with a section `fusion`, for --fusion_cfg, are compared in tests/config/test_fusion_files.py
RULE_FILES = [path for path in sorted((CONFIGS / "fusion").glob("*.yaml")) if "injection:" in path.read_text()]


@pytest.mark.parametrize("name", [path.stem for path in RULE_FILES])
def test_yaml_rules_are_the_python_rules(name: str, tmp_path: Path) -> None:
    python = CONFIGS / f"{PYTHON_LEAVES.get(name)}.py"
    if name not in PYTHON_LEAVES:
        python = tmp_path / "rules.py"
        python.write_text(f"injection = {PYTHON_RULES[name]!r}\n")
    assert load_injection(CONFIGS / "fusion" / f"{name}.yaml") == load_injection(python)
