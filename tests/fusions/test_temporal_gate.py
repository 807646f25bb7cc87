"""Query-aware temporal gate: formula, smoothing, what opens it, padding, samples without audio."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions import QueryAwareTemporalGate
from gatefuse_plugins.gates import gate_taps

D = 8
LENGTHS = [6, 4, 1]


def build(**options: Any) -> QueryAwareTemporalGate:
    torch.manual_seed(1)
    fusion = QueryAwareTemporalGate(**{"dim": D, "attention_dim": 4, "window": 3, **options})
    torch.nn.init.normal_(fusion.value.weight)
    torch.nn.init.normal_(fusion.value.bias)
    return fusion


def streams() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    video, audio = torch.randn(2, len(LENGTHS), max(LENGTHS), D, generator=generator)
    text = torch.randn(len(LENGTHS), 5, D, generator=generator)
    return video, audio, text, torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]


def gates_of(fusion: QueryAwareTemporalGate) -> list[Tensor]:
    seen: list[Tensor] = []
    fusion.attention_tap.register_forward_hook(lambda _, __, value: seen.append(value))
    return seen


def identity_projections(fusion: QueryAwareTemporalGate) -> None:
    """Compare the streams themselves."""
    eye = torch.eye(D)
    for layer, weight in (
        (fusion.video_key, eye),
        (fusion.text_key, eye),
        (fusion.audio_query, torch.cat([eye, eye])),
    ):
        layer.weight.data.copy_(weight)


def test_host_is_unchanged_at_step_0_and_the_fusion_learns() -> None:
    video, audio, text, mask = streams()
    fusion = QueryAwareTemporalGate(D)
    out = fusion(video, audio, text, x_mask=mask, context_mask=mask)
    assert torch.equal(out[mask], video[mask])
    out.square().sum().backward()
    assert fusion.value.weight.grad.abs().max() > 0


def test_formula() -> None:
    video, audio, text, _ = streams()
    fusion = build(threshold_init=0.3, temperature_init=0.2)
    for_video, for_text = fusion.audio_query(audio).split(4, dim=-1)
    similarity = (1 + F.cosine_similarity(fusion.video_key(video), for_video, dim=-1)) / 2
    agreement = (1 + F.cosine_similarity(fusion.text_key(text.mean(dim=1))[:, None], for_text, dim=-1)) / 2
    p = similarity * agreement
    # the window starts as the triangle 1 : 2 : 1, renormalised where it reaches beyond the ends
    inner = (p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]) / 4
    smooth = torch.cat([(2 * p[:, :1] + p[:, 1:2]) / 3, inner, (p[:, -2:-1] + 2 * p[:, -1:]) / 3], dim=1)
    gate = torch.sigmoid((smooth - 0.3) / 0.2)[..., None]
    seen = gates_of(fusion)
    torch.testing.assert_close(fusion(video, audio, text), video + gate * fusion.value(audio))
    torch.testing.assert_close(seen[0], gate)


def test_opens_only_where_sound_fits_both_sight_and_query() -> None:
    fusion = build(attention_dim=D, window=1)
    identity_projections(fusion)
    a, b = torch.eye(D)[:2]
    audio = a.expand(1, 4, D)
    video = torch.stack([a, a, -a, -a])[None]
    seen = gates_of(fusion)
    fusion(video, audio, a.expand(1, 1, D))
    fusion(video, audio, -a.expand(1, 1, D))
    fusion(b.expand(1, 4, D), audio, b.expand(1, 1, D))
    fits, contradicts, unrelated = (value.flatten() for value in seen)
    assert fits[:2].min() > 0.99 and fits[2:].max() < 0.1
    assert contradicts.max() < 0.1
    torch.testing.assert_close(unrelated, torch.full((4,), 0.5))


def test_padding_and_batch_mates_change_nothing() -> None:
    video, audio, text, mask = streams()
    fusion = build()
    spoilt = [stream.masked_fill(~mask[..., None], torch.nan) for stream in (video, audio)]
    text_mask = torch.tensor([[True, True, True, False, False]] * 3)
    words = text.masked_fill(~text_mask[..., None], torch.nan)
    out = fusion(*spoilt, words, x_mask=mask, context_mask=mask, condition_mask=text_mask)
    for row, length in enumerate(LENGTHS):
        alone = fusion(video[row : row + 1, :length], audio[row : row + 1, :length], text[row : row + 1, :3])
        torch.testing.assert_close(out[row, :length], alone[0])
    out[mask].square().sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


def test_sample_without_audio() -> None:
    video, audio, text, mask = streams()
    heard = mask.clone()
    heard[1] = False
    with pytest.raises(DataError, match="rows 1: "):
        build()(video, audio, text, x_mask=mask, context_mask=heard)
    fusion = build(no_audio="learned")
    torch.nn.init.constant_(fusion.no_audio.state, 0.5)
    seen = gates_of(fusion)
    audio[1] = torch.nan
    out = fusion(video, audio, text, x_mask=mask, context_mask=heard)
    assert seen[0][1].abs().max() == 0 and seen[0][0].min() > 0
    torch.testing.assert_close(out[1, :4], video[1, :4] + 0.5)
    out[mask].square().sum().backward()
    assert torch.isfinite(fusion.audio_query.weight.grad).all()


def test_sample_of_padding_alone_is_finite() -> None:
    video, audio, text, mask = streams()
    mask[2] = False
    fusion = build()
    out = fusion(video, audio, text, x_mask=mask, context_mask=mask)
    out.square().sum().backward()
    assert torch.isfinite(out).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in fusion.parameters())


def test_tap_and_its_mask() -> None:
    video, audio, text, mask = streams()
    fusion, masks = build(), []
    ((name, tap),) = gate_taps(fusion)
    assert (name, tap.kind, tap.low, tap.high, tap.neutral) == ("attention_tap", "attention", 0.0, 1.0, 0.0)
    tap.register_forward_hook(lambda _, args, __: masks.append(args[1]))
    fusion(video, audio, text, x_mask=mask, context_mask=mask)
    assert masks[0] is mask


def test_wrong_input_is_named() -> None:
    video, audio, text, _ = streams()
    with pytest.raises(DataError, match="needs the text as condition"):
        build()(video, audio)
    with pytest.raises(DataError, match="the text is 7 wide"):
        build()(video, audio, text[..., :7])
    with pytest.raises(ConfigError, match="window is 2; expected an odd number"):
        build(window=2)
    with pytest.raises(ConfigError, match="temperature_init is 0"):
        build(temperature_init=0)
