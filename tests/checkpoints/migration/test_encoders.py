"""AVIGATE's encoders: renamed, turned and cut by their own tables, and back again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import honest_files as files
import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.migration import make_plan, migrate, to_upstream
from gatefuse_plugins.checkpoints.reader import read_checkpoint

LAYER = "clip.visual.transformer.resblocks.0"
VISUAL = {
    "clip.visual.proj": (6, 4),
    "clip.visual.class_embedding": (6,),
    "clip.visual.ln_pre.weight": (6,),
    "clip.visual.ln_pre.bias": (6,),
    f"{LAYER}.attn.in_proj_weight": (18, 6),
    f"{LAYER}.attn.in_proj_bias": (18,),
    f"{LAYER}.mlp.c_fc.weight": (24, 6),
    f"{LAYER}.mlp.c_fc.bias": (24,),
}
CONFIG: dict[str, Any] = {**files.RETRIEVAL, "frame_encoder": {"type": "CLIPFrames"}}


def checkpoint(path: Path) -> dict[str, Tensor]:
    files.avigate(path)
    state = torch.load(path, weights_only=True)
    state |= files.filled({name: list(shape) for name, shape in VISUAL.items()})
    state |= {"clip.ln_final.weight": torch.ones(4), "clip.vocab_size": torch.tensor(9)}
    torch.save(state, path)
    return state


def test_renamed_turned_and_cut(tmp_path: Path) -> None:
    old = checkpoint(tmp_path / "old.bin")
    plan = make_plan(tmp_path / "old.bin", CONFIG)
    assert plan.counts() == {"kept": 118, "renamed": 5, "reshaped": 7, "dropped": 2}
    dropped = {row.old: row.note for row in plan.named("dropped")}
    assert "no text_encoder" in dropped["clip.ln_final.weight"]
    written = read_checkpoint(migrate(plan, tmp_path / "new.safetensors").path).state_dict
    layer = "frame_encoder.model.vision_model.encoder.layers.0"
    assert torch.equal(written["frame_encoder.model.visual_projection.weight"], old["clip.visual.proj"].T)
    key = old[f"{LAYER}.attn.in_proj_weight"][6:12]
    assert torch.equal(written[f"{layer}.self_attn.k_proj.weight"], key)
    assert torch.equal(written[f"{layer}.mlp.fc1.bias"], old[f"{LAYER}.mlp.c_fc.bias"])


def test_frozen_weights_are_compared_one_by_one(tmp_path: Path) -> None:
    checkpoint(tmp_path / "old.bin")
    result = migrate(make_plan(tmp_path / "old.bin", CONFIG), tmp_path / "new.safetensors")
    assert result.comparison is not None
    assert result.comparison.frozen == {"frame_encoder": 0}
    assert result.comparison.equal


def test_and_back_again(tmp_path: Path) -> None:
    old = checkpoint(tmp_path / "old.bin")
    made = migrate(make_plan(tmp_path / "old.bin", CONFIG), tmp_path / "new.safetensors")
    back = read_checkpoint(to_upstream(made.path, tmp_path / "back.bin").path).state_dict
    expected = {name: tensor for name, tensor in old.items() if name not in ("clip.ln_final.weight", "clip.vocab_size")}
    assert set(back) == set(expected)
    assert all(torch.equal(back[name], tensor) for name, tensor in expected.items())


def test_an_encoder_that_the_config_does_not_have_is_a_conflict(tmp_path: Path) -> None:
    checkpoint(tmp_path / "old.bin")
    plan = make_plan(tmp_path / "old.bin", {**files.RETRIEVAL, "frame_encoder": {"type": "TinyFrameEncoder"}})
    assert "the config's frame_encoder is another encoder: there is no frame_encoder.model" in "\n".join(plan.faults)
