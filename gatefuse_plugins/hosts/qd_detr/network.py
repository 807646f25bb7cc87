"""The QD-DETR network: from features of video, text and audio to windows and saliency scores.

Moon et al., "Query-Dependent Video Representation for Moment Retrieval and Highlight Detection", CVPR 2023;
``model.py`` of wjun0830/QD-DETR, whose parameter names are kept, so that its checkpoints load unchanged.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.hosts.qd_detr.decoder import inverse_sigmoid
from gatefuse_plugins.hosts.qd_detr.front import FusedFront
from gatefuse_plugins.hosts.qd_detr.inputs import Streams, check_options
from gatefuse_plugins.hosts.qd_detr.position import TextPositions, clip_positions
from gatefuse_plugins.hosts.qd_detr.projection import MLP
from gatefuse_plugins.hosts.qd_detr.transformer import Transformer


class QDDETRNetwork(FusedFront):
    """Moment retrieval and highlight detection. Names and defaults of arguments are upstream's where it has them.

    Args:
        video_dim: see :class:`FusedFront`, also for ``text_dim``, ``audio_dim``, ``fusion``, ``n_input_proj``.
        hidden_dim: width D of the transformer: even, a multiple of ``nheads``.
        nheads: attention heads.
        enc_layers: layers of the text-to-video encoder, and again of the encoder.
        dec_layers: layers of the decoder.
        dim_feedforward: hidden width of the feed-forward networks.
        dropout: rate in the transformer; ``input_dropout``: in the input projections.
        num_queries: windows that are predicted.
        use_txt_pos: give words learned positions, at most ``max_q_l``.
        max_q_l: see ``use_txt_pos``; without it texts may have any length.
        compat: ``None`` masks each sample by itself, ``"upstream"`` as upstream does (see :func:`text_key_mask`).

    Raises:
        ConfigError: sizes that do not fit, an unknown ``compat``; see also :class:`FusedFront`.
    """

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        audio_dim: int | None = None,
        fusion: Fusion | None = None,
        hidden_dim: int = 256,
        nheads: int = 8,
        enc_layers: int = 2,
        dec_layers: int = 2,
        dim_feedforward: int = 1024,
        dropout: float = 0.1,
        input_dropout: float = 0.5,
        n_input_proj: int = 2,
        num_queries: int = 10,
        use_txt_pos: bool = False,
        max_q_l: int = 32,
        compat: str | None = None,
        **base_options: Any,
    ) -> None:
        check_options(hidden_dim, nheads, compat)
        super().__init__(
            video_dim, text_dim, audio_dim, fusion, hidden_dim, n_input_proj, input_dropout, **base_options
        )
        self.global_rep_token = nn.Parameter(torch.randn(hidden_dim))
        self.global_rep_pos = nn.Parameter(torch.randn(hidden_dim))
        self.use_txt_pos = use_txt_pos
        # part of every published checkpoint, though upstream's default leaves it unused
        self.txt_position_embed = TextPositions(max_q_l, hidden_dim, input_dropout).requires_grad_(use_txt_pos)
        self.transformer = Transformer(
            hidden_dim, nheads, dim_feedforward, enc_layers, dec_layers, dropout, head_major_mask=compat == "upstream"
        )
        self.query_embed = nn.Embedding(num_queries, 2)
        self.span_embed = MLP(hidden_dim, hidden_dim, 2, 3)
        self.class_embed = nn.Linear(hidden_dim, 2)
        self.saliency_proj1 = nn.Linear(hidden_dim, hidden_dim)
        self.saliency_proj2 = nn.Linear(hidden_dim, hidden_dim)

    def detect(self, streams: Streams, decode: bool = True, negatives: bool = False) -> dict[str, Any]:
        """Predict.

        Args:
            streams: a batch's features and masks. What stands at padding reaches no result.
            decode: predict windows; without it the decoder does not run.
            negatives: score each video with the text of the batch's next sample too (section 3.2). A batch of one has
                no other text, so it has no negative pair.

        Returns:
            ``saliency_scores`` (B, L), ``video_mask`` (B, L); with negatives ``saliency_scores_neg`` (B, L); with
            ``decode`` ``pred_logits`` (B, Q, 2), class 0 foreground, ``pred_spans`` (B, Q, 2) (center, width) in 0..1
            of the video, and ``aux_outputs``, a dict of both for every decoder layer but the last.

        Raises:
            DataError: shapes that do not fit; a sample without audio where the fusion takes none.
        """
        self.check(streams)
        video_mask, words = streams.video_mask, self.words(streams)
        video, audio = self.features(streams)
        clips = self.clips(video, audio, words, streams)
        position = clip_positions(video_mask, clips.shape[-1]).to(clips.dtype)
        passes = [(clips, words, streams.text_mask)]
        if negatives and len(clips) > 1:
            # rolled after the projection: both pairs see the same words, dropout included, as upstream's do
            other, other_words = streams.rolled(), words.roll(-1, 0)
            steered = self.fusion is not None and self.fusion.uses_condition
            other_clips = self.clips(video, audio, other_words, other) if steered else clips
            passes.append((other_clips, other_words, other.text_mask))
        tokens = self._encode(passes, position, video_mask)
        names = ("saliency_scores", "saliency_scores_neg")
        outputs: dict[str, Any] = dict(zip(names, self._saliency(tokens).chunk(len(passes)), strict=False))
        if decode:
            outputs |= self._decode(tokens[: len(clips), 1:].contiguous(), position, video_mask)
        return outputs | {"video_mask": video_mask}

    def _encode(self, passes: list[tuple[Tensor, Tensor, Tensor]], position: Tensor, video_mask: Tensor) -> Tensor:
        """Encode pairs of clips, words and word mask, all as one batch: (passes * B, 1 + L, D)."""
        count = len(passes)
        clips, words, masks = zip(*passes, strict=True)
        # mask by mask: upstream's fault depends on the batch that a mask is made for
        text_mask = torch.cat([self.transformer.text_mask(mask, video_mask) for mask in masks])
        text = torch.cat(words)
        keys = text + self.txt_position_embed(text) if self.use_txt_pos else text
        return self.transformer.encode(
            torch.cat(clips),
            position.repeat(count, 1, 1),
            video_mask.repeat(count, 1),
            text,
            keys,
            text_mask,
            self.global_rep_token,
            self.global_rep_pos,
        )

    def _saliency(self, tokens: Tensor) -> Tensor:
        """Agreement (B, L) of every clip with the global token, which leads ``tokens`` (B, 1 + L, D).

        The clips' projection is applied to the one global token instead: (W c + b) . g = c . (W' g) + b . g.
        """
        target = self.saliency_proj2(tokens[:, 0])
        direction = target @ self.saliency_proj1.weight
        scores = (tokens[:, 1:] @ direction.unsqueeze(-1)).squeeze(-1)
        return (scores + (target @ self.saliency_proj1.bias).unsqueeze(-1)) / math.sqrt(tokens.shape[-1])

    def _decode(self, clips: Tensor, position: Tensor, video_mask: Tensor) -> dict[str, Any]:
        states, references = self.transformer.decode(clips, position, video_mask, self.query_embed.weight)
        logits = self.class_embed(states)
        spans = (self.span_embed(states) + inverse_sigmoid(references)).sigmoid()
        layers = [{"pred_logits": a, "pred_spans": b} for a, b in zip(logits, spans, strict=True)]
        return layers[-1] | {"aux_outputs": layers[:-1]}
