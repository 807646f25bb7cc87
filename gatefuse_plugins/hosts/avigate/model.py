"""The video-text retrieval host for mmengine's Runner."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.hosts.avigate.losses import adaptive_margin, same_video, symmetric_contrastive_loss
from gatefuse_plugins.hosts.avigate.network import MAX_LOGIT_SCALE, AVIGATENetwork
from gatefuse_plugins.hosts.avigate.options import TrainingOptions
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos
from gatefuse_plugins.hosts.avigate.scoring import embed_videos, score_all_pairs, text_free_scores
from gatefuse_plugins.hosts.avigate.similarity import text_vectors
from gatefuse_plugins.hosts.distributed import gather_padded, gather_with_grad
from gatefuse_plugins.hosts.modes import MODES, unknown_mode


class AVIGATE(AVIGATENetwork, BaseModel):
    """:class:`AVIGATENetwork` with mmengine's ``train_step`` and ``val_step``.

    Args:
        training_options: see :class:`TrainingOptions`.
        **network: see :class:`AVIGATENetwork`.
    """

    def __init__(self, *, training_options: TrainingOptions | None = None, **network: Any) -> None:
        super().__init__(**network)
        self.training_options = training_options or TrainingOptions()

    def forward(
        self,
        mode: str = "tensor",
        *,
        video: Tensor | None = None,
        video_mask: Tensor | None = None,
        audio: Tensor | None = None,
        audio_mask: Tensor | None = None,
        text: Any = None,
        text_mask: Tensor | None = None,
        video_id: Tensor | None = None,
        video_index: Tensor | None = None,
        text_index: Tensor | None = None,
        sample_index: Tensor | None = None,
    ) -> dict[str, Tensor] | list[dict[str, Any]] | Tensor:
        """One batch.

        Args:
            mode: ``loss`` gives the losses; ``tensor`` the similarity (T, V) of the batch's texts and videos;
                ``predict`` a list with one dict of what whole sets are scored from, whichever the batch holds:
                ``frames`` (B, F, D), ``mask``, ``audio`` (B, Q, D), ``has_audio`` and ``video_index`` of its videos
                (:class:`EncodedVideos`), ``tokens`` (B, N, D), ``text_mask`` and ``text_index`` of its texts; and
                ``scorer``, this model, since a metric that scores pairs anew is handed nothing else.
            video: see :meth:`encode_videos`, likewise ``video_mask``, ``audio``, ``audio_mask``.
            text: see :meth:`encode_texts`, likewise ``text_mask``. In ``loss``, text i belongs to video i.
            video_id: (B,) equal where samples show the same video.
            sample_index: (B,) rows of the data set, by which recordings name samples; unused here.

        Raises:
            ValueError: unknown mode.
            DataError: video or text is missing where the mode needs both; see also the encode methods.
        """
        if mode not in MODES:
            raise unknown_mode("AVIGATE", mode)
        videos = None
        if video is not None:
            if video_mask is None:
                video_mask = torch.ones(video.shape[:2], dtype=torch.bool, device=video.device)
            videos = self.encode_videos(video, video_mask, audio, audio_mask)
        texts = None if text is None else self.encode_texts(text, text_mask)
        if mode == "predict":
            return [{**_prediction(videos, video_index, texts, text_index), "scorer": self}]
        if videos is None or texts is None:
            raise DataError(
                f"mode {mode!r} needs video and text; the batch lacks {'video' if videos is None else 'text'}"
            )
        if mode == "tensor":
            return score_all_pairs(self, texts, videos, self.training_options.max_bytes)
        return {"loss_contrastive": self.contrastive_loss(texts, videos, video_id)}

    def score(self, texts: EncodedTexts, videos: EncodedVideos, max_bytes: int | None = None) -> Tensor:
        """(T, V) similarity by which evaluation ranks; see :func:`score_all_pairs`."""
        return score_all_pairs(self, texts, videos, max_bytes)

    def contrastive_loss(self, texts: EncodedTexts, videos: EncodedVideos, video_id: Tensor | None = None) -> Tensor:
        """Loss over the joined batch of all ranks; text i belongs to video i."""
        if len(texts) != len(videos):
            raise DataError(f"{len(texts)} texts and {len(videos)} videos; in training text i belongs to video i")
        if self.training:
            with torch.no_grad():  # a projection: a clamp in the graph would give the parameter no gradient beyond it
                self.clip.logit_scale.clamp_(max=MAX_LOGIT_SCALE)
        options = self.training_options
        ignore = None
        if options.mask_same_video and video_id is not None:
            ignore = same_video(gather_with_grad(video_id))
        return symmetric_contrastive_loss(self.train_logits(texts, videos), ignore)

    def train_logits(self, texts: EncodedTexts, videos: EncodedVideos) -> Tensor:
        """(B, B) similarities with margin; B counts the samples of all ranks, each of which scores its own texts."""
        options = self.training_options
        text, frames = text_vectors(texts.tokens, texts.mask), self.frame_vectors(videos)
        if self.text_conditioned:
            logits = score_all_pairs(self, texts, videos.map(gather_padded), options.max_bytes)
        else:
            vectors = embed_videos(self, videos, options.max_bytes).map(gather_padded)
            logits = text_free_scores(self, texts, vectors, options.max_bytes)
        logits = gather_with_grad(logits)
        if not options.margin_beta:
            return logits
        margin = adaptive_margin(
            gather_with_grad(text.detach()),
            gather_with_grad(frames.detach()),
            options.margin_beta,
            options.margin_bound,
        )
        return logits + margin * self.scale


def _prediction(
    videos: EncodedVideos | None, video_index: Tensor | None, texts: EncodedTexts | None, text_index: Tensor | None
) -> dict[str, Tensor]:
    found: dict[str, Tensor | None] = {"video_index": video_index, "text_index": text_index}
    if videos is not None:
        found |= {item.name: getattr(videos, item.name) for item in fields(videos)}
    if texts is not None:
        found |= {"tokens": texts.tokens, "text_mask": texts.mask}
    return {name: value for name, value in found.items() if value is not None}
