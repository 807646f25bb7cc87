"""Components and a config that the config tests share; the components exist in these tests only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from gatefuse_plugins.config import rules
from gatefuse_plugins.registry import DATASETS, FUSIONS, GATES, MODELS

CONFIG = """
default_scope = 'gatefuse'
data_root = 'data/cirr'
backbone = 'tiny'
backbones = dict(
    tiny=dict(width=32, vision=dict(type='ToyVision', width='${backbones.tiny.width}')),
    large=dict(width=1408, vision=dict(type='ToyVision', width=1408, depth=40)),
)
seed = 0
work_dir = 'work_dirs/${backbone}_${seed}'
model = dict(
    type='ToyHost',
    vision='${backbones.${backbone}.vision}',
    fusion=dict(type='ToyFusion', dim_in='${backbones.${backbone}.width}', text_dim=8),
)
train_dataloader = dict(
    batch_size=2,
    dataset=dict(type='ToySet', root='${data_root}'),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
train_cfg = dict(by_epoch=True, max_epochs=3)
optim_wrapper = dict(optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.98)))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=10, convert_to_iter_based=True)]
default_hooks = dict(logger=dict(type='LoggerHook', interval=5, priority='LOW'))
"""


class ToyVision(nn.Module):
    def __init__(self, width: int, depth: int = 2) -> None:
        super().__init__()


class ToyFusion(nn.Module):
    def __init__(self, dim_in: int, text_dim: int, alpha_init: float = 0.5) -> None:
        super().__init__()


class ToyGate(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()


class ToyHost(nn.Module):
    def __init__(self, vision: dict[str, Any], fusion: dict[str, Any] | None = None) -> None:
        super().__init__()


class ToySet:
    def __init__(self, root: str, split: str = "train") -> None: ...


@pytest.fixture(autouse=True)
def toy_components(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The components above, registered for one test; so are the rules that it declares."""
    homes = ((MODELS, ToyVision), (MODELS, ToyHost), (FUSIONS, ToyFusion), (GATES, ToyGate), (DATASETS, ToySet))
    monkeypatch.setattr(rules, "_RULES", {})
    for registry, component in homes:
        registry.register_module(module=component)
    yield
    for registry, component in homes:
        for holder in {registry, MODELS}:
            holder.module_dict.pop(component.__name__, None)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "leaf.py"
    path.write_text(CONFIG)
    return path
