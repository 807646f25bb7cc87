"""Frozen encoders of clips run once, in preparation; checkpoints know whose features they were trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

import gatefuse_plugins.plugins  # noqa: F401 (registers data sets)
from gatefuse_plugins.engine.locate_data import DataPlace, locate_data
from gatefuse_plugins.engine.prepare import LOADERS, TESTING, prepare
from gatefuse_plugins.engine.prepare_clips import check_clip_features
from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.registry import DATASETS, MODELS

SIZES = {"num_frames": 1, "frame_size": 16, "sample_rate": 8000, "num_mel_bins": 8, "audio_length": 20}


class StoredAudio(nn.Module):
    """Projects pairs of spectrogram frames; ``weights`` fills the projection."""

    def __init__(self, weights: float | None = None) -> None:
        super().__init__()
        self.projection, self.head = nn.Linear(16, 4, bias=False), nn.Linear(4, 4)
        nn.init.constant_(self.projection.weight, weights or 0.0)

    def forward(self, spectrogram: Tensor) -> Tensor:
        return self.head(self.projection(spectrogram.unflatten(1, (-1, 2)).flatten(2)))

    def token_mask(self, mask: Tensor) -> Tensor:
        return mask.unflatten(1, (-1, 2)).any(dim=2)


@pytest.fixture
def registered():
    MODELS.register_module("StoredAudio", module=StoredAudio, force=True)
    yield
    MODELS._module_dict.pop("StoredAudio")


def config(root: Path, encoders: list[str], **model: Any) -> Config:
    dataset = {"type": "MSRVTTDataset", "val_videos": 3, **SIZES}
    loaders = {
        name: {"dataset": {**dataset, "split": split, "role": "train" if split == "train" else "eval"}}
        for name, split in zip(LOADERS, ("val", "test", "train"), strict=True)
    }
    embedded = {"num_train_videos": 15, "num_test_videos": 2, "captions_per_video": 2, "num_frames": 1}
    return Config(
        {
            "dataset": "msrvtt",
            "data_root": str(root / "none"),
            "embedded": {"root": str(root / "set"), "image_size": 16, **embedded},
            "features": {"root": str(root / "features"), "encoders": encoders, "dtype": "float32"},
            "model": {
                "audio_encoder": {"type": "StoredAudio", "weights": 0.1},
                "frozen": ["audio_encoder.**", "x"],
                **model,
            },
            **loaders,
        }
    )


@pytest.fixture(autouse=True)
def scope() -> None:
    DefaultScope.get_instance("test_prepare_clips", scope_name="gatefuse")


def test_an_embedded_set_may_be_named(tmp_path: Path) -> None:
    """It keeps the sizes that it has, and a config with a profile of its own for such sets takes that one."""
    cfg = config(tmp_path, [])
    made = prepare(cfg)
    cfg.data_root, cfg.embedded = str(tmp_path / "set"), {"root": str(tmp_path / "other")}
    assert locate_data(cfg) == DataPlace("msrvtt", tmp_path / "set", True, False, "found in data_root")
    assert prepare(cfg) == made
    assert not (tmp_path / "other").exists()


def test_features_replace_the_encoder(tmp_path: Path, registered: None) -> None:
    cfg = config(tmp_path, ["audio_encoder"])
    identity = prepare(cfg)
    assert identity["split"] == "val" and list(identity["features"]) == ["audio_encoder"]
    assert cfg.model.audio_encoder is None and cfg.model.frozen == ["x"]
    assert cfg.dataset_identity.features == identity["features"]
    folders = {cfg[name].dataset.audio_features for name in LOADERS}
    assert len(folders) == 1 and "video_features" not in cfg.val_dataloader.dataset
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    raw = DATASETS.build({**cfg.test_dataloader.dataset, "audio_features": None})
    with torch.random.fork_rng():
        torch.manual_seed(0)  # layers without weights start alike in training and test
        encoder = StoredAudio(0.1)
    stored, spectrogram = dataset[[0, 1]], raw[[0, 1]]
    mask = encoder.token_mask(spectrogram["audio_mask"])
    with torch.no_grad():
        expected = encoder(spectrogram["audio"]).masked_fill(~mask[..., None], 0.0)
    length = stored["audio"].shape[1]
    torch.testing.assert_close(stored["audio"], expected[:, :length])
    assert not mask[:, length:].any()


def test_a_test_touches_its_own_data_alone(tmp_path: Path, registered: None) -> None:
    cfg = config(tmp_path, ["audio_encoder"])
    assert prepare(cfg, loaders=TESTING)["split"] == "test"
    assert "data_root" not in cfg.train_dataloader.dataset
    assert len(list((tmp_path / "features").glob("audio-*/*.npy"))) == 2


def test_what_cannot_be_stored_is_refused(tmp_path: Path, registered: None) -> None:
    for encoders, model, message in (
        (["audio_encodr"], {}, "did you mean 'audio_encoder'"),
        (["frame_encoder"], {}, "model.frame_encoder is None; there is nothing to store"),
        (["audio_encoder"], {"audio_encoder": {"type": "StoredAudio"}}, "needs weights=FOLDER"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(config(tmp_path, encoders, **model))


def test_checkpoints_of_other_features_are_refused() -> None:
    trained = {"dataset_identity": {"features": {"audio_encoder": "a" * 64}}}
    check_clip_features(trained, {"features": {"audio_encoder": "a" * 64}})
    check_clip_features({}, {"features": {"audio_encoder": "a" * 64}})
    check_clip_features({"dataset_identity": {"name": "x"}}, {"name": "x"})
    for here in ({}, {"features": {"audio_encoder": "b" * 64}}):
        with pytest.raises(CheckpointError, match="trained on features of audio_encoder aaaaaaaaaaaa, but"):
            check_clip_features(trained, here)
