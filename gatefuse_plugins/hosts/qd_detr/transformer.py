"""Encoders and decoder of QD-DETR (Moon et al., CVPR 2023; transformer.py of wjun0830/QD-DETR)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.hosts.qd_detr.attention import attendable
from gatefuse_plugins.hosts.qd_detr.decoder import Decoder, Memory
from gatefuse_plugins.hosts.qd_detr.encoder import EncoderLayer, LayerStack, TextToVideoLayer


def text_key_mask(text_mask: Tensor, video_mask: Tensor, num_heads: int, head_major: bool = False) -> Tensor:
    """Which words (B, N) clips (B, L) may attend to: True = may, broadcastable to (B, H, L, N).

    Args:
        text_mask: valid words (B, N).
        video_mask: valid clips (B, L); of use only with ``head_major``.
        num_heads: H.
        head_major: upstream's fault. It builds one mask a sample and repeats it head by head where torch expects
            sample by sample, so head h of sample b is given the mask of sample (b * H + h) % B: words that are padding
            there are hidden from clips that are padding there.
    """
    allowed = text_mask[:, None, None, :]
    if head_major:
        count = len(text_mask)
        foreign = torch.arange(count * num_heads, device=text_mask.device) % count
        shown = video_mask[:, :, None] | text_mask[:, None, :]
        allowed = allowed & shown[foreign].unflatten(0, (count, num_heads))
    return attendable(allowed)


class Transformer(nn.Module):
    """Text-to-video encoder, encoder with a global token, decoder.

    Args:
        dim: width D.
        num_heads: attention heads.
        dim_feedforward: hidden width of all feed-forward networks.
        enc_layers: layers of each of the two encoders.
        dec_layers: layers of the decoder.
        dropout: rate of all dropouts.
        head_major_mask: see :func:`text_key_mask`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dim_feedforward: int,
        enc_layers: int,
        dec_layers: int,
        dropout: float,
        head_major_mask: bool = False,
    ) -> None:
        super().__init__()
        sizes = (dim, num_heads, dim_feedforward, dropout)
        self.num_heads = num_heads
        self.head_major_mask = head_major_mask
        self.t2v_encoder = LayerStack(*(TextToVideoLayer(*sizes) for _ in range(enc_layers)))
        self.encoder = LayerStack(*(EncoderLayer(*sizes) for _ in range(enc_layers)))
        self.decoder = Decoder(dim, dec_layers, num_heads, dim_feedforward, dropout)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def text_mask(self, text_mask: Tensor, video_mask: Tensor) -> Tensor:
        """See :func:`text_key_mask`."""
        return text_key_mask(text_mask, video_mask, self.num_heads, self.head_major_mask)

    def encode(
        self,
        video: Tensor,
        position: Tensor,
        video_mask: Tensor,
        text: Tensor,
        text_key: Tensor,
        text_mask: Tensor,
        global_token: Tensor,
        global_position: Tensor,
    ) -> Tensor:
        """Global token and clips after both encoders, (B, 1 + L, D).

        Args:
            video: clips (B, L, D), their ``position`` (B, L, D) and ``video_mask`` (B, L).
            text: words (B, N, D); ``text_key`` are the words with their positions, if they have any.
            text_mask: from :meth:`text_mask`.
            global_token: (D,), reads the whole video; ``global_position`` (D,) is its position.
        """
        video = self.t2v_encoder(video, position, text, text_key, video_mask, text_mask)
        first = (len(video), 1, -1)
        tokens = torch.cat([global_token.expand(first).to(video.dtype), video], dim=1)
        places = torch.cat([global_position.expand(first).to(position.dtype), position], dim=1)
        mask = torch.cat([video_mask.new_ones(len(video), 1), video_mask], dim=1)
        return self.encoder(tokens, places, mask, mask[:, None, None, :])

    def decode(self, clips: Tensor, position: Tensor, video_mask: Tensor, windows: Tensor) -> tuple[Tensor, Tensor]:
        """See :class:`Decoder`; ``clips`` and ``position`` (B, L, D), ``windows`` (Q, 2)."""
        return self.decoder(windows, Memory(clips, position, attendable(video_mask[:, None, :])))
