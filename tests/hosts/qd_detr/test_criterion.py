"""Every term against upstream's numbers, and the vectorised saliency losses against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from oracles import FOLDER, TOLERANCE
from torch import Tensor

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.qd_detr.criterion import SetCriterion
from gatefuse_plugins.hosts.qd_detr.saliency import negative_pair_loss, rank_contrastive_loss, saliency_margin_loss

ORACLES = ["qvhighlights_video", "qvhighlights_audio", "tvsum_audio", "mask_order"]
TERMS = ["loss_span", "loss_giou", "loss_label", "class_error"]


def stored_run(name: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """Outputs as the network gives them, labels as a batch holds them, and everything stored."""
    path = FOLDER / f"qd_detr_{name}.npz"
    if not path.is_file():
        pytest.skip(f"no oracle qd_detr_{name}: {FOLDER} is not there")
    with np.load(path) as arrays:
        stored = {key: torch.from_numpy(np.asarray(arrays[key])) for key in arrays}
    names = ("pred_logits", "pred_spans")
    outputs: dict[str, Any] = {key: stored[f"out_{key}"] for key in (*names, "saliency_scores", "saliency_scores_neg")}
    outputs["aux_outputs"] = [{key: stored[f"out_aux0_{key}"] for key in names}]
    outputs["video_mask"] = stored["in_src_vid_mask"].bool()
    batch = {
        "spans": [stored[f"tgt_spans_{sample}"] for sample in range(4)],
        "saliency_pos": stored["tgt_saliency_pos_labels"],
        "saliency_neg": stored["tgt_saliency_neg_labels"],
        "saliency_labels": stored["tgt_saliency_all_labels"],
    }
    return outputs, batch, stored


@pytest.mark.parametrize("name", ORACLES)
def test_every_term_and_the_total_are_upstreams(name: str) -> None:
    outputs, batch, stored = stored_run(name)
    criterion = SetCriterion(saliency_only=name == "tvsum_audio")
    terms = criterion.terms(outputs, batch)
    assert {f"loss_{key}" for key in terms} | {"loss_total"} == {key for key in stored if key.startswith("loss_")}
    for key, value in terms.items():
        torch.testing.assert_close(value.double(), stored[f"loss_{key}"], msg=f"{key}: {value}", **TOLERANCE)
    losses = criterion(outputs, batch)
    total = sum(value for key, value in losses.items() if "loss" in key)
    torch.testing.assert_close(total.double(), stored["loss_total"], **TOLERANCE)
    assert criterion.weight("loss_giou_0") == 1 and criterion.weight("loss_span_12") == 10


@pytest.mark.parametrize("name", ORACLES)
def test_assignment_is_upstreams(name: str) -> None:
    outputs, batch, stored = stored_run(name)
    matching = SetCriterion().matcher(outputs["pred_logits"][None], outputs["pred_spans"][None], batch["spans"])
    for sample in range(4):
        own = matching.sample == sample
        assert torch.stack([matching.query[own], matching.window[own]]).equal(stored[f"match_{sample}"])


def test_class_weights_stay_out_of_the_state_dict() -> None:
    criterion = SetCriterion(eos_coef=0.3)
    assert criterion.state_dict() == {}
    assert criterion.empty_weight.tolist() == pytest.approx([1.0, 0.3])


def toy_run(samples: int = 3, clips: int = 9) -> tuple[dict[str, Any], dict[str, Any]]:
    torch.manual_seed(5)
    layers = [{"pred_logits": torch.randn(samples, 4, 2), "pred_spans": torch.rand(samples, 4, 2)} for _ in range(3)]
    mask = torch.arange(clips) < torch.tensor([clips, clips - 4, clips - 1])[:samples, None]
    outputs = {
        **layers[2],
        "aux_outputs": layers[:2],
        "saliency_scores": torch.randn(samples, clips),
        "saliency_scores_neg": torch.randn(samples, clips),
        "video_mask": mask,
    }
    batch = {
        "spans": [torch.rand(2, 2), torch.rand(1, 2), torch.rand(3, 2)][:samples],
        "saliency_pos": torch.randint(0, clips - 4, (samples, 2)),
        "saliency_neg": torch.randint(0, clips - 4, (samples, 2)),
        "saliency_labels": torch.randint(0, 13, (samples, clips)) * mask.float(),
    }
    return outputs, batch


def leaves(outputs: dict[str, Any]) -> list[Tensor]:
    layers = [outputs, *outputs["aux_outputs"]]
    found = [layer[key] for layer in layers for key in ("pred_logits", "pred_spans")]
    return [tensor.requires_grad_() for tensor in (*found, outputs["saliency_scores"], outputs["saliency_scores_neg"])]


def test_padding_changes_neither_losses_nor_gradients() -> None:
    outputs, batch = toy_run()
    tensors = leaves(outputs)
    clean = SetCriterion()(outputs, batch)
    before = torch.autograd.grad(sum(v for k, v in clean.items() if "loss" in k), tensors)
    mask = outputs["video_mask"]
    for key in ("saliency_scores", "saliency_scores_neg"):
        outputs[key] = outputs[key].detach().masked_fill(~mask, float("nan"))
    batch["saliency_labels"] = batch["saliency_labels"].masked_fill(~mask, 12.0)
    tensors = leaves(outputs)
    dirty = SetCriterion()(outputs, batch)
    after = torch.autograd.grad(sum(v for k, v in dirty.items() if "loss" in k), tensors)
    torch.testing.assert_close(dirty, clean)
    torch.testing.assert_close(after, before)


def test_batch_without_any_window_and_padded_sample_stay_finite() -> None:
    outputs, batch = toy_run()
    outputs["video_mask"][1] = False
    batch["spans"] = [torch.zeros(0, 2)] * 3
    tensors = leaves(outputs)
    losses = SetCriterion()(outputs, batch)
    assert all(losses[key].item() == 0 for key in ("loss_span", "loss_giou_1", "class_error"))
    assert losses["loss_label"].item() > 0
    grads = torch.autograd.grad(sum(v for k, v in losses.items() if "loss" in k), tensors)
    assert all(torch.isfinite(grad).all() for grad in grads)


def test_spans_beyond_the_video_give_finite_losses() -> None:
    outputs, batch = toy_run()
    batch["spans"] = [torch.tensor([[1.5, 2.0]]), torch.tensor([[-0.5, 0.1]]), torch.tensor([[0.5, 0.0]])]
    assert all(torch.isfinite(value).all() for value in SetCriterion()(outputs, batch).values())


def test_a_batch_of_one_leaves_the_negative_pair_out() -> None:
    outputs, batch = toy_run(samples=1)
    del outputs["saliency_scores_neg"]
    loss = SetCriterion()(outputs, batch)["loss_saliency"]
    scores, mask = outputs["saliency_scores"], outputs["video_mask"]
    expected = saliency_margin_loss(scores, batch["saliency_pos"], batch["saliency_neg"], mask, 0.2)
    torch.testing.assert_close(loss, expected + naive_ranks(scores, batch["saliency_labels"], mask, None))


def test_saliency_alone_and_saliency_switched_off() -> None:
    outputs, batch = toy_run()
    assert set(SetCriterion(lw_saliency=0)(outputs, batch)) == {*TERMS} | {
        f"{name}_{layer}" for name in TERMS[:3] for layer in (0, 1)
    }
    only = {key: outputs[key] for key in ("saliency_scores", "saliency_scores_neg", "video_mask")}
    assert set(SetCriterion(saliency_only=True)(only, batch)) == {"loss_saliency"}


def test_labels_that_are_absent_or_misshapen_are_named() -> None:
    outputs, batch = toy_run()
    with pytest.raises(DataError, match="no 'spans'.*It holds: saliency_labels, saliency_neg, saliency_pos"):
        SetCriterion()(outputs, {key: value for key, value in batch.items() if key != "spans"})
    with pytest.raises(DataError, match=r"'saliency_labels'.*\(3, 8\); expected \(3, 9\)"):
        SetCriterion()(outputs, batch | {"saliency_labels": batch["saliency_labels"][:, :8]})
    with pytest.raises(DataError, match=r"'spans'\] has 2 samples; expected 3"):
        SetCriterion()(outputs, batch | {"spans": batch["spans"][:2]})


def naive_ranks(scores: Tensor, labels: Tensor, mask: Tensor, negative: Tensor | None) -> Tensor:
    """Rank by rank, sample by sample, as the paper's section 3.2 and upstream's constants state it."""
    total = scores.new_zeros(())
    for sample in range(len(scores)):
        valid = mask[sample]
        pool = (
            scores[sample][valid] if negative is None else torch.cat([scores[sample][valid], negative[sample][valid]])
        )
        pool, own = pool / 0.5, scores[sample][valid] / 0.5
        for rank in range(1, 12):
            chosen = labels[sample][valid] >= rank
            if chosen.any():
                shifted = (pool - pool.max()).exp().sum() + 1e-6
                total = total - (own[chosen] - pool.max() - shifted.log()).sum() / (chosen.sum() + 1e-6)
    return total / len(scores) / 12


@pytest.mark.parametrize("with_negatives", [True, False])
def test_ranking_loss_equals_a_loop_in_value_and_gradient(with_negatives: bool) -> None:
    outputs, batch = toy_run()
    batch["saliency_labels"][2] = 0  # no positive at any rank
    scores = outputs["saliency_scores"].double().requires_grad_()
    negative = outputs["saliency_scores_neg"].double().requires_grad_() if with_negatives else None
    inputs = [tensor for tensor in (scores, negative) if tensor is not None]
    arguments = (scores, batch["saliency_labels"], outputs["video_mask"], negative)
    fast, slow = rank_contrastive_loss(*arguments), naive_ranks(*arguments)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(torch.autograd.grad(fast, inputs), torch.autograd.grad(slow, inputs))
    assert slow > 0


def test_margin_loss_by_hand_and_pairs_that_do_not_exist() -> None:
    scores, mask = torch.tensor([[1.0, 0.5, 3.0], [0.0, 0.1, 9.0]]), torch.tensor([[True] * 3, [True, True, False]])
    positive, negative = torch.tensor([[1, 2], [1, 0]]), torch.tensor([[0, 0], [0, 1]])
    # hinges 0.7 and 0, then 0.1 and 0.3; twice their mean
    assert saliency_margin_loss(scores, positive, negative, mask, 0.2).item() == pytest.approx(0.55)
    absent = torch.tensor([[-1, 2], [2, 0]])  # sample 0 lacks its first pair, clip 2 of sample 1 is padding
    assert saliency_margin_loss(scores, absent, negative, mask, 0.2).item() == pytest.approx(0.15)


def test_negative_pair_loss_by_hand_and_where_the_logarithm_overflows() -> None:
    scores, mask = torch.tensor([[0.0, 1.0], [40.0, 7.0]]), torch.tensor([[True, True], [True, False]])
    by_hand = (np.log(2) + np.log1p(np.e) + 40) / 2
    assert negative_pair_loss(scores, mask).item() == pytest.approx(by_hand)
