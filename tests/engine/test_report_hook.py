"""``REPORT.md`` says which gates a run had, wherever they come from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.logging import MMLogger
from torch import nn

from gatefuse_plugins.engine.hooks.report import ReportHook

METRICS = {"config": "configs/leaf.py", "seed": 0, "step": 4, "epoch": 1, "metrics": {"toy/mean": 50.0}}
LAYERS = [
    {"pattern": "encoder.*", "at": "ffn_gate", "gate": {"type": "ResidualGate", "kind": "ffn"}},
    {"pattern": "head", "fusion": {"type": "GatedCrossAttention"}},
]
INJECTED = ["- injected, `encoder.*` at ffn_gate: ResidualGate", "- injected, `head`: GatedCrossAttention"]


class Host(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fusion = nn.Module()
        self.fusion.alpha = nn.Parameter(torch.tensor([0.25]))


def fusion_section(work_dir: Path, model: nn.Module, config: dict) -> list[str] | None:
    """Lines of the section on fusion, None where the page has none."""
    (work_dir / "metrics.json").write_text(json.dumps(METRICS))
    cfg, logger = ConfigDict(model=config), MMLogger.get_instance("report")
    ReportHook().after_run(SimpleNamespace(work_dir=work_dir, cfg=cfg, model=model, logger=logger))
    _, found, rest = (work_dir / "REPORT.md").read_text().partition("## Fusion\n\n")
    return rest.split("\n\n")[0].strip().splitlines() if found else None


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"type": "A"}, None),
        ({"fusion": None}, ["None: the ungated arm."]),
        ({"fusion": None, "injection": LAYERS}, INJECTED),
        ({"injection": LAYERS}, INJECTED),
        ({"fusion": {"type": "Concat"}, "injection": LAYERS}, ["- type: Concat", *INJECTED]),
    ],
)
def test_gates_by_fusion_and_by_injection(tmp_path: Path, config: dict, expected: list[str] | None) -> None:
    assert fusion_section(tmp_path, nn.Identity(), config) == expected


def test_learned_alpha_stands_beside_its_settings(tmp_path: Path) -> None:
    config = {"fusion": {"type": "TextGuidedImageFusion", "strategy": "residual"}}
    assert fusion_section(tmp_path, Host(), config) == [
        "- type: TextGuidedImageFusion",
        "- strategy: residual",
        "- learned fusion.alpha: 0.2500",
    ]
