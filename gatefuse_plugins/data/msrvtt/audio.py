"""From a WAV file to the normalised log-mel spectrogram that audio encoders take."""

from __future__ import annotations

import math
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gatefuse_plugins.data.msrvtt.fbank import log_mel_fbank, window_sizes
from gatefuse_plugins.data.msrvtt.options import whole_number_faults
from gatefuse_plugins.errors import ConfigError, DataError

AST_MEAN, AST_STD = -4.2677393, 4.5689974  # AudioSet's, of AST (Gong et al., Interspeech 2021)
MAX_AMPLITUDE = 2.0**31  # of integers stored as float without scaling; the filter banks of 1e20 overflow float32
MIN_SAMPLE_RATE = 1000  # Hz; below, a window of 25 ms holds too few samples for any filter
MAX_SAMPLE_RATE = 1_000_000  # of a file; a broken header's 2e9 would take hours and all memory to resample
# scipy reports broken files through all of these, depending on which chunk is broken
_WAV_ERRORS = (ValueError, TypeError, OSError, EOFError, UnboundLocalError, ArithmeticError, struct.error)


@dataclass(frozen=True)
class AudioSettings:
    """How waveforms become spectrograms; the defaults are AST's.

    Attributes:
        sample_rate: Hz; files of another rate are resampled to it.
        num_mel_bins: width M of the spectrogram.
        max_length: frames T; longer audio is cut, shorter padded.
        frame_shift: ms between frames; ``None`` stretches it so that the whole clip fills ``max_length`` frames, as
            AVIGATE does (``dataloader_msrvtt_retrieval.py``).
        mean, std: the spectrogram becomes ``(x - mean) / (2 std)``. AVIGATE uses -5.118 and 3.2527153.
    """

    sample_rate: int = 16000
    num_mel_bins: int = 128
    max_length: int = 1024
    frame_shift: float | None = 10.0
    mean: float = AST_MEAN
    std: float = AST_STD

    def __post_init__(self) -> None:
        """Raises ConfigError, all faults at once."""
        sizes = {name: getattr(self, name) for name in ("sample_rate", "num_mel_bins", "max_length")}
        faults = whole_number_faults(sizes, {"sample_rate": MIN_SAMPLE_RATE})
        if self.frame_shift is not None and not 0 < self.frame_shift < float("inf"):
            faults.append(f"frame_shift={self.frame_shift}, expected milliseconds above 0, or None")
        if not self.std > 0:
            faults.append(f"std={self.std}, expected a number above 0")
        if faults:
            raise ConfigError("audio settings: " + "; ".join(faults))


def read_samples(path: str | Path) -> tuple[int, NDArray[np.float64]]:
    """Sample rate in Hz and mono samples ``(n,)``: integers scaled to -1..1, channels averaged.

    Raises:
        DataError: the file is missing, no WAV, cut short, without samples, or holds NaN, infinity or huge values.
    """
    rate, samples = _read_wav(Path(path))
    if samples.size == 0:
        raise DataError(f"{path}: a WAV file without samples; delete it to have the video treated as one without audio")
    mono = _to_float(samples)
    mono = mono.mean(axis=1) if mono.ndim == 2 else mono
    if np.issubdtype(samples.dtype, np.floating):
        peak = np.abs(mono).max()  # NaN where any sample is
        if not np.isfinite(peak):
            raise DataError(f"{path}: holds NaN or infinity; extract the audio again")
        if peak > MAX_AMPLITUDE:
            raise DataError(
                f"{path}: samples of up to {peak:.3g}, expected -1..1, or {MAX_AMPLITUDE:.0f} at most where integers"
                " were stored as they are; extract the audio again"
            )
    return rate, mono


def read_waveform(path: str | Path, sample_rate: int) -> Tensor:
    """:func:`read_samples` resampled to ``sample_rate``: ``(samples,)`` float32; raises as that does."""
    rate, mono = read_samples(path)
    if rate != sample_rate:
        from scipy.signal import resample_poly

        common = math.gcd(rate, sample_rate)
        # beyond both ends the signal counts as its mean: as 0, an offset would click there
        mono = resample_poly(mono, sample_rate // common, rate // common, padtype="mean")
    return torch.from_numpy(np.ascontiguousarray(mono, dtype=np.float32))


def spectrogram(waveform: Tensor, settings: AudioSettings) -> tuple[Tensor, int]:
    """Normalised log-mel ``(max_length, num_mel_bins)`` and how many of its frames are audio.

    The frames after those hold the normalised 0, as in AST's training.
    """
    waveform = waveform - waveform.mean()  # microphones' offset; silence becomes exact zeros
    shift = settings.frame_shift
    if shift is None:
        shift = len(waveform) * 1000 / (settings.sample_rate * settings.max_length)
    length, step = window_sizes(settings.sample_rate, shift)
    # what lies beyond the last frame kept need not be computed
    waveform = waveform[: length + step * (settings.max_length - 1)]
    found = log_mel_fbank(waveform, settings.sample_rate, settings.num_mel_bins, shift)[: settings.max_length]
    padded = torch.nn.functional.pad(found, (0, 0, 0, settings.max_length - len(found)))
    return (padded - settings.mean) / (2 * settings.std), len(found)


def _read_wav(path: Path) -> tuple[int, NDArray]:
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # chunks with tags and the like
            warnings.filterwarnings("error", message=".*EOF.*", category=wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such audio file") from error
    except (*_WAV_ERRORS, wavfile.WavFileWarning) as error:
        raise DataError(f"{path}: not a readable WAV file ({error}); extract the audio again") from error
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        expected = f"expected {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE}"
        raise DataError(f"{path}: {rate} samples a second, {expected}; extract the audio again")
    return int(rate), samples


def _to_float(samples: NDArray) -> NDArray[np.float64]:
    if samples.dtype == np.uint8:  # the one unsigned format of WAV: silence is 128
        return (samples.astype(np.float64) - 128) / 128
    if np.issubdtype(samples.dtype, np.integer):
        return samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    return samples.astype(np.float64)
