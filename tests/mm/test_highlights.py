"""The example: a transformer that mmcv builds, trained by nothing but its config."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmcv", reason="mmcv or mmcv-lite is not installed")

from mmengine.registry import DefaultScope

from gatefuse_plugins.config import load_config
from gatefuse_plugins.config.validation import config_faults
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.launch import launch_training
from gatefuse_plugins.mm import HighlightTransformer
from gatefuse_plugins.registry import MODELS

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "mm_gated_transformer.py"


def model() -> HighlightTransformer:
    config = load_config(CONFIG, ["profile=embedded"]).model.to_dict()
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("gatefuse"):
        return MODELS.build(config | {"video_dim": 6, "text_dim": 5}).eval()


def test_scores_do_not_depend_on_padding_or_batch_mates() -> None:
    host, generator = model(), torch.Generator().manual_seed(1)
    batch = {
        "video": torch.randn(2, 5, 6, generator=generator),
        "video_mask": torch.tensor([[True] * 5, [True] * 3 + [False] * 2]),
        "text": torch.randn(2, 4, 5, generator=generator),
        "text_mask": torch.tensor([[True] * 4, [True] * 2 + [False] * 2]),
    }
    labels = {"saliency_labels": torch.ones(2, 5), "sample_index": torch.tensor([4, 7])}
    scores = host(**batch)
    assert scores.shape == (2, 5)
    alone = host(
        video=batch["video"][1:, :3],
        video_mask=batch["video_mask"][1:, :3],
        text=batch["text"][1:, :2],
        text_mask=batch["text_mask"][1:, :2],
    )
    torch.testing.assert_close(scores[1:, :3], alone)
    expected = (scores - 1)[batch["video_mask"]].square().mean()
    torch.testing.assert_close(host(mode="loss", **batch, **labels)["loss"], expected)
    with torch.no_grad():
        (prediction,) = host(mode="predict", **batch, **labels)
    assert [len(row) for row in prediction["saliency"]] == [5, 3]
    assert prediction["sample_index"].tolist() == [4, 7]
    with pytest.raises(ValueError, match="mode 'los' is unknown; did you mean 'loss'"):
        host(mode="los", **batch)


def test_the_config_is_judged_down_to_the_layers() -> None:
    config = load_config(CONFIG, ["profile=embedded"]).to_dict()
    assert config_faults(config) == []
    layers = config["model"]["encoder"]["transformerlayers"]
    layers["attn_cfgs"]["granularty"] = "global"
    layers["ffn_cfgs"]["type"] = "GatedFNN"
    faults = "\n".join(config_faults(config))
    assert "attn_cfgs.granularty: GatedMultiheadAttention has no parameter 'granularty'; did you mean" in faults
    assert "did you mean 'GatedFFN'" in faults


def test_training_by_the_config_alone(tmp_path: Path) -> None:
    options = ["embedded.num_train_videos=40", "embedded.num_val_videos=20", f"embedded.root={tmp_path / 'events'}"]
    overrides = [*options, f"data_root={tmp_path / 'none'}", "log_interval=1", "max_epochs=6", "val_interval=6"]
    arguments = {"work_dir": str(tmp_path / "run"), "launcher": "none", "local_rank": 0, "resume": None, "amp": False}
    folder = launch_training(Namespace(config=str(CONFIG), cfg_options=overrides, **arguments))
    with (folder / "training_log.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    losses = [float(row["loss"]) for row in rows if row["split"] == "train"]
    assert len(losses) == 6
    assert losses[-1] < 0.8 * losses[0]
    assert 0 < float(next(row["tvsum/mAP"] for row in rows if row["split"] == "val")) <= 1
    taps = [name for name, _ in gate_taps(model())]
    assert len(taps) == 6
    assert {f"gates/{name}/mean" for name in taps} <= set(rows[0])
