"""Components resolve from anywhere in mmengine's world, by scope."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import nn

from gatefuse_plugins.fusions import TextGuidedImageFusion
from gatefuse_plugins.gates import TanhGate
from gatefuse_plugins.registry import FUSIONS, GATES, MODELS


def test_a_config_with_custom_imports_builds_fusions_and_gates_from_mmengines_root(tmp_path: Path) -> None:
    path = tmp_path / "anyones_config.py"
    path.write_text(
        "custom_imports = dict(imports=['gatefuse_plugins.plugins'])\n"
        "fusion = dict(type='gatefuse.TextGuidedImageFusion', image_dim=8, text_dim=4)\n"
        "gate = dict(type='gatefuse.TanhGate', evidence_dim=4, hidden_dim=3)\n"
    )
    cfg = Config.fromfile(path)
    assert isinstance(MMENGINE_MODELS.build(cfg.fusion), TextGuidedImageFusion)
    assert isinstance(MMENGINE_MODELS.build(cfg.gate), TanhGate)
    assert MMENGINE_HOOKS.get("gatefuse.GateMonitorHook") is not None


def test_a_fusion_is_known_to_its_own_registry_and_to_models() -> None:
    assert FUSIONS.get("TextGuidedImageFusion") is MODELS.get("TextGuidedImageFusion") is TextGuidedImageFusion
    assert GATES.get("TextGuidedImageFusion") is None


def test_a_duplicate_name_raises_and_leaves_the_first_in_place() -> None:
    with pytest.raises(KeyError, match="TanhGate"):
        FUSIONS.register_module(name="TanhGate", module=nn.Identity)
    assert MODELS.get("TanhGate") is TanhGate
    assert "TanhGate" not in FUSIONS.module_dict
