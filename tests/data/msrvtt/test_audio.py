"""WAV files to spectrograms: formats, rates, silence, broken files, and the filter banks against plain formulas."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from clip_sets import write_wav
from scipy.io import wavfile

from gatefuse_plugins.data.msrvtt.audio import AudioSettings, read_waveform, spectrogram
from gatefuse_plugins.data.msrvtt.fbank import log_mel_fbank, mel_filters
from gatefuse_plugins.errors import ConfigError, DataError

TINY = AudioSettings(sample_rate=8000, num_mel_bins=6, max_length=20)


def reference_fbank(wave: np.ndarray, rate: int, bins: int, shift_ms: float) -> np.ndarray:
    """Kaldi's formulas in float64, one window, one frequency and one filter at a time."""
    length, shift = int(rate * 0.025), int(rate * shift_ms / 1000)
    fft = 1
    while fft < length:
        fft *= 2

    def mel(hertz: float) -> float:
        return 1127.0 * math.log(1 + hertz / 700)

    low, high = mel(20), mel(rate / 2)
    step = (high - low) / (bins + 1)
    rows = []
    for start in range(0, len(wave) - length + 1, shift):
        window = wave[start : start + length] - wave[start : start + length].mean()
        emphasised = [window[0] * 0.03] + [window[i] - 0.97 * window[i - 1] for i in range(1, length)]
        tapered = [v * (0.5 - 0.5 * math.cos(2 * math.pi * i / (length - 1))) for i, v in enumerate(emphasised)]
        power = np.abs(np.fft.fft(tapered, fft)) ** 2
        row = []
        for number in range(bins):
            left, centre, right = (low + (number + i) * step for i in range(3))
            energy = 0.0
            for k in range(fft // 2):
                at = mel(k * rate / fft)
                if left < at < right:
                    energy += power[k] * ((at - left) / step if at <= centre else (right - at) / step)
            row.append(math.log(max(energy, 1.1920929e-07)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(("rate", "bins", "shift"), [(8000, 10, 10.0), (16000, 23, 7.3)])
def test_filter_banks_follow_kaldis_formulas(rate: int, bins: int, shift: float) -> None:
    wave = np.random.default_rng(0).standard_normal(rate // 8) * 0.1
    found = log_mel_fbank(torch.from_numpy(wave).float(), rate, bins, shift)
    expected = reference_fbank(wave, rate, bins, shift)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_lights_the_filter_that_is_centred_on_it(frequency: float) -> None:
    wave = torch.sin(2 * math.pi * frequency * torch.arange(4000) / 16000)
    brightest = int(log_mel_fbank(wave, 16000, 40)[5].argmax())
    filters = mel_filters(40, 512, 16000)
    # windows spread a tone over the neighbouring bins
    assert abs(int(filters[:, round(frequency * 512 / 16000)].argmax()) - brightest) <= 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32", "float64"])
def test_every_sample_format_gives_the_same_waveform(tmp_path: Path, dtype: str) -> None:
    wave = 0.5 * np.sin(np.arange(400) / 9)
    if dtype == "uint8":
        samples = np.rint(wave * 127 + 128).astype(np.uint8)
    elif dtype.startswith("int"):
        samples = np.rint(wave * np.iinfo(dtype).max).astype(dtype)
    else:
        samples = wave.astype(dtype)
    wavfile.write(tmp_path / "a.wav", 8000, samples)
    found = read_waveform(tmp_path / "a.wav", 8000)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), wave, atol=0.01 if dtype == "uint8" else 1e-4)


def test_stereo_is_averaged_and_other_rates_are_resampled(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 300 * np.arange(11025) / 44100)
    wavfile.write(tmp_path / "stereo.wav", 44100, np.stack([tone, 3 * tone], axis=1).astype(np.float32))
    found = read_waveform(tmp_path / "stereo.wav", 8000).numpy()
    expected = 2 * np.sin(2 * np.pi * 300 * np.arange(len(found)) / 8000)
    assert len(found) == 2000
    np.testing.assert_allclose(found[50:-50], expected[50:-50], atol=0.01)


def test_silence_is_finite_and_padding_is_the_normalised_zero(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "silent.wav", 8000, np.full(800, 7, dtype=np.int16))
    values, length = spectrogram(read_waveform(tmp_path / "silent.wav", 8000), TINY)
    assert values.shape == (20, 6) and length == 8  # 1 + (800 - 200) // 80
    floor = (math.log(1.1920929e-07) - TINY.mean) / (2 * TINY.std)
    torch.testing.assert_close(values[:8], torch.full((8, 6), floor))
    torch.testing.assert_close(values[8:], torch.full((12, 6), -TINY.mean / (2 * TINY.std)))


def test_long_audio_is_cut_and_short_audio_gives_one_frame() -> None:
    long = torch.from_numpy(np.random.default_rng(0).standard_normal(8000)).float()
    values, length = spectrogram(long, TINY)
    assert length == 20
    whole = log_mel_fbank(long - long.mean(), 8000, 6)[:20]
    torch.testing.assert_close(values, (whole - TINY.mean) / (2 * TINY.std))
    assert spectrogram(long[:50], TINY)[1] == 1


def test_without_a_frame_shift_the_clip_fills_the_spectrogram() -> None:
    stretched = AudioSettings(8000, 6, 20, None)
    for samples in (4000, 16000):
        values, length = spectrogram(torch.randn(samples, generator=torch.Generator().manual_seed(0)), stretched)
        assert 18 <= length <= 20 and torch.isfinite(values).all()


def test_broken_files_are_named(tmp_path: Path) -> None:
    write_wav(tmp_path / "good.wav")
    good = (tmp_path / "good.wav").read_bytes()
    broken = {"text.wav": b"no sound", "none.wav": b"", "head.wav": good[:30], "half.wav": good[: len(good) // 2]}
    for name, content in broken.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=f"{name}: not a readable WAV file"):
            read_waveform(tmp_path / name, 8000)
    with pytest.raises(DataError, match="no such audio file"):
        read_waveform(tmp_path / "absent.wav", 8000)
    wavfile.write(tmp_path / "empty.wav", 8000, np.zeros(0, dtype=np.int16))
    with pytest.raises(DataError, match="without samples"):
        read_waveform(tmp_path / "empty.wav", 8000)
    wavfile.write(tmp_path / "nan.wav", 8000, np.array([0, np.nan], dtype=np.float32))
    with pytest.raises(DataError, match="NaN or infinity"):
        read_waveform(tmp_path / "nan.wav", 8000)
    mute = bytearray(good)
    mute[22:24] = struct.pack("<H", 0)  # the header's channels
    (tmp_path / "mute.wav").write_bytes(bytes(mute))
    with pytest.raises(DataError, match="mute.wav: not a readable WAV file"):
        read_waveform(tmp_path / "mute.wav", 8000)
    for rate, name in ((100, "slow.wav"), (2_000_000_000, "fast.wav")):
        odd = bytearray(good)
        odd[24:32] = struct.pack("<II", rate, 2 * rate)  # the header's samples and bytes a second
        (tmp_path / name).write_bytes(bytes(odd))
        with pytest.raises(DataError, match=f"{name}: {rate} samples a second, expected 1000 to 1000000"):
            read_waveform(tmp_path / name, 8000)


def test_huge_samples_are_refused_and_unscaled_integers_are_finite(tmp_path: Path) -> None:
    wave = np.random.default_rng(0).standard_normal(8000)
    wave /= np.abs(wave).max()
    for dtype in ("float32", "float64"):
        wavfile.write(tmp_path / "huge.wav", 8000, (1e20 * wave).astype(dtype))
        with pytest.raises(DataError, match=r"huge.wav: samples of up to 1e\+20, expected -1..1"):
            read_waveform(tmp_path / "huge.wav", 8000)
        wavfile.write(tmp_path / "unscaled.wav", 8000, (2.0**31 * wave).astype(dtype))
        values, _ = spectrogram(read_waveform(tmp_path / "unscaled.wav", 8000), AudioSettings(sample_rate=8000))
        assert torch.isfinite(values).all()


def test_a_constant_stays_constant_at_any_rate(tmp_path: Path) -> None:
    wavfile.write(tmp_path / "offset.wav", 44100, np.full(4410, 700, dtype=np.int16))
    found = read_waveform(tmp_path / "offset.wav", 8000)
    assert len(found) == 800 and found.unique().tolist() == [700 / 32768]
    floor = (math.log(1.1920929e-07) - TINY.mean) / (2 * TINY.std)
    torch.testing.assert_close(spectrogram(found, TINY)[0][:8], torch.full((8, 6), floor))


def test_settings_report_all_faults() -> None:
    with pytest.raises(ConfigError, match=r"sample_rate=10.*max_length=0.*frame_shift=-1.*std=0"):
        AudioSettings(sample_rate=10, max_length=0, frame_shift=-1, std=0)
    with pytest.raises(ConfigError, match=r"sample_rate='8000', expected a whole .*; num_mel_bins=8\.4,.*nearest: 8"):
        AudioSettings(sample_rate="8000", num_mel_bins=8.4)
