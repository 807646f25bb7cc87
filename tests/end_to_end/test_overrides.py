"""An override reaches everything that depends on it, though mmengine merges it after the config file was run."""

from __future__ import annotations

from pathlib import Path

from gatefuse_plugins.config import load_config

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "cirr_gated.py"


def test_data_root_and_backbone_reach_data_transform_and_model() -> None:
    cfg = load_config(CONFIG, ["data_root=/data/cirr", "backbone=pretrain", "lr=1e-5", "target_ratio=1.5"])
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.dataset.data_root == "/data/cirr"
        assert [dict(step) for step in loader.dataset.transform] == [
            {"type": "TargetPad", "target_ratio": 1.5},
            {"type": "ClipPreprocess", "size": 224},
        ]
    assert cfg.model.vision.type == "EvaViTG"
    assert cfg.model.qformer.bert == "bert-base-uncased"
    assert cfg.model.tokenizer.vocabulary == "bert-base-uncased"
    assert (cfg.model.num_query_token, cfg.model.embed_dim) == (32, 256)
    assert cfg.model.fusion.text_norm is False
    assert cfg.optim_wrapper.optimizer.lr == cfg.param_scheduler[0].eta_max == 1e-5


def test_the_tiny_backbone_is_the_default() -> None:
    cfg = load_config(CONFIG)
    assert cfg.model.vision.type == "TinyPatchEncoder"
    assert cfg.val_dataloader.dataset.transform[1].size == 48
