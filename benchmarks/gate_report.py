"""How long does the whole report of QVHighlights' validation split take, and how much memory?

python benchmarks/gate_report.py [--samples 1550 --clips 75 --layers 4 --width 256 --views 50] [--keep DIR]

Makes a gate store of elementwise attention and FFN gates (float16, ragged lengths), in a process of its own. Then
times each part: reading the store, the summary, the analyses, and writing all files with pictures. Prints the peak of
resident memory beside what Python and its imports take. Targets: 60 s and 1 GiB on two cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from timing import use_threads

from gatefuse_plugins.analysis.gates.individual import choose_samples, sample_gates
from gatefuse_plugins.analysis.gates.report import build_report
from gatefuse_plugins.analysis.gates.sources import StoreGateData
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.analysis.gates.writing import write_report
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues

BATCH = 32
TARGET_SECONDS, TARGET_BYTES = 60.0, 2**30


def make_store(folder: Path, samples: int, clips: int, layers: int, width: int) -> None:
    """Sigmoid attention and tanh FFN gates of a random smooth course, 60 to 100 % of ``clips`` long."""
    rng = np.random.default_rng(0)
    taps = {
        f"fusion.layers.{layer}.{kind}_tap": GateTap(kind, low, 1.0, 0.0, layer)
        for layer in range(layers)
        for kind, low in (("attention", 0.0), ("ffn", -1.0))
    }
    with GateStoreWriter(folder, taps) as writer:
        for start in range(0, samples, BATCH):
            size = min(BATCH, samples - start)
            valid = np.arange(clips) < rng.integers(max(1, int(0.6 * clips)), clips + 1, (size, 1))
            found = []
            for name, tap in taps.items():
                raw = rng.normal(size=(size, clips, 1)).cumsum(axis=1) / 4 + rng.normal(size=(size, 1, width))
                raw = raw + 0.3 * rng.normal(size=(size, clips, width))
                value = 1 / (1 + np.exp(-raw)) if tap.low == 0 else np.tanh(raw)
                found.append(TapValues(name, tap, 0, value.astype(np.float16), valid))
            writer.append([f"q{start + row}" for row in range(size)], found)


def peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(store: Path, out: Path, views: int) -> list[tuple[str, float]]:
    """Seconds of each part."""
    marks = [("", time.perf_counter())]

    def mark(name: str) -> None:
        marks.append((name, time.perf_counter()))

    data = StoreGateData(store)
    values = sum(data.values(sample.id, gate).size for sample in data.samples for gate in data.gates)
    mark(f"decode the store alone ({values / 1e6:,.0f} million values)")
    data = StoreGateData(store)
    summary = summarise(data)
    mark("open the store and summarise")
    individuals = tuple(sample_gates(data, sample) for sample in choose_samples(data, views))
    mark(f"{views} single samples")
    report = build_report(summary, individuals=individuals)
    mark("analyses")
    write_report(out, report)
    mark("write tables, page and pictures")
    return [(name, end - begin) for (_, begin), (name, end) in pairwise(marks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("samples", 1550), ("clips", 75), ("layers", 4), ("width", 256), ("views", 50), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--keep", metavar="DIR", help="keep store and report there")
    args = parser.parse_args()
    use_threads(args.threads)
    before = peak()
    folder = Path(args.keep or tempfile.mkdtemp(prefix="gate_report_"))
    sizes = (args.samples, args.clips, args.layers, args.width)
    maker = multiprocessing.get_context("spawn").Process(target=make_store, args=(folder / "store", *sizes))
    maker.start()  # its arrays shall not count in this process
    maker.join()
    if maker.exitcode:
        raise SystemExit("the store could not be made")
    try:
        parts = run(folder / "store", folder / "report", args.views)
    finally:
        if not args.keep:
            shutil.rmtree(folder)
    table = Table("part", "seconds", title="{} samples x {} clips x {} layers x 2 kinds x {}".format(*sizes))
    for name, seconds in parts:
        table.add_row(name, f"{seconds:.1f}")
    whole = sum(seconds for _, seconds in parts[1:])  # decoding is part of summarising
    table.add_row("whole report", f"{whole:.1f} (target {TARGET_SECONDS:.0f})", style="bold")
    console = Console()
    console.print(table)
    console.print(
        f"peak memory {peak() / 2**20:,.0f} MiB (target {TARGET_BYTES / 2**20:,.0f}), before {before / 2**20:,.0f}"
    )


if __name__ == "__main__":
    main()
