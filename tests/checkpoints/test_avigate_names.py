"""Encoders under CLIP4Clip's names find their place, or are left out and reported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.avigate import with_our_names
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.hosts.avigate import AVIGATE, build_avigate
from gatefuse_plugins.launch_setup import load_weights


def host(**encoders: dict) -> AVIGATE:
    torch.manual_seed(0)
    return build_avigate(
        width=8, num_heads=2, num_query_tokens=3, resampler_layers=1, fusion_layers=1, max_frames=4, **encoders
    )


def upstream(extra: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    return {name: value + 1 for name, value in host().state_dict().items()} | (extra or {})


def test_encoders_that_the_model_lacks_are_left_out_and_reported(tmp_path: Path) -> None:
    clip = {"clip.visual.proj": torch.ones(8, 8), "clip.input_resolution": torch.tensor(224)}
    torch.save({f"module.{name}": value for name, value in upstream(clip).items()}, tmp_path / "pytorch_model.bin.4")
    model = host()
    report = load_weights(model, read_checkpoint(tmp_path / "pytorch_model.bin.4"))
    assert report.dropped["clip.visual.proj"] == "the model has no frame_encoder that it belongs to"
    assert set(report.dropped) == set(clip) and len(report.kept) == len(model.state_dict())
    torch.testing.assert_close(model.query_tokens, host().query_tokens + 1)
    with pytest.raises(CheckpointError, match="clip.visual.prj"):
        load_weights(model, Checkpoint(upstream({"clip.visual.prj": torch.ones(1)}), "avigate"))


def test_encoders_that_the_model_has_are_filled() -> None:
    pytest.importorskip("transformers", reason="CLIP comes through transformers (extra 'lavis')")
    small = {"output_dim": 8, "hidden_dim": 8, "depth": 1, "num_heads": 2, "patch_size": 4, "image_size": 8}
    model = host(frame_encoder={"type": "gatefuse.CLIPFrameEncoder", **small})
    projection = torch.arange(64.0).view(8, 8)
    checkpoint = Checkpoint(upstream({"clip.visual.proj": projection}), "avigate")
    renamed, dropped = with_our_names(checkpoint, model)
    torch.testing.assert_close(renamed.state_dict["frame_encoder.model.visual_projection.weight"], projection.T)
    assert dropped == {}
    with pytest.raises(CheckpointError, match="frame_encoder.model.vision_model"):  # the rest is missing, and said
        load_weights(model, checkpoint)


def test_other_checkpoints_are_left_alone() -> None:
    checkpoint = Checkpoint({"clip.visual.proj": torch.ones(1)}, "mmengine")
    assert with_our_names(checkpoint, host()) == (checkpoint, {})
