"""The parts that take a shorter way to the same numbers, against the long way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gatefuse_plugins.hosts.qd_detr.activation import ScalarPReLU
from gatefuse_plugins.hosts.qd_detr.attention import FewQueriesAttention, PackedAttention, attend
from gatefuse_plugins.hosts.qd_detr.position import clip_positions, sine_embedding, window_positions
from gatefuse_plugins.hosts.qd_detr.projection import input_projection


@pytest.mark.parametrize("slope", [0.25, -0.5, 1.5])
def test_prelu(slope: float) -> None:
    torch.manual_seed(0)
    ours, theirs = ScalarPReLU(), nn.PReLU()
    results = []
    x = torch.randn(4, 5, 6, dtype=torch.float64)
    x[0, 0, 0] = 0
    for module in (ours.double(), theirs.double()):
        module.weight.data.fill_(slope)
        source = x.clone().requires_grad_()
        y = module(source.transpose(0, 1))
        (y * torch.arange(6)).sum().backward()
        results.append((y.detach(), source.grad, module.weight.grad))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


def test_few_queries_attention_projects_as_if_on_the_keys_side() -> None:
    torch.manual_seed(0)
    attention, mask = (
        FewQueriesAttention(8, 2, 0.0).double(),
        torch.tensor([[True] * 5, [True, True, False, True, False]]),
    )
    content, place = torch.randn(2, 2, 3, 8, dtype=torch.float64)
    clips, positions = torch.randn(2, 2, 5, 8, dtype=torch.float64)
    key_a, key_b, value = (nn.Linear(8, 8).double() for _ in range(3))
    got = attention([(content, key_a, clips), (place, key_b, positions)], value, clips, mask[:, None])
    side_by_side = [
        torch.cat([a.unflatten(-1, (2, 4)), b.unflatten(-1, (2, 4))], dim=-1).flatten(-2)
        for a, b in ((content, place), (key_a(clips), key_b(positions)))
    ]
    expected = attention.out_proj(attend(*side_by_side, value(clips), 2, mask[:, None, None]))
    torch.testing.assert_close(got, expected)


def test_few_queries_attention_drops_weights_not_values() -> None:
    torch.manual_seed(0)
    attention, value = FewQueriesAttention(4, 2, 0.5), nn.Linear(4, 4)
    nn.init.zeros_(value.weight)
    attention.out_proj.weight.data.copy_(torch.eye(4))
    nn.init.ones_(value.bias)
    clips = torch.randn(1, 50, 4)
    matches, everywhere = [(torch.zeros(1, 30, 4), nn.Linear(4, 4), clips)], torch.ones(1, 1, 50).bool()
    got = attention(matches, value, clips, everywhere).detach()
    # fifty equal weights, half of them dropped, the others doubled: the bias is weighted by what is left
    assert got.std() == pytest.approx(1 / math.sqrt(50), rel=0.25)
    assert got.mean() == pytest.approx(1, abs=0.06)
    torch.testing.assert_close(attention.eval()(matches, value, clips, everywhere), torch.ones(1, 30, 4))


def test_packed_attention_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = PackedAttention(8, 2, 0.0), nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.load_state_dict(ours.state_dict())
    x, text, mask = torch.randn(2, 5, 8), torch.randn(2, 3, 8), torch.tensor([[True] * 3, [True, False, True]])
    for query, key, value, allowed in ((x, text, text + 1, mask), (x, x, x, torch.ones(2, 5).bool())):
        expected = theirs(query, key, value, key_padding_mask=~allowed)[0]
        torch.testing.assert_close(ours(query, key, value, allowed[:, None, None]), expected)


def test_attention_dropout_in_training_has_the_right_mean() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 6, 4)
    mask = torch.tensor([True, True, True, True, False, False])[None, None, None]
    expected = attend(q, k, v, 2, mask)
    mean = torch.stack([attend(q, k, v, 2, mask, dropout=0.2) for _ in range(4000)]).mean(0)
    torch.testing.assert_close(mean, expected, rtol=0, atol=0.03)


def test_projection_by_blocks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    projection = input_projection(6, 4, 3, 0.5).eval()
    x = torch.randn(2, 7, 6)
    with torch.no_grad():
        monkeypatch.setattr("gatefuse_plugins.hosts.qd_detr.projection._CACHED", 18)
        blocks = projection(x)
    assert blocks.shape == (2, 7, 4)
    torch.testing.assert_close(blocks, projection(x).detach())
    assert [layer.relu for layer in projection] == [True, True, False]


def test_positions() -> None:
    phase = torch.tensor([0.5])
    even, odd = sine_embedding(phase, 4)[0], sine_embedding(phase, 5)[0]
    expected = [math.sin(0.5), math.cos(0.5), math.sin(0.5 / 100), math.cos(0.5 / 100)]
    torch.testing.assert_close(even, torch.tensor(expected))
    assert odd[-1] == pytest.approx(math.sin(0.5 / 10000 ** (4 / 5)))
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    clips = clip_positions(mask, 2)
    assert clips[0, 1, 0] == pytest.approx(math.sin(2 * math.pi), abs=1e-5)
    assert clips[1, 0].tolist() == pytest.approx([1.0, 0.0], abs=1e-5)  # a quarter of the way
    windows = window_positions(torch.tensor([[0.25, 0.5]]), 4)
    assert windows[0].tolist() == pytest.approx([1.0, 0.0, 0.0, -1.0], abs=1e-6)
