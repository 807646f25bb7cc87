"""Missing weights: one clear error at once, that says which files go where; never a second attempt."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gatefuse_plugins.errors import WeightsUnavailableError
from gatefuse_plugins.hosts.blip2_cir import build_clip_vit_l, build_eva_vit_g, weights
from gatefuse_plugins.hosts.blip2_cir.weights import load_from_hub, locate_file


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """No network and an empty download cache; the URLs that were tried."""
    tried: list[str] = []
    monkeypatch.setattr(weights, "reachable", lambda url: bool(tried.append(url)))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tried


@pytest.mark.parametrize(("build", "file"), [(build_eva_vit_g, "eva_vit_g.pth"), (build_clip_vit_l, "clip_vit_L.pth")])
def test_missing_vision_weights(asked: list[str], tmp_path: Path, build: object, file: str) -> None:
    with pytest.raises(WeightsUnavailableError) as caught:
        build()
    message = str(caught.value)
    assert "model.vision.weights" in message
    assert str(tmp_path / "hub" / "checkpoints" / file) in message
    assert len(asked) == 1


def test_a_failing_hub_is_tried_once(asked: list[str]) -> None:
    calls = []

    def load(name: str, local_files_only: bool = False) -> None:
        calls.append(local_files_only)
        raise OSError("not cached")

    with pytest.raises(WeightsUnavailableError, match=r"Put vocab\.txt.*model\.tokenizer\.vocabulary=FOLDER"):
        load_from_hub("bert-base-uncased", load, ("vocab.txt",), "model.tokenizer.vocabulary")
    assert calls == [True]
    assert len(asked) == 1


def test_wrong_paths_never_reach_for_the_network(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "vocab.tx").touch()
    with pytest.raises(WeightsUnavailableError, match=r"lacks vocab\.txt; did you mean 'vocab\.tx'"):
        load_from_hub(str(tmp_path), pytest.fail, ("vocab.txt",), "key")
    with pytest.raises(WeightsUnavailableError, match="no such folder"):
        load_from_hub(str(tmp_path / "absent"), pytest.fail, ("vocab.txt",), "key")
    with pytest.raises(WeightsUnavailableError, match="no such file"):
        locate_file(str(tmp_path / "absent.pth"), "https://example.org/x.pth", "key")
    assert asked == []


def test_local_files_are_taken(asked: list[str], tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").touch()
    given = load_from_hub(str(tmp_path), lambda name, **options: (name, options), ("vocab.txt",), "key")
    assert given == (str(tmp_path), {"local_files_only": True})
    assert locate_file(str(tmp_path / "vocab.txt"), "https://example.org/x", "key") == tmp_path / "vocab.txt"
    assert asked == []
