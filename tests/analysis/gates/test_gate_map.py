"""Gates by image token: places, pictures, ranks, and what the picture shows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_sets import write_cirr, write_fashioniq
from PIL import Image
from tiny_hosts import FUSION, IMAGE_SIZE, tiny_host

from gatefuse_plugins.analysis.gates.gallery_ranks import rank_gallery
from gatefuse_plugins.analysis.gates.gate_map import GateMap, Retrieval, TokenMap, analyse_gate_maps
from gatefuse_plugins.analysis.gates.pictures import displayable, seen_picture
from gatefuse_plugins.analysis.gates.token_signals import token_grid
from gatefuse_plugins.data import CIRRDataset, FashionIQDataset, build_feature_cache, module_digest
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.evaluation.composed import cirr_ranks
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.gates import gate_taps

TRANSFORM = [{"type": "TargetPad"}, {"type": "ClipPreprocess", "size": IMAGE_SIZE}]


def host(**options: Any) -> Any:
    return tiny_host(fusion=options or FUSION).eval()


def cirr(root: Path, **options: Any) -> CIRRDataset:
    return CIRRDataset(write_cirr(root), "val", "eval", **({"transform": TRANSFORM} | options))


def test_gates_of_single_tokens_stand_at_their_places(tmp_path: Path) -> None:
    model, dataset = host(), cirr(tmp_path)
    seen: dict[str, torch.Tensor] = {}
    for name, tap in gate_taps(model):
        tap.register_forward_hook(lambda _, __, value, name=name: seen.__setitem__(name, value))
    changed = []
    model.fusion.register_forward_hook(lambda _, args, output: changed.append((output - args[0]).abs().mean(-1)[0]))
    (one,) = analyse_gate_maps(model, dataset, [2], top_k=0)
    delta, gate, change = one.maps
    assert (one.id, one.reference, one.caption) == (10, "dev-1-0", "make it red")
    assert [(signal.kind, signal.values.shape) for signal in one.maps] == [
        ("delta", (1, 1)),
        ("image", (2, 2)),
        ("change", (2, 2)),
    ]
    # the first of the five tokens is the CLS token; sigmoid gates lie on one side of 0, deltas on both
    np.testing.assert_allclose(gate.values.ravel(), seen["fusion.gate_tap"][0, 1:].mean(-1), rtol=1e-6)
    np.testing.assert_allclose(delta.values, seen["fusion.delta_tap"].abs().mean().item(), rtol=1e-6)
    np.testing.assert_allclose(change.values.ravel(), changed[0][1:], rtol=1e-6)
    assert (gate.distance, delta.distance) == (False, True) and delta.whole and not gate.whole
    assert one.retrievals == () and one.rank is None


def test_ranks_are_those_of_the_metric(tmp_path: Path) -> None:
    model, dataset = host(), cirr(tmp_path)
    maps = analyse_gate_maps(model, dataset, range(4), top_k=3)
    with torch.no_grad():
        (images,) = model(mode="predict", **dataset[list(range(12))])
        queries = [model(mode="predict", **dataset[[12 + row]])[0]["query_features"] for row in range(4)]
    scores = max_token_similarity(torch.cat(queries), images["image_features"]).numpy()
    info = dataset.metainfo
    ranks, _ = cirr_ranks(scores, info["reference"], info["target"], info["members"])
    assert [one.rank for one in maps] == ranks.tolist() and {one.competitors for one in maps} == {11}
    for row, one in enumerate(maps):
        best = [name for name in np.argsort(-scores[row]) if name != info["reference"][row]][:3]
        assert [hit.name for hit in one.retrievals[:3]] == [info["gallery"][at] for at in best]
        assert [hit.rank for hit in one.retrievals[:3]] == [1, 2, 3]
        assert [hit.rank for hit in one.retrievals if hit.is_target] == [one.rank]
        assert one.retrievals[0].score == pytest.approx(
            scores[row].max(where=np.arange(12) != info["reference"][row], initial=-1)
        )


def test_cached_tokens_give_the_same_maps_and_pictures(tmp_path: Path) -> None:
    model, dataset = host(), cirr(tmp_path)
    encoder = model.visual_encoder
    digest = module_digest(encoder)
    path = build_feature_cache(tmp_path / "f", encoder, digest, dataset.image_paths, TRANSFORM, dtype="float32")
    cached = CIRRDataset(tmp_path, "val", "eval", transform=TRANSFORM, features=path)
    (own,), (other,) = (analyse_gate_maps(model, data, [1], 2) for data in (dataset, cached))
    np.testing.assert_allclose(own.maps[1].values, other.maps[1].values, rtol=1e-5)
    assert own.picture is not None and np.array_equal(own.picture, other.picture)
    for image in cached.annotations.paths:
        image.unlink()
    (bare,) = analyse_gate_maps(model, cached, [1], 2)
    assert bare.picture is None and bare.retrievals[0].picture is None
    assert np.array_equal(bare.maps[1].values, other.maps[1].values)


def test_model_and_random_state_are_left_as_they_were(tmp_path: Path) -> None:
    model, dataset = host(), cirr(tmp_path)
    before, state = model(mode="predict", **dataset[[12]])[0]["query_features"], torch.get_rng_state()
    analyse_gate_maps(model, dataset, [0], 2)
    assert torch.equal(model(mode="predict", **dataset[[12]])[0]["query_features"], before)
    assert torch.equal(torch.get_rng_state(), state)
    assert not model._forward_hooks and not any(module._forward_hooks for module in model.modules())


def test_other_fusions_and_models(tmp_path: Path) -> None:
    dataset = cirr(tmp_path)
    (additive,) = analyse_gate_maps(host(type="TextGuidedImageFusion", strategy="additive"), dataset, [0], 0)
    assert [signal.kind for signal in additive.maps] == ["delta", "change"]
    assert np.ptp(additive.maps[1].values) == pytest.approx(0, abs=1e-6)  # without gates all tokens move alike
    (spatial,) = analyse_gate_maps(host(type="TextGuidedSpatialAttention"), dataset, [0], 0)
    (attention, change) = spatial.maps
    assert (attention.kind, attention.neutral, attention.distance) == ("attention", 1.0, False)
    assert not change.values.any()  # its strength starts at 0
    with pytest.raises(ConfigError, match="has no fusion that changes image tokens"):
        analyse_gate_maps(tiny_host().eval(), dataset, [0])
    with pytest.raises(ConfigError, match="a Linear has none"):
        analyse_gate_maps(torch.nn.Linear(1, 1), dataset, [0])
    with pytest.raises(DataError, match=r"rows \[4\] .*expected 0..3"):
        analyse_gate_maps(host(), dataset, [4])
    with pytest.raises(ConfigError, match="expected composed retrieval"):
        analyse_gate_maps(host(), [1, 2], [0])
    assert analyse_gate_maps(host(), dataset, []) == []


def test_fashioniq_ranks_within_the_category(tmp_path: Path) -> None:
    dataset = FashionIQDataset(write_fashioniq(tmp_path), "val", "eval", transform=TRANSFORM)
    maps = analyse_gate_maps(host(), dataset, range(3), top_k=5)
    assert [one.competitors for one in maps] == [3, 3, 3]
    assert [len(one.retrievals) for one in maps] == [3, 3, 3]
    assert {hit.name for hit in maps[1].retrievals} == {"shirt0", "shirt1", "shared"}


def test_unknown_targets_and_those_beyond_the_best() -> None:
    info = {"reference": np.array([0, 0]), "target": np.array([3, -1]), "members": np.zeros((2, 6)), "gallery": "abcd"}
    scores = np.array([[9.0, 3.0, 2.0, 1.0], [9.0, 1.0, 3.0, 2.0]], np.float32)
    first, second = rank_gallery(info, [0, 1], scores, 2)
    assert first.shown == ((1, 1), (2, 2), (3, 3)) and (first.target, first.competitors) == (3, 3)
    assert second.shown == ((1, 2), (2, 3)) and second.target is None
    with pytest.raises(DataError, match="NaN"):
        rank_gallery(info, [0], np.full((1, 4), np.nan, np.float32), 2)


@pytest.mark.parametrize(("tokens", "grid"), [(5, (2, 2)), (257, (16, 16)), (9, (3, 3)), (2, (1, 1)), (1, (1, 1))])
def test_squares_with_and_without_cls_token(tokens: int, grid: tuple[int, int]) -> None:
    assert token_grid(tokens) == grid


def test_other_grids_must_be_given() -> None:
    assert token_grid(13, (3, 4)) == (3, 4) and token_grid(12, (3, 4)) == (3, 4)
    with pytest.raises(DataError, match=r"12 image tokens are no square.*grid=\(height, width\)"):
        token_grid(12)
    with pytest.raises(DataError, match="grid=4 x 4: the fusion saw 12 image tokens"):
        token_grid(12, (4, 4))


def test_pictures_are_what_the_model_sees(tmp_path: Path) -> None:
    dataset = cirr(tmp_path)
    picture = seen_picture(dataset, 0)
    padded = Image.open(dataset.annotations.paths[0]).resize((10, 8), Image.Resampling.BICUBIC).crop((1, 0, 9, 8))
    assert picture is not None and picture.shape == (8, 8, 3)
    assert np.abs(picture.astype(int) - np.asarray(padded.convert("RGB")).astype(int)).max() <= 1
    plain = CIRRDataset(tmp_path, "val", "eval")
    assert seen_picture(plain, 0).shape == (9, 12, 3) and seen_picture(plain, 0, 4).shape == (3, 4, 3)
    assert displayable(torch.tensor([-1.0, 1.0]).view(1, 1, 2).expand(3, 1, 2), False)[0].tolist() == [
        [0] * 3,
        [255] * 3,
    ]


class TestFigure:
    """Pictures need matplotlib."""

    @pytest.fixture(autouse=True)
    def _matplotlib(self) -> None:
        pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")

    @staticmethod
    def gate_map(**changes: Any) -> GateMap:
        picture = np.zeros((48, 48, 3), np.uint8)
        maps = (
            TokenMap("fusion.delta_tap", "delta", 0.0, np.array([[0.25]]), True),
            TokenMap("fusion.gate_tap", "image", 0.0, np.array([[0.1, 0.2], [0.3, 0.4]]), False),
            TokenMap("fusion.attention_tap", "attention", 1.0, np.arange(256.0).reshape(16, 16) / 128, False),
        )
        hits = (Retrieval(1, "a", 0.5, picture, False), Retrieval(7, "b", 0.25, None, True))
        return replace(GateMap(3, "make $x$ red", "ref", picture, maps, hits, 7, 11), **changes)

    def test_signals_lie_over_the_picture_and_the_target_is_marked(self) -> None:
        from gatefuse_plugins.analysis.gates.plots.gate_maps import TARGET_COLOUR, gate_map_figure

        figure = gate_map_figure(self.gate_map())
        (header,) = figure.texts
        assert header.get_text().splitlines() == [
            "“make $x$ red”",
            "query 3 · reference ref · target at rank 7 of 11",
            "delta, mean |value - neutral|: 0.25, the same for the whole image",
        ]
        assert not header.get_parse_math()
        axes = {axis.get_title("left"): axis for axis in figure.axes}
        gate = axes["image, mean over channels\nneutral 0"]
        picture, signal = gate.get_images()
        assert picture.get_array().shape == (48, 48, 3) and signal.get_extent() == [-0.5, 47.5, 47.5, -0.5]
        np.testing.assert_allclose(signal.get_array(), [[0.1, 0.2], [0.3, 0.4]])
        assert [text.get_text() for text in gate.texts] == ["0.10", "0.20", "0.30", "0.40"]
        attention = axes["attention, mean over channels\nneutral 1"].get_images()[1]
        assert attention.get_cmap().name == "RdBu_r" and sum(attention.get_clim()) == pytest.approx(2)
        target = axes["#7 target  0.250"]
        assert target.spines["left"].get_edgecolor()[:3] == pytest.approx(
            tuple(int(TARGET_COLOUR[at : at + 2], 16) / 255 for at in (1, 3, 5))
        )
        assert "picture file missing" in [text.get_text() for text in target.texts]

    def test_missing_pictures_values_and_maps(self, tmp_path: Path) -> None:
        from gatefuse_plugins.analysis.gates.plots.gate_maps import draw_gate_maps, gate_maps_figure

        empty = TokenMap("n", "image", 0.0, np.full((2, 2), np.nan), False)
        odd = self.gate_map(id="../a b", picture=None, maps=(empty,), retrievals=(), rank=None)
        assert "no values" in [text.get_text() for axis in gate_maps_figure([odd]).axes for text in axis.texts]
        paths = draw_gate_maps([self.gate_map(), odd], tmp_path / "maps")
        assert [path.name for path in paths] == ["3.png", "..%2Fa%20b.png"]
        assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
        assert "no gate maps" in [text.get_text() for text in gate_maps_figure([]).texts]
