"""The tiny vision encoder and its pre-training on scene attributes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from gatefuse_plugins.data.scenes import SceneSetConfig, make_cirr_scenes
from gatefuse_plugins.data.scenes.clusters import make_split
from gatefuse_plugins.data.scenes.rendering import render
from gatefuse_plugins.data.scenes.vocabulary import scene_attributes
from gatefuse_plugins.engine.cell_heads import normalise
from gatefuse_plugins.engine.pretrain_vision import load_or_pretrain, pretrain_tiny_encoder
from gatefuse_plugins.errors import CheckpointError, ConfigError, DataError, WeightsUnavailableError
from gatefuse_plugins.hosts.blip2_cir.vision.tiny import TinyPatchEncoder
from gatefuse_plugins.registry import MODELS

SMALL = {"width": 32, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def scenes():
    drawn = make_split(600, 10, 20, random.Random(0), set()).scenes
    return render(drawn), scene_attributes(drawn)


def trained(scenes, steps: int, seed: int = 0, **kwargs) -> tuple[TinyPatchEncoder, dict[str, float]]:
    torch.manual_seed(3)
    encoder = TinyPatchEncoder(**SMALL)
    return encoder, pretrain_tiny_encoder(encoder, *scenes, steps=steps, batch_size=32, lr=3e-3, seed=seed, **kwargs)


@pytest.mark.parametrize(("patch_size", "num_tokens"), [(16, 10), (8, 37)])
def test_encoder_shapes_and_registration(patch_size, num_tokens):
    encoder = MODELS.build({"type": "gatefuse.TinyPatchEncoder", "patch_size": patch_size, **SMALL})
    assert (encoder.num_features, encoder.num_tokens, encoder.image_size) == (32, num_tokens, 48)
    assert encoder(torch.zeros(2, 3, 48, 48)).shape == (2, num_tokens, 32)
    with pytest.raises(ValueError, match=r"expected \(B, 3, 48, 48\)"):
        encoder(torch.zeros(2, 3, 32, 32))


def test_encoder_names_sizes_that_do_not_divide():
    with pytest.raises(ConfigError, match=r"image_size=50 .*try 48"):
        TinyPatchEncoder(image_size=50)
    with pytest.raises(ConfigError, match=r"width=30 .*nearest: 32"):
        TinyPatchEncoder(width=30)


def test_images_are_normalised_as_clip_does():
    white = normalise(np.full((1, 48, 48, 3), 255, dtype=np.uint8))
    assert white.shape == (1, 3, 48, 48)
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.930336, 2.074885, 2.145896], abs=1e-4)


def test_pretraining_makes_attributes_and_positions_readable(scenes):
    _, before = trained(scenes, 1)
    steps: list[int] = []
    _, after = trained(scenes, 250, progress=lambda done, total, loss: steps.append(done))
    assert set(after) == {"shape", "colour", "size", "position", "scene", "loss"}
    assert after["shape"] > 0.9 > before["shape"]
    assert after["colour"] > 0.9 > before["colour"]
    assert after["size"] > 0.9 > before["size"]
    assert after["position"] > 0.99 > before["position"]
    assert steps == list(range(1, 251))


def test_pretraining_is_deterministic_and_leaves_global_randomness_alone(scenes):
    first, _ = trained(scenes, 5)
    state = torch.get_rng_state()
    second, _ = trained(scenes, 5)
    other, _ = trained(scenes, 5, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.position, other.position)
    assert torch.equal(torch.get_rng_state(), state)


def test_pretraining_rejects_arrays_that_do_not_fit(scenes):
    images, attributes = scenes
    encoder = TinyPatchEncoder(**SMALL)
    with pytest.raises(DataError, match="expected \\(600, 9, 3\\)"):
        pretrain_tiny_encoder(encoder, images, attributes[:10], steps=1)
    with pytest.raises(DataError, match="64 that are held out"):
        pretrain_tiny_encoder(encoder, images[:64], attributes[:64], steps=1)
    with pytest.raises(ConfigError, match="do not tile the 3x3 scene grid"):
        pretrain_tiny_encoder(TinyPatchEncoder(patch_size=12, **SMALL), images, attributes, steps=1)


def test_weights_are_saved_once_and_loaded_by_the_encoder(tmp_path):
    root = tmp_path / "set"
    config = SceneSetConfig(100, 10, 20, 5, 0)
    make_cirr_scenes(root, config)
    cfg = {"type": "gatefuse.TinyPatchEncoder", **SMALL}
    reports: list[dict[str, float]] = []
    path = load_or_pretrain(root, cfg, steps=2, batch_size=8, report=reports.append)
    written = path.stat().st_mtime_ns
    assert path.parent == root / "vision" and path.name.startswith("tiny-") and path.suffix == ".safetensors"
    assert load_or_pretrain(root, cfg, steps=2, batch_size=8, report=reports.append) == path
    assert path.stat().st_mtime_ns == written and len(reports) == 1
    assert load_or_pretrain(root, cfg, steps=3, batch_size=8) != path
    again = load_or_pretrain(root, {**cfg, "weights": "ignored"}, steps=2, batch_size=8)
    assert again == path
    loaded, twin = TinyPatchEncoder(weights=str(path), **SMALL), TinyPatchEncoder(weights=str(path), **SMALL)
    images = torch.rand(1, 3, 48, 48)
    assert torch.equal(loaded(images), twin(images))
    assert make_cirr_scenes(root, config)["embedded"] is True
    with pytest.raises(CheckpointError, match="size mismatch"):
        TinyPatchEncoder(width=64, depth=1, num_heads=2, weights=str(path))


def test_missing_and_broken_weights_and_sets_are_named(tmp_path):
    with pytest.raises(WeightsUnavailableError, match=r"weights='.*absent.safetensors' is no file"):
        TinyPatchEncoder(weights=str(tmp_path / "absent.safetensors"))
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="broken.safetensors"):
        TinyPatchEncoder(weights=str(tmp_path / "broken.safetensors"))
    with pytest.raises(DataError, match="expected an embedded set"):
        load_or_pretrain(tmp_path, {"type": "gatefuse.TinyPatchEncoder"})
