"""Concatenation of raw audio and video features."""

from __future__ import annotations

import pytest
import torch

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.fusions import Concat
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.registry import FUSIONS

VIDEO = torch.arange(24.0).view(2, 3, 4)
AUDIO = -torch.arange(12.0).view(2, 3, 2)
MASK = torch.tensor([[True, True, True], [True, True, False]])


def test_streams_stand_side_by_side() -> None:
    fusion = FUSIONS.build({"type": "Concat", "video_dim": 4, "audio_dim": 2})
    assert fusion.placement == "input" and fusion.output_dim == 6
    assert torch.equal(fusion(VIDEO, AUDIO), torch.cat([VIDEO, AUDIO], dim=-1))
    assert not list(fusion.parameters()) and not list(gate_taps(fusion))


def test_padding_of_the_audio_is_left_out() -> None:
    spoilt = AUDIO.masked_fill(~MASK[..., None], torch.nan)
    out = Concat(4, 2)(VIDEO, spoilt, x_mask=MASK, context_mask=MASK)
    assert torch.equal(out[MASK], torch.cat([VIDEO, AUDIO], dim=-1)[MASK])
    assert out[1, 2, 4:].tolist() == [0.0, 0.0]


def test_sample_without_audio() -> None:
    heard = MASK.clone()
    heard[1] = False
    with pytest.raises(DataError, match=r"rows 1: .*no_audio='learned'"):
        Concat(4, 2)(VIDEO, AUDIO, x_mask=MASK, context_mask=heard)
    fusion = Concat(4, 2, no_audio="learned")
    torch.nn.init.constant_(fusion.no_audio.state, 0.5)
    out = fusion(VIDEO, AUDIO, x_mask=MASK, context_mask=heard)
    assert torch.equal(out[0], torch.cat([VIDEO, AUDIO], dim=-1)[0])
    assert out[1, :, 4:].tolist() == [[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(DataError, match="audio_dim=2, but the audio features are 3 wide"):
        Concat(4, 2)(VIDEO, torch.zeros(2, 3, 3))
    with pytest.raises(DataError, match="video_dim=5, but the video features are 4 wide"):
        Concat(5, 2)(VIDEO, AUDIO)
    with pytest.raises(DataError, match="differ in samples or clips"):
        Concat(4, 2)(VIDEO, AUDIO[:, :2])
