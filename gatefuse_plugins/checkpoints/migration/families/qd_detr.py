"""QD-DETR hosts: small enough to be built and run as a whole."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.behaviour import KEYS
from gatefuse_plugins.checkpoints.migration.families.base import Batches, given
from gatefuse_plugins.checkpoints.migration.hosts import Config, type_of
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.registry import MODELS

_SIZES = ("video_dim", "text_dim", "audio_dim", "hidden_dim", "dim_feedforward", "enc_layers", "dec_layers")
_MORE = ("n_input_proj", "num_queries", "max_q_l")
_UNTOLD = ("gating_type", "fusion_n_heads", "mha_gate_temp")
_CLIPS, _WORDS = 9, 6


class QDDETRFamily:
    """See :class:`~gatefuse_plugins.checkpoints.migration.families.base.Family`."""

    name = "qd_detr"
    frozen: tuple[str, ...] = ()

    def skeleton(self, config: Config) -> nn.Module:
        """See ``Family``."""
        with torch.device("meta"):
            return MODELS.build(dict(config))

    def starting(self, config: Config, seed: int) -> nn.Module:
        """See ``Family``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MODELS.build(dict(config))

    def runnable(self, config: Config) -> nn.Module:
        """See ``Family``."""
        return self.starting(config, 0).eval()

    def keeps_frozen(self, config: Config, top: str) -> bool:
        """See ``Family``."""
        return False

    def frozen_shapes(self, config: Config, top: str) -> dict[str, tuple[int, ...]] | None:
        """See ``Family``."""
        return None

    def old_config(self, found: Identity, config: Config) -> Config:
        """See ``Family``."""
        old = {name: value for name, value in config.items() if name not in ("fusion", "audio_dim")}
        old |= given(found.sizes, *_SIZES, *_MORE)
        old |= {name: found.extras[name] for name in KEYS[self.name] if name in found.extras}
        if not found.fusion_config:
            return {**old, "fusion": None}
        new = config.get("fusion") or {}
        fusion = dict(found.fusion_config)
        if type_of(fusion) == type_of(new):
            untold = {name: new[name] for name in _UNTOLD if name in new and name not in fusion}
            if fusion.get("gating_type") == "global" and any("global or clipwise" in text for text in found.undecided):
                untold["gating_type"] = new.get("gating_type", "global")
            fusion |= untold | {name: new[name] for name in ("pool",) if name in new and name not in fusion}
        return {**old, "fusion": fusion}

    def upstream_padding(self, config: Config) -> Config:
        """See ``Family``."""
        changed = {**config, "compat": "upstream"}
        if type_of(config.get("fusion")) == "AvigateCustomFusion":
            changed["fusion"] = {**config["fusion"], "pool": "mean"}
        return config if changed == config else changed

    def batches(self, config: Config, seed: int) -> Batches:
        """See ``Family``."""
        generator = torch.Generator().manual_seed(seed)
        count, audio = 3, config.get("audio_dim")

        def batch(clips: tuple[int, ...], words: tuple[int, ...]) -> dict[str, Any]:
            made: dict[str, Any] = {}
            streams = [("video", clips, config["video_dim"]), ("text", words, config["text_dim"])]
            for name, lengths, width in streams + ([("audio", clips, audio)] if audio else []):
                longest = _WORDS if name == "text" else _CLIPS
                mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
                made[name] = torch.randn(count, longest, width, generator=generator) * mask[..., None]
                made[f"{name}_mask"] = mask
            return made

        return {
            "full": batch((_CLIPS,) * count, (_WORDS,) * count),
            "padded": batch((_CLIPS, 4, 7), (3, _WORDS, 1)),
        }

    def outputs(self, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
        """See ``Family``."""
        made = model(mode="tensor", **batch)
        valid = batch["video_mask"]
        return {
            "pred_logits": made["pred_logits"],
            "pred_spans": made["pred_spans"],
            "saliency_scores": made["saliency_scores"][valid],
        }
