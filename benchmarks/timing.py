"""Paired timing of alternatives in one process, and the memory that one step allocates."""

from __future__ import annotations

import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

Step = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds of every timed call of one arm, and the most bytes that a call held beyond what was there before it."""

    seconds: tuple[float, ...]
    peak_bytes: int

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def fastest(self) -> float:
        return min(self.seconds)


def time_paired(arms: Mapping[str, Step], rounds: int, warmup: int = 1) -> dict[str, Timing]:
    """Time all arms in turn, A B B A A B ..., so that a slower or busier machine slows all of them alike.

    Args:
        arms: name -> one call of what is timed.
        rounds: timed calls of each arm.
        warmup: untimed calls of each arm before; the first call allocates optimizer moments and fills caches.
    """
    for _ in range(warmup):
        for step in arms.values():
            step()
    peaks = {name: peak_bytes(step) for name, step in arms.items()}
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds):
        order = list(arms.items())
        for name, step in order if turn % 2 == 0 else reversed(order):  # no arm always runs on the other's caches
            gc.collect()  # outside the clock, so that no arm pays for another's garbage
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(taken), peaks[name]) for name, taken in seconds.items()}


def paired_ratio(numerator: Timing, denominator: Timing) -> float:
    """Median over the rounds of the two arms' times in the same round: drift between rounds drops out."""
    return statistics.median(a / b for a, b in zip(numerator.seconds, denominator.seconds, strict=True))


def peak_bytes(step: Step) -> int:
    """Most bytes of CPU tensors that ``step`` holds at once beyond those alive before it.

    Counted from the allocator's own events, not from the process's size: that includes whatever ran earlier. Measured
    apart from time, which tracing slows.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        trace.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = [(event["ts"], event["args"]["Bytes"]) for event in events if event.get("name") == "[memory]"]
    if not changes:
        raise RuntimeError("the profiler saw no allocation, so peak memory is unknown")
    held = peak = 0
    for _, change in sorted(changes, key=lambda item: item[0]):
        held += change
        peak = max(peak, held)
    return peak


def mebibytes(count: int) -> str:
    return f"{count / 2**20:.0f}"


def use_threads(count: int | None) -> None:
    """Limit torch to ``count`` threads; ``None`` leaves torch's choice."""
    if count is not None:
        torch.set_num_threads(count)
