"""AVIGATE hosts: encoders of frames, text and sound are compared by weights, the rest is run on features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.checkpoints.migration.behaviour import KEYS
from gatefuse_plugins.checkpoints.migration.families.base import Batches, given, shapes_on_meta
from gatefuse_plugins.checkpoints.migration.hosts import Config
from gatefuse_plugins.checkpoints.migration.recognise import Identity
from gatefuse_plugins.hosts.avigate.scoring import score_all_pairs
from gatefuse_plugins.registry import MODELS

_SIZES = ("width", "num_query_tokens", "resampler_layers", "fusion_layers", "max_frames")
_GATES = ("query_gate", "query_gate_scale", "text_gates", "gate_pooling")
_ENCODERS = ("frame_encoder", "text_encoder", "audio_encoder")
_FRAMES, _AUDIO, _WORDS = 5, 6, 4


class AVIGATEFamily:
    """See :class:`~gatefuse_plugins.checkpoints.migration.families.base.Family`."""

    name = "avigate"
    frozen: tuple[str, ...] = _ENCODERS

    def skeleton(self, config: Config) -> nn.Module:
        """See ``Family``."""
        with torch.device("meta"):
            return MODELS.build(_bare(config))

    def starting(self, config: Config, seed: int) -> nn.Module:
        """See ``Family``."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return MODELS.build(_bare(config))

    def runnable(self, config: Config) -> nn.Module:
        """See ``Family``."""
        return self.starting(config, 0).eval()

    def keeps_frozen(self, config: Config, top: str) -> bool:
        """See ``Family``."""
        return config.get(top) is not None

    def frozen_shapes(self, config: Config, top: str) -> dict[str, tuple[int, ...]] | None:
        """See ``Family``."""
        return shapes_on_meta(config.get(top), top)

    def old_config(self, found: Identity, config: Config) -> Config:
        """See ``Family``; what needs a gate is off where the checkpoint has none."""
        extras = found.extras
        old = {name: value for name, value in config.items() if name not in _GATES}
        old |= given(found.sizes, *_SIZES) | {"gating": extras.get("gating", True)}
        old |= {name: extras[name] for name in (*_GATES, *KEYS[self.name]) if name in extras}
        if not extras.get("query_gate"):
            old |= {"dual_path": False, "text_alignment": "mean"}
        if old.get("layer_decay") == "learnable":  # parameters tell of it
            old |= {"layer_decay": extras.get("layer_decay", "off"), "decay_ffn": bool(extras.get("decay_ffn"))}
        if not old["gating"]:
            old["layer_decay"] = "off"
        if old.get("layer_decay", "off") == "off":
            old["decay_ffn"] = False
        return old

    def upstream_padding(self, config: Config) -> Config:
        """See ``Family``."""
        return {**config, "mask_padding": False} if config.get("mask_padding", True) else config

    def batches(self, config: Config, seed: int) -> Batches:
        """See ``Family``."""
        generator = torch.Generator().manual_seed(seed)
        width = config.get("width", 512)

        def batch(frames: tuple[int, ...], words: tuple[int, ...]) -> dict[str, Any]:
            def stream(length: int) -> Tensor:
                return torch.randn(len(frames), length, width, generator=generator)

            return {
                "video": stream(_FRAMES),
                "video_mask": torch.arange(_FRAMES) < torch.tensor(frames)[:, None],
                "audio": stream(_AUDIO),
                "text": stream(_WORDS),
                "text_mask": torch.arange(_WORDS) < torch.tensor(words)[:, None],
            }

        return {"full": batch((_FRAMES,) * 3, (_WORDS,) * 3), "padded": batch((_FRAMES, 2, 4), (_WORDS, 1, 3))}

    def outputs(self, model: Any, batch: dict[str, Any]) -> dict[str, Tensor]:
        """See ``Family``."""
        videos = model.encode_videos(batch["video"], batch["video_mask"], batch["audio"])
        texts = model.encode_texts(batch["text"], batch["text_mask"])
        fused = model.fuse(videos, texts if model.text_conditioned else None)
        return {"similarity": score_all_pairs(model, texts, videos), "fused_frames": fused[batch["video_mask"]]}


def _bare(config: Config) -> Config:
    """``config`` without encoders and without what freezes them."""
    return {name: value for name, value in config.items() if name not in ("frozen", *_ENCODERS)}
