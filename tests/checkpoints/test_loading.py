"""Strict loading: what fits, what may differ, and the one message that tells the rest."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.errors import CheckpointError, PatternError


class Host(nn.Module):
    """A tied head, a position_ids buffer and a fusion, as the real hosts have."""

    def __init__(self, fusion: nn.Module | None = None) -> None:
        super().__init__()
        self.embeddings = nn.Embedding(5, 3)
        self.norm = nn.LayerNorm(3)
        self.decoder = nn.Linear(3, 5, bias=False)
        self.decoder.weight = self.embeddings.weight
        self.register_buffer("position_ids", torch.arange(4))
        if fusion is not None:
            self.fusion = fusion


class OtherFusion(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(()))


def filled(host: nn.Module, value: float = 2.0) -> dict[str, Tensor]:
    return {
        name: torch.full_like(tensor, value) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in host.state_dict().items()
    }


def checkpoint(state: dict[str, Tensor]) -> Checkpoint:
    return Checkpoint(state, "state_dict", {}, Path("weights.pt"))


def failure(host: nn.Module, state: dict[str, Tensor]) -> str:
    """The message of a load that must fail and must leave ``host`` as it was."""
    before = {name: tensor.clone() for name, tensor in host.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(host, checkpoint(state))
    assert all(torch.equal(before[name], tensor) for name, tensor in host.state_dict().items())
    return str(caught.value)


def test_exact_match_through_a_file(tmp_path: Path) -> None:
    host = Host(nn.Linear(2, 2))
    torch.save({"model": filled(host)}, tmp_path / "a.pth")
    report = load_into(host, read_checkpoint(tmp_path / "a.pth"))
    assert all((parameter == 2).all() for parameter in host.parameters())
    assert report.dropped == {"decoder.weight": "tied to embeddings.weight"}
    assert set(report.kept) == set(host.state_dict()) - {"decoder.weight"}


def test_every_fault_in_one_message() -> None:
    host = Host()
    state = filled(host)
    state["norms.weight"] = state.pop("norm.weight")
    state["norm.bias"] = torch.zeros(7)
    message = failure(host, state)
    assert "weights.pt" in message
    assert "does not fit Host" in message
    assert "1 missing from the checkpoint:\n  norm.weight (nearest: norms.weight)" in message
    assert "1 unexpected in the checkpoint:\n  norms.weight (nearest: norm.weight)" in message
    assert "1 of another shape:\n  norm.bias: checkpoint (7,), model (3,)" in message
    assert "another fusion" not in message


def test_long_lists_are_cut_and_counted() -> None:
    state = filled(Host()) | {f"extra.{index}": torch.zeros(1) for index in range(25)}
    message = failure(Host(), state)
    assert "25 unexpected" in message
    assert "... and 5 more" in message


def test_checkpoint_of_another_fusion_is_named() -> None:
    message = failure(Host(OtherFusion()), filled(Host(nn.Linear(2, 2))))
    assert "carries another fusion than the model: the model's is OtherFusion" in message
    assert "fusion.weight" in message
    assert "the model has none" in failure(Host(), filled(Host(OtherFusion())))


def test_drop_and_allow_missing_by_pattern() -> None:
    host = Host(OtherFusion())
    report = load_into(host, checkpoint(filled(Host(nn.Linear(2, 2)))), drop=["fusion.*"], allow_missing=["fusion.**"])
    assert report.dropped["fusion.weight"] == "asked for by 'fusion.*'"
    assert report.missing["fusion.alpha"] == "allowed by 'fusion.**'"
    assert host.fusion.alpha == 0
    assert (host.norm.weight == 2).all()
    assert "2 dropped (asked for by 'fusion.*')" in str(report)


def test_patterns_that_match_nothing_raise() -> None:
    host = Host()
    with pytest.raises(PatternError, match=r"weights\.pt"):
        load_into(host, checkpoint(filled(host)), drop=["fusion.*"])
    with pytest.raises(PatternError, match="matches nothing in Host"):
        load_into(host, checkpoint(filled(host)), allow_missing=["fusion.*"])


def test_position_ids_may_be_absent_or_extra() -> None:
    host = Host()
    state = filled(host)
    state["text.embeddings.position_ids"] = state.pop("position_ids")
    report = load_into(host, checkpoint(state))
    assert report.dropped["text.embeddings.position_ids"] == report.missing["position_ids"]
    assert host.position_ids.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", ["embeddings.weight", "decoder.weight"])
def test_either_name_of_a_tied_weight_is_enough(kept: str) -> None:
    host = Host()
    state = filled(host)
    other = {"embeddings.weight": "decoder.weight", "decoder.weight": "embeddings.weight"}[kept]
    del state[other]
    report = load_into(host, checkpoint(state))
    assert (host.embeddings.weight == 2).all()
    assert kept in report.kept


def test_first_name_of_a_tied_weight_wins() -> None:
    host = Host()
    state = filled(host) | {"decoder.weight": torch.full((5, 3), 9.0)}
    load_into(host, checkpoint(state))
    assert (host.decoder.weight == 2).all()


def test_visual_encoder_is_dropped_only_where_the_model_has_none() -> None:
    host = Host()
    extra = {"visual_encoder.patch.weight": torch.zeros(2, 2)}
    report = load_into(host, checkpoint(filled(host) | extra))
    assert "cache" in report.dropped["visual_encoder.patch.weight"]
    host.visual_encoder = nn.Linear(1, 1)
    assert "visual_encoder.patch.weight" in failure(host, filled(host) | extra)
