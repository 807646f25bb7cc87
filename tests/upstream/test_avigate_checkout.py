"""AVIGATE's ``modules/module_cross.py``, patched: unchanged without gates, and with them what the host here computes.

    GATEFUSE_AVIGATE=/path/to/AVIGATE-CVPR2025 pytest tests/upstream/test_avigate_checkout.py

Upstream's scripts cannot be started (modules are missing), so this one file is loaded beside stand-ins for the modules
that it imports and does not use here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from real_checkouts import copy_checkout, patch_sets

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.avigate.gated_transformer import GatedFusionTransformer
from gatefuse_plugins.hosts.avigate.options import FusionOptions
from gatefuse_plugins.injection import fusion_context
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.upstream.avigate import extend
from gatefuse_plugins.upstream.changes import apply

WIDTH, HEADS, LAYERS = 16, 2, 3


def load_transformer(checkout: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> type:
    for name, members in {
        "": {},
        "file_utils": {"cached_path": None},
        "until_config": {"PretrainedConfig": object},
    }.items():
        stand_in = ModuleType(package)
        stand_in.__dict__.update(members, __path__=[str(checkout / "modules")])
        monkeypatch.setitem(sys.modules, f"{package}.{name}".rstrip("."), stand_in)
    monkeypatch.setitem(sys.modules, "modules", sys.modules[package])
    monkeypatch.setitem(sys.modules, "modules.until_config", sys.modules[f"{package}.until_config"])
    for name in ("until_module", "module_cross"):
        spec = importlib.util.spec_from_file_location(f"{package}.{name}", checkout / "modules" / f"{name}.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, f"{package}.{name}", module)
        spec.loader.exec_module(module)
    return module.Transformer_Gate


def streams() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    frames, audio, text = (torch.randn(2, n, WIDTH, generator=generator) for n in (4, 3, 5))
    return frames, audio, text, torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]).bool()


def run(model: torch.nn.Module, frames: torch.Tensor, audio: torch.Tensor) -> torch.Tensor:
    mask = torch.zeros(len(frames), frames.shape[1], audio.shape[1])
    return model(frames.transpose(0, 1), audio.transpose(0, 1), mask)[0].transpose(0, 1)


def test_patched_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_transformer(copy_checkout("avigate", tmp_path / "a"), "avigate_before", monkeypatch)
    checkout = copy_checkout("avigate", tmp_path / "b")
    assert apply(checkout, patch_sets()).changed == ("modules/module_cross.py",)
    after = load_transformer(checkout, "avigate_after", monkeypatch)
    frames, audio, text, text_mask = streams()

    torch.manual_seed(0)
    old = before(WIDTH, LAYERS, HEADS)
    torch.manual_seed(0)
    new = after(WIDTH, LAYERS, HEADS)
    assert old.state_dict().keys() == new.state_dict().keys()
    assert torch.equal(run(old, frames, audio), run(new, frames, audio))
    with pytest.raises(ConfigError, match="is not patched"):
        extend(old, layer_decay="fixed")

    extend(new, query_gate="scalar", layer_decay="learnable", decay_ffn=True)
    with pytest.raises(ConfigError, match="is extended already"):
        extend(new, layer_decay="fixed")
    with pytest.raises(ConfigError, match="one query for all heads"):
        extend(after(WIDTH, LAYERS, HEADS), query_gate="headwise")
    options = FusionOptions(query_gate="scalar", layer_decay="learnable", decay_ffn=True, mask_padding=False)
    ours = GatedFusionTransformer(WIDTH, HEADS, LAYERS, options)
    ours.load_state_dict(new.state_dict())
    with fusion_context(text=text, text_mask=text_mask), record_gates(new) as gates:
        steered = run(new, frames, audio)
    torch.testing.assert_close(steered, ours(frames, audio, text, None, text_mask), rtol=1e-5, atol=1e-5)
    assert sum("query_gate" in name for name in gates.summary()) == LAYERS
    torch.testing.assert_close(run(new, frames, audio), ours(frames, audio), rtol=1e-5, atol=1e-5)  # the text-free pass
    assert not torch.allclose(steered, run(new, frames, audio))
    with fusion_context(text=text[:, :, :3]), pytest.raises(DataError, match="expected .batch 2, tokens, 16"):
        run(new, frames, audio)
