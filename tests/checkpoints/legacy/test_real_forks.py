"""The forks' own code, where an environment variable names a checkout of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import torch
from foreign_models import moment_inputs

from gatefuse_plugins.checkpoints.legacy import adapt_legacy_model
from gatefuse_plugins.recording.recorder import record_gates


@pytest.fixture
def checkout(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A real checkout named by an environment variable, importable for the length of the test."""
    path = os.environ.get(request.param)
    if not path:
        pytest.skip(f"{request.param} names no checkout")
    before = set(sys.modules)
    sys.path.insert(0, path)
    yield Path(path)
    sys.path.remove(path)
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("qd_detr", "modules"):
            del sys.modules[name]


@pytest.mark.parametrize("checkout", ["GATEFUSE_QD_DETR_EXP"], indirect=True)
@pytest.mark.parametrize("gating_type", ["global", "clipwise", "elementwise"])
def test_real_qd_detr_exp(checkout: Path, gating_type: str) -> None:
    stack = import_module("qd_detr.avigate_custom").AVIGATEFusionCustom(8, 8, 8, 2, 2, gating_type=gating_type).eval()
    inputs = [torch.randn(2, 5, 8), torch.randn(2, 5, 8), moment_inputs()["src_vid_mask"]]
    before, given = stack(*inputs), []
    handle = stack.fusion_layers[1].gating_function.register_forward_hook(lambda *hooked: given.append(hooked[2]))
    with adapt_legacy_model(stack), record_gates(stack) as gates:
        assert torch.equal(stack(*inputs), before)
    handle.remove()
    valid = inputs[2].bool() if gating_type != "global" else torch.ones(2, given[0][1].shape[1], dtype=torch.bool)
    figures = gates.summary()["fusion_layers.1.gating_function.ffn_tap"]
    assert figures.mean == pytest.approx(given[0][1][valid].mean().item(), abs=1e-6)


@pytest.mark.parametrize("checkout", ["GATEFUSE_AVIGATE"], indirect=True)
def test_real_avigate(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # what the module imports for downloads and configurations, neither of which happens here
    for name in ("boto3", "botocore", "botocore.exceptions", "requests"):
        monkeypatch.setitem(sys.modules, name, MagicMock())
    if not (checkout / "modules" / "until_config.py").is_file():
        monkeypatch.setitem(sys.modules, "modules.until_config", SimpleNamespace(PretrainedConfig=object))
    transformer = import_module("modules.module_cross").Transformer_Gate(8, 2, 2).eval()
    inputs = (torch.randn(5, 2, 8), torch.randn(3, 2, 8), torch.zeros(2, 5, 3))
    before = transformer(*inputs)
    with adapt_legacy_model(transformer), record_gates(transformer) as gates:
        after = transformer(*inputs)
    assert torch.equal(before[0], after[0])
    for kind, values in (("attention", after[3]), ("ffn", after[4])):
        assert gates.summary()[f"resblocks.1.{kind}_tap"].maximum == values[1].max().item()
