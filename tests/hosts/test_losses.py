"""Losses against naive loops, and the options of the host that act on them."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_hosts import tiny_batch, tiny_host
from torch.nn import functional as F

from gatefuse_plugins.hosts.blip2_cir.losses import contrastive_loss, duplicate_mask, max_token_similarity


def test_max_token_similarity_equals_a_loop() -> None:
    queries, targets = torch.randn(2, 5), torch.randn(3, 4, 5)
    naive = torch.tensor([[max(float(q @ token) for token in target) for target in targets] for q in queries])
    torch.testing.assert_close(max_token_similarity(queries, targets), naive)


def naive_hard_negatives(logits: torch.Tensor, ignore: torch.Tensor, beta: float) -> float:
    total = 0.0
    for row in range(len(logits)):
        negatives = [c for c in range(logits.shape[1]) if c != row and not ignore[row, c]]
        scores = {c: math.exp(beta * logits[row, c].item()) for c in negatives}
        mean = sum(scores.values()) / len(scores)
        positive = math.exp(logits[row, row].item())
        weighted = sum(scores[c] / mean * math.exp(logits[row, c].item()) for c in negatives)
        total -= math.log(positive / (positive + weighted))
    return total / len(logits)


@pytest.mark.parametrize("beta", [0.0, 0.5, 2.0])
def test_hard_negative_weighting_equals_a_loop(beta: float) -> None:
    torch.manual_seed(0)
    logits, columns = torch.randn(4, 6), torch.arange(4)
    ignore = torch.zeros(4, 6, dtype=torch.bool)
    ignore[0, 3] = ignore[2, 5] = True
    expected = naive_hard_negatives(logits, ignore, beta)
    assert contrastive_loss(logits, columns, ignore, beta).item() == pytest.approx(expected, rel=1e-5)
    if beta == 0:
        torch.testing.assert_close(contrastive_loss(logits, columns), F.cross_entropy(logits, columns))


def test_a_row_without_negatives_costs_nothing() -> None:
    for beta in (0.0, 1.0):
        logits = torch.randn(1, 1, requires_grad=True)
        loss = contrastive_loss(logits, torch.tensor([0]), hard_negative_beta=beta)
        loss.backward()
        assert loss.item() == 0 and logits.grad.item() == 0


def test_duplicate_mask_spares_the_own_column() -> None:
    mask = duplicate_mask(torch.tensor([7, 8]), torch.tensor([7, 8, 7, 8, 9]), torch.tensor([0, 1]))
    assert mask.tolist() == [[False, False, True, False, False], [False, False, False, True, False]]


def test_duplicates_are_no_negatives_where_masked() -> None:
    batch = tiny_batch(3)
    batch["target"][2] = batch["target"][0]
    batch["target_id"] = torch.tensor([0, 1, 0])
    masked = tiny_host(mask_duplicates=True)(mode="loss", **batch)["loss_itc"]
    assert masked < tiny_host()(mode="loss", **batch)["loss_itc"]
    host = tiny_host().eval()
    logits = host(**batch) / host.temp
    logits[0, 2] = logits[2, 0] = -torch.inf
    torch.testing.assert_close(masked, F.cross_entropy(logits, torch.arange(3)))


def test_hard_negatives_reach_the_hosts_losses() -> None:
    batch, host = tiny_batch(), tiny_host(hard_negative_beta=0.5)
    expected = naive_hard_negatives(host(**batch) / host.temp, torch.zeros(4, 4, dtype=torch.bool), 0.5)
    assert host(mode="loss", **batch)["loss_itc"].item() == pytest.approx(expected, rel=1e-4)


def test_temperature_floor_projects_the_parameter_and_lets_it_come_back() -> None:
    host, free = tiny_host(temperature_floor=0.05).train(), tiny_host().train()
    for model in (host, free):
        with torch.no_grad():
            model.temp.fill_(0.01)
        sum(model(mode="loss", **tiny_batch()).values()).backward()
    assert host.temp.item() == pytest.approx(0.05)
    assert host.temp.grad.abs() > 0
    assert free.temp.item() == pytest.approx(0.01)
    with torch.no_grad():
        host.temp.fill_(0.3)
    host(mode="loss", **tiny_batch())
    assert host.temp.item() == pytest.approx(0.3)


def test_weights_scale_the_losses_and_0_skips_the_pass() -> None:
    batch = tiny_batch()
    whole = tiny_host(weight_rtc=1.0, weight_align=1.0)(mode="loss", **batch)
    default = tiny_host()(mode="loss", **batch)
    torch.testing.assert_close(default["loss_itc"], whole["loss_itc"])
    for name in ("loss_rtc", "loss_align"):
        torch.testing.assert_close(default[name], 0.4 * whole[name])
    host, passes = tiny_host(weight_rtc=0.0, weight_align=0.0), []
    host.text_proj.register_forward_hook(lambda *_: passes.append(1))
    assert set(host(mode="loss", **batch)) == {"loss_itc"}
    assert len(passes) == 1


def test_patch_loss_contrasts_queries_with_image_patches() -> None:
    batch = tiny_batch()
    assert tiny_host().patch_proj is None
    host = tiny_host(weight_patch=0.5)
    loss = host(mode="loss", **batch)["loss_patch"]
    (found,) = host(mode="predict", reference=batch["reference"], caption=batch["caption"])
    patches = F.normalize(host.patch_proj(host.image_tokens(batch["target"])), dim=-1)
    similarity = torch.einsum("me,nle->mnl", found["query_features"], patches).amax(-1)
    torch.testing.assert_close(loss, 0.5 * F.cross_entropy(similarity / host.temp, torch.arange(4)))
