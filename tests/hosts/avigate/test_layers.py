"""Layers against plain formulas."""

from __future__ import annotations

import torch
from tiny_avigate import HEADS, WIDTH, tiny_avigate, tiny_batch

from gatefuse_plugins.hosts.avigate.layers import Attention, AttentionPool, MeanPool


def test_attention_is_pytorchs_with_masked_keys() -> None:
    torch.manual_seed(0)
    attention, reference = Attention(WIDTH, HEADS), torch.nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    reference.load_state_dict(attention.state_dict())
    x, mask = torch.randn(2, 4, WIDTH), torch.tensor([[True, True, False, True], [True] * 4])
    expected = reference(x, x, x, key_padding_mask=~mask, need_weights=False)[0]
    torch.testing.assert_close(attention(x, mask), expected)


def test_attention_pooling_starts_as_the_masked_mean_and_weighs_when_trained() -> None:
    x, mask = torch.randn(2, 4, WIDTH), torch.tensor([[True, True, False, True], [True] * 4])
    spoilt = x.masked_fill(~mask[..., None], torch.nan)
    pool = AttentionPool(WIDTH)
    torch.testing.assert_close(pool(spoilt, mask), MeanPool()(x, mask))
    torch.testing.assert_close(pool(x), x.mean(dim=1))
    torch.nn.init.normal_(pool.score.weight)
    weight = pool.score(x).squeeze(-1).masked_fill(~mask, -torch.inf).softmax(dim=1)
    torch.testing.assert_close(pool(x, mask), (weight[..., None] * x).sum(dim=1))
    assert pool(x, torch.zeros(2, 4, dtype=torch.bool)).abs().max() == 0
    mean, pooled = tiny_avigate(spread=0), tiny_avigate(spread=0, gate_pooling="attention")
    pooled.load_state_dict(mean.state_dict(), strict=False)
    with torch.no_grad():
        torch.testing.assert_close(pooled(**tiny_batch()), mean(**tiny_batch()))
