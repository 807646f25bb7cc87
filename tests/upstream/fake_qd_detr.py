"""A host with the parts of upstream's QD-DETR that a fusion is attached to, in our own words."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gatefuse_plugins.upstream.qd_detr.fuse import FusedVideo

VIDEO, TEXT, AUDIO, HIDDEN = 6, 5, 4, 8


class Layer(nn.Module):
    def __init__(
        self, in_hsz: int, out_hsz: int, layer_norm: bool = True, dropout: float = 0.1, relu: bool = True
    ) -> None:
        super().__init__()
        self.relu, self.layer_norm = relu, layer_norm
        self.LayerNorm = nn.LayerNorm(in_hsz)
        self.net = nn.Sequential(nn.Dropout(dropout), nn.Linear(in_hsz, out_hsz))

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(self.LayerNorm(x))
        return x.relu() if self.relu else x


def projection(width: int) -> nn.Sequential:
    return nn.Sequential(Layer(width, HIDDEN), Layer(HIDDEN, HIDDEN, relu=False))


class Host(nn.Module):
    """Gives the clips of positive and of negative pairs, as the patched forward does."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_dim, self.fusion = HIDDEN, None
        self.input_vid_proj, self.input_txt_proj = projection(VIDEO + AUDIO), projection(TEXT)

    def forward(
        self, vid: Tensor, vid_mask: Tensor, txt: Tensor, txt_mask: Tensor, aud: Tensor, aud_mask: Tensor
    ) -> tuple:
        fused = FusedVideo(self, vid, vid_mask, txt, txt_mask, aud, aud_mask)
        words = self.input_txt_proj(txt)
        clips = fused.projected(self.input_vid_proj(fused.unprojected()), words)
        return clips, fused.beside_next_text(clips, words.roll(-1, 0), txt_mask.roll(-1, 0))


def batch(count: int = 3, clips: int = 5, words: int = 4) -> tuple[Tensor, ...]:
    """Streams and float masks, 1 = valid, of samples of different lengths."""
    generator = torch.Generator().manual_seed(0)
    lengths, texts = torch.arange(count) + clips - count + 1, torch.arange(count, 0, -1) + words - count
    vid_mask = (torch.arange(clips) < lengths[:, None]).float()
    txt_mask = (torch.arange(words) < texts[:, None]).float()
    streams = [
        torch.randn(count, *size, generator=generator) for size in ((clips, VIDEO), (words, TEXT), (clips, AUDIO))
    ]
    vid, txt, aud = (s * m[..., None] for s, m in zip(streams, (vid_mask, txt_mask, vid_mask), strict=True))
    return vid, vid_mask, txt, txt_mask, aud, vid_mask
