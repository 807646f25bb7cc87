"""Sounds to waveforms: a timbre at a pitch in a rhythm, over faint noise."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from gatefuse_plugins.data.clips.config import SAMPLE_RATE
from gatefuse_plugins.data.clips.vocabulary import PITCHES, RHYTHMS, TIMBRES, Sound

_FREQUENCIES = {"low": 220.0, "middle": 600.0, "high": 1600.0}  # Hz
_DETUNE = 0.04
_SWEEP = 1.6  # factor below and above the pitch between which a sweep runs
_VIBRATO = (0.25, 5.0)  # depth as a share of the pitch, and Hz
_BEATS = {"slowly beating": 2.5, "quickly beating": 8.0}  # Hz
_FADE_SECONDS = 0.01
_FLOOR = 0.004


def synthesise(sound: Sound, seconds: float, rng: Generator) -> NDArray[np.int16]:
    """Samples ``(seconds * SAMPLE_RATE,)``; pitch, phase, loudness and noise vary by ``rng``."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = _FREQUENCIES[PITCHES[sound.pitch]] * rng.uniform(1 - _DETUNE, 1 + _DETUNE)
    wave = _wave(TIMBRES[sound.timbre], pitch, time, rng)
    wave /= np.sqrt(np.mean(np.square(wave)))
    loudness = rng.uniform(0.08, 0.2)
    mixed = loudness * wave * _envelope(RHYTHMS[sound.rhythm], time, rng) + _FLOOR * rng.standard_normal(len(time))
    return np.rint(np.clip(mixed, -1, 1) * 32767).astype(np.int16)


def _wave(timbre: str, pitch: float, time: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    phase, seconds = rng.uniform(0, 2 * np.pi), time[-1]
    if timbre == "hiss":
        spectrum = np.fft.rfft(rng.standard_normal(len(time)))
        frequencies = np.fft.rfftfreq(len(time), 1 / SAMPLE_RATE)
        spectrum[(frequencies < pitch / 1.5) | (frequencies > pitch * 1.5)] = 0
        return np.fft.irfft(spectrum, len(time))
    if timbre == "buzz":
        harmonics = np.arange(1, int(SAMPLE_RATE / 2 / pitch) + 1)
        return (np.sin(harmonics[:, None] * (2 * np.pi * pitch * time + phase)) / harmonics[:, None]).sum(axis=0)
    frequency = np.full(len(time), pitch)
    if timbre == "siren":
        depth, rate = _VIBRATO
        frequency *= 1 + depth * np.sin(2 * np.pi * rate * time + phase)
    elif timbre.endswith("sweep"):
        direction = 1 if timbre.startswith("rising") else -1
        frequency *= _SWEEP ** (direction * (2 * time / seconds - 1))
    return np.sin(2 * np.pi * np.cumsum(frequency) / SAMPLE_RATE + phase)


def _envelope(rhythm: str, time: NDArray[np.float64], rng: Generator) -> NDArray[np.float64]:
    """On half of each beat, with short fades that keep clicks out of the spectrum."""
    if rhythm == "steady":
        return np.ones(len(time))
    beat = 1 / _BEATS[rhythm]
    position = (time + rng.uniform(0, beat)) % beat
    return np.clip(np.minimum(position, beat / 2 - position) / _FADE_SECONDS, 0, 1)
