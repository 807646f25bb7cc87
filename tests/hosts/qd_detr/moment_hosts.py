"""QD-DETR hosts with upstream's weights, small hosts, and batches for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from oracles import fill
from torch import Tensor

from gatefuse_plugins.checkpoints.loading import LoadReport, load_into
from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.hosts.qd_detr import QDDETR

VIDEO, TEXT, AUDIO = 6, 5, 4


def upstream_options(config: dict[str, Any]) -> dict[str, Any]:
    """Constructor arguments from an oracle's configuration."""
    same = ("hidden_dim", "dim_feedforward", "enc_layers", "dec_layers", "nheads", "num_queries", "n_input_proj")
    losses = ("span_loss_coef", "giou_loss_coef", "label_loss_coef", "lw_saliency", "eos_coef", "saliency_margin")
    costs = ("set_cost_span", "set_cost_giou", "set_cost_class")
    return {
        "video_dim": config["v_feat_dim"],
        "text_dim": config["t_feat_dim"],
        "audio_dim": config["a_feat_dim"],
        "fusion": {"type": "Concat"} if config["a_feat_dim"] else None,
        "saliency_only": config["dset_name"] == "tvsum",
        **{name: config[name] for name in (*same, *losses, *costs)},
    }


def load_as_user(model: QDDETR, manifest: dict[str, list[int]], folder: Path) -> LoadReport:
    """Write an upstream checkpoint with the oracle's weights, and load it as a user would."""
    path = folder / "model_best.ckpt"
    torch.save({"model": {name: fill(name, shape) for name, shape in manifest.items()}, "epoch": 3}, path)
    return load_into(model, read_checkpoint(path))


def oracle_batch(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The moment batch of an oracle."""
    names = {"vid": "video", "txt": "text", "aud": "audio"}
    batch: dict[str, Any] = {}
    for short, name in names.items():
        if f"in_src_{short}" in arrays:
            batch[name] = torch.from_numpy(arrays[f"in_src_{short}"])
            batch[f"{name}_mask"] = torch.from_numpy(arrays[f"in_src_{short}_mask"]).bool()
    if "tgt_saliency_all_labels" in arrays:
        batch["spans"] = [torch.from_numpy(arrays[f"tgt_spans_{i}"]) for i in range(len(batch["video"]))]
        batch["saliency_pos"] = torch.from_numpy(arrays["tgt_saliency_pos_labels"])
        batch["saliency_neg"] = torch.from_numpy(arrays["tgt_saliency_neg_labels"])
        batch["saliency_labels"] = torch.from_numpy(arrays["tgt_saliency_all_labels"])
    return batch


def small_host(**options: Any) -> QDDETR:
    """A host of width 12, in eval mode, the same weights every time."""
    torch.manual_seed(0)
    sizes = {"hidden_dim": 12, "nheads": 2, "dim_feedforward": 16, "num_queries": 4}
    return QDDETR(**({"video_dim": VIDEO, "text_dim": TEXT} | sizes | options)).eval()


def small_batch(
    clips: tuple[int, ...] = (5, 3), words: tuple[int, ...] = (2, 4), audio: bool = False
) -> dict[str, Any]:
    """Samples with so many valid clips and words, and labels; zeros at padding."""
    generator = torch.Generator().manual_seed(1)
    length = max(*clips, 1)

    def stream(lengths: tuple[int, ...], width: int) -> tuple[Tensor, Tensor]:
        mask = torch.arange(max(*lengths, 1)) < torch.tensor(lengths)[:, None]
        features = torch.randn(len(lengths), mask.shape[1], width, generator=generator)
        return features * mask.unsqueeze(-1), mask

    video, video_mask = stream(clips, VIDEO)
    text, text_mask = stream(words, TEXT)
    count = len(clips)
    batch = {
        "video": video,
        "video_mask": video_mask,
        "text": text,
        "text_mask": text_mask,
        "duration": torch.tensor(clips, dtype=torch.float32) * 2,
        "sample_index": torch.arange(count),
        "spans": [torch.tensor([[0.5, 0.4]])] * count,
        "saliency_pos": torch.zeros(count, 2, dtype=torch.long),
        "saliency_neg": torch.tensor(clips)[:, None].sub(1).clamp(min=0).expand(-1, 2),
        "saliency_labels": torch.arange(length).flip(0).float().expand(count, -1) * video_mask,
    }
    if audio:
        batch["audio"], batch["audio_mask"] = stream(clips, AUDIO)
    return batch
