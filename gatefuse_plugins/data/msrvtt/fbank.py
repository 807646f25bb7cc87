"""Kaldi's log-mel filter banks in plain torch, as AST's feature extractor computes them through torchaudio.

Formulas: Kaldi ``feature-window.cc`` and ``mel-computations.cc`` in HTK-compatible mode without energy or dither, with
a symmetric Hann window, 25 ms long. ``ASTFeatureExtractor`` of transformers needs torchaudio, which is not needed here.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

FRAME_LENGTH_MS = 25.0
LOW_FREQUENCY = 20.0  # Hz
PRE_EMPHASIS = 0.97


def window_sizes(sample_rate: int, frame_shift_ms: float) -> tuple[int, int]:
    """Samples of a window and between the starts of two; whole numbers, rounded down as Kaldi does."""
    return int(sample_rate * FRAME_LENGTH_MS * 0.001), max(1, int(sample_rate * frame_shift_ms * 0.001))


def log_mel_fbank(waveform: Tensor, sample_rate: int, num_mel_bins: int = 128, frame_shift_ms: float = 10.0) -> Tensor:
    """Log-mel energies ``(frames, num_mel_bins)`` of a mono ``waveform`` ``(samples,)`` in -1..1.

    Only windows that lie inside the waveform count; one shorter than a window is padded with zeros to a single one.
    Silence gives the logarithm of float32's epsilon, never infinity.
    """
    length, shift = window_sizes(sample_rate, frame_shift_ms)
    if len(waveform) < length:
        waveform = torch.nn.functional.pad(waveform, (0, length - len(waveform)))
    windows = waveform.unfold(0, length, shift)
    windows = windows - windows.mean(dim=1, keepdim=True)
    # the first sample has no predecessor and stands in for it
    before = torch.cat([windows[:, :1], windows[:, :-1]], dim=1)
    windows = (windows - PRE_EMPHASIS * before) * torch.hann_window(length, periodic=False).to(windows)
    fft_size = 1 << math.ceil(math.log2(length))
    power = torch.fft.rfft(windows, n=fft_size).abs().square()
    energies = power @ mel_filters(num_mel_bins, fft_size, sample_rate).to(power).T
    return energies.clamp_min(torch.finfo(torch.float32).eps).log()


@functools.lru_cache(maxsize=8)
def mel_filters(num_mel_bins: int, fft_size: int, sample_rate: int) -> Tensor:
    """Triangular filters ``(num_mel_bins, fft_size / 2 + 1)``, equally wide in mel, from 20 Hz to half the rate."""
    low, high = _mel(torch.tensor([LOW_FREQUENCY, sample_rate / 2], dtype=torch.float64))
    edges = torch.linspace(float(low), float(high), num_mel_bins + 2, dtype=torch.float64)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    frequencies = torch.arange(fft_size // 2, dtype=torch.float64) * (sample_rate / fft_size)
    mel = _mel(frequencies)[None]
    triangles = torch.minimum((mel - left) / (centre - left), (right - mel) / (right - centre)).clamp_min(0.0)
    # Kaldi leaves the bin at half the sampling rate out
    return torch.nn.functional.pad(triangles, (0, 1)).to(torch.float32)


def _mel(frequency: Tensor) -> Tensor:
    return 1127.0 * torch.log1p(frequency / 700.0)
