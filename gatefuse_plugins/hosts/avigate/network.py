"""The AVIGATE network: encoders, resampler, gated fusion, similarity (Jeong et al., CVPR 2025)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.gates.gate import masked_mean
from gatefuse_plugins.hosts.avigate.gated_transformer import GatedFusionTransformer
from gatefuse_plugins.hosts.avigate.initialisation import initialise
from gatefuse_plugins.hosts.avigate.options import FusionOptions, NetworkSizes
from gatefuse_plugins.hosts.avigate.resampler import AudioResampler
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos, check_mask, reject_empty

MAX_LOGIT_SCALE = math.log(100.0)  # CLIP's bound


class LogitScale(nn.Module):
    """Holder of CLIP's learned scale, under upstream's name ``clip.logit_scale``."""

    def __init__(self) -> None:
        super().__init__()
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


class AVIGATENetwork(nn.Module):
    """Video with audio, and text, in one space.

    Parameter names are upstream's (``CLIP4Clip`` in ``modules/modeling.py``).

    Args:
        sizes: see :class:`NetworkSizes`.
        options: see :class:`FusionOptions`.
        fusion_mix: share of the fused frames in the output, the rest are frames with positions.
        lse_temperature: upstream's ``temperature``, see :func:`similarity.pair_similarity`.
        frame_encoder: images (n, 3, S, S) -> (n, D); ``None`` where inputs are features.
        text_encoder: the batch's ``text`` -> (B, N, D). Where it has ``token_mask(text)``, that is its output's mask.
        audio_encoder: (B, T, M) -> (B, A, D). Where it has ``token_mask(audio_mask)``, that is its output's mask.
    """

    def __init__(
        self,
        sizes: NetworkSizes | None = None,
        options: FusionOptions | None = None,
        fusion_mix: float = 0.05,
        lse_temperature: float = 1.0,
        frame_encoder: nn.Module | None = None,
        text_encoder: nn.Module | None = None,
        audio_encoder: nn.Module | None = None,
        **base_options: Any,
    ) -> None:
        super().__init__(**base_options)
        sizes, options = sizes or NetworkSizes(), options or FusionOptions()
        self.num_heads = sizes.num_heads
        self.fusion_mix = fusion_mix
        self.lse_temperature = lse_temperature
        width = sizes.width
        self.query_tokens = nn.Parameter(torch.empty(width, sizes.num_query_tokens))
        self.query_position_embeddings = nn.Embedding(sizes.num_query_tokens, width)
        self.frame_position_embeddings = nn.Embedding(sizes.max_frames, width)
        self.transformer_Fusion = AudioResampler(width, sizes.num_heads, sizes.resampler_layers)
        self.transformerClip = GatedFusionTransformer(width, sizes.num_heads, sizes.fusion_layers, options)
        self.clip = LogitScale()
        initialise(self)
        self.frame_encoder, self.text_encoder, self.audio_encoder = frame_encoder, text_encoder, audio_encoder

    @property
    def text_conditioned(self) -> bool:
        """Whether a video has to be fused anew for every text."""
        return self.transformerClip.options.text_conditioned

    @property
    def scale(self) -> Tensor:
        """Factor of all similarities."""
        return self.clip.logit_scale.exp()

    def blend(self, fused: Tensor, frames: Tensor) -> Tensor:
        """Output frames from fused and unfused ones, any equal shapes."""
        return torch.lerp(frames, fused, self.fusion_mix)

    def fuse(self, videos: EncodedVideos, texts: EncodedTexts | None = None) -> Tensor:
        """Output frames (V, F, D) of videos, each fused with its own row of ``texts``, or without text."""
        tokens, mask = (None, None) if texts is None else (texts.tokens, texts.mask)
        fused = self.transformerClip(videos.frames, videos.audio, tokens, videos.mask, mask, videos.has_audio)
        return self.blend(fused, videos.frames)

    def encode_texts(self, text: Any, mask: Tensor | None = None) -> EncodedTexts:
        """Encode texts.

        Args:
            text: features (B, N, D), or what the text encoder takes.
            mask: (B, N) True = a token; ``None`` is all, or what the text encoder tells.

        Raises:
            DataError: shapes do not fit, or a text has no token.
        """
        tokens = text if self.text_encoder is None else self.text_encoder(text)
        token_mask = getattr(self.text_encoder, "token_mask", None)
        if token_mask is not None:
            mask = token_mask(text)
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        self._check("text", tokens, mask)
        reject_empty("text", "token", mask)
        tokens = tokens.to(self.query_tokens.dtype)  # autocast's half precision ends with the encoder: pairs come later
        return EncodedTexts(tokens.masked_fill(~mask[..., None], 0.0), mask)

    def encode_videos(
        self, video: Tensor, mask: Tensor, audio: Tensor | None = None, audio_mask: Tensor | None = None
    ) -> EncodedVideos:
        """Encode videos and resample their audio.

        Args:
            video: frame features (B, F, D), or images (B, F, 3, S, S) for the frame encoder.
            mask: (B, F) True = a frame. What stands at other positions has no influence, NaN neither, unless the option
                ``mask_padding`` is off.
            audio: (B, A, D), or what the audio encoder takes; of any shape, or ``None``, where no video has any. The
                encoder sees padding as it stands, with 0 for NaN and infinity, and 0 where a video has no audio.
            audio_mask: (B, A); a row without True is a video without audio.

        Raises:
            DataError: shapes do not fit, a video has no frame, or more frames than there are positions.
        """
        check_mask("video", mask, video)
        reject_empty("video", "frame", mask)
        if self.transformerClip.options.mask_padding:
            video = video.masked_fill(~mask.view(*mask.shape, *[1] * (video.dim() - 2)), 0.0)
        if self.frame_encoder is not None:
            video = self.frame_encoder(video.flatten(0, 1)).unflatten(0, mask.shape)
        self._check("video", video, mask)
        positions = self.frame_position_embeddings.weight
        if video.shape[1] > len(positions):
            raise DataError(f"video: {video.shape[1]} frames, but there are {len(positions)} positions (max_frames)")
        audio, audio_mask = self._audio_tokens(video, audio, audio_mask)
        queries = self.query_tokens.T + self.query_position_embeddings.weight
        resampled = self.transformer_Fusion(queries, audio, audio_mask)
        frames = (video + positions[: video.shape[1]]).to(queries.dtype)  # as in encode_texts
        return EncodedVideos(frames, mask, resampled.to(queries.dtype), audio_mask.any(dim=1))

    def _audio_tokens(self, video: Tensor, audio: Tensor | None, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Encoded audio (B, A, D) and its mask (B, A)."""
        if audio is None or (self.audio_encoder is None and mask is not None and not mask.any()):
            return video.new_zeros(len(video), 1, video.shape[2]), video.new_zeros(len(video), 1, dtype=torch.bool)
        if mask is None:
            mask = torch.ones(audio.shape[:2], dtype=torch.bool, device=audio.device)
        check_mask("audio", mask, audio)
        if len(audio) != len(video):
            raise DataError(f"audio of {len(audio)} videos for frames of {len(video)}; expected one row each, in order")
        if self.audio_encoder is not None:
            # padding keeps the finite values that the data set chose: spectrogram encoders know silence, not 0
            garbage = ~mask[..., None] & ~(mask.any(dim=1)[:, None, None] & audio.isfinite())
            audio = self.audio_encoder(audio.masked_fill(garbage, 0.0))
            token_mask = getattr(self.audio_encoder, "token_mask", None)
            mask = mask if token_mask is None else token_mask(mask)
        self._check("audio", audio, mask)
        return audio, mask

    def frame_vectors(self, videos: EncodedVideos) -> Tensor:
        """(V, D) unit vectors of the frames before the fusion, which the margin compares."""
        frames = nn.functional.normalize(videos.frames, dim=-1)
        return nn.functional.normalize(masked_mean(frames, videos.mask), dim=-1)

    def _check(self, name: str, features: Tensor, mask: Tensor) -> None:
        width = self.query_tokens.shape[0]
        if features.dim() != 3 or features.shape[2] != width:
            raise DataError(f"{name} features have shape {tuple(features.shape)}, expected (B, length, {width})")
        check_mask(name, mask, features)
