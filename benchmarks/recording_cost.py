"""What recording gates costs, in time and in bytes, against the inference that it watches and against JSON lines.

python benchmarks/recording_cost.py [--samples 128 --batch-size 32 --rounds 3 --threads 2] [--full]

The model is QD-DETR with the AVIGATE custom fusion, random weights: 75 clips of 2818 + 2050 columns, 4 fusion layers of
width 256, elementwise gates, so 153,600 gate values a sample. An inference is the forward and the post-processing of
all samples. Arms, in turn within each round: no recording; statistics (of taps and samples); raw values into a gate
store, on the disk of --folder, until the last byte is there. Costs are medians over the rounds of the ratio within a
round.
JSON lines: the same values as nested lists in QD-DETR-exp's log, of a few samples, by the byte and by the second.
--full takes the 1,550 samples of QVHighlights' validation split.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from qd_detr_speed import AUDIO_DIM, TEXT_DIM, VIDEO_DIM, Size, make_batch
from rich.console import Console
from rich.table import Table
from timing import Timing, paired_ratio, use_threads

import gatefuse_plugins.plugins  # noqa: F401  registers the fusion
from gatefuse_plugins.gates.tap import gate_taps
from gatefuse_plugins.hosts.qd_detr import QDDETR
from gatefuse_plugins.recording.jsonlines import entry_of, to_line
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

CLIPS, WORDS, LAYERS, WIDTH = 75, 20, 4, 256
QVHIGHLIGHTS_VAL = 1550
TARGETS = {"statistics": 5.0, "raw values": 15.0}


class Inference:
    """The arms of the comparison, over one model and one batch."""

    def __init__(self, samples: int, batch_size: int, generation: str, folder: Path) -> None:
        torch.manual_seed(0)
        fusion = {"type": "AvigateCustomFusion", "gating_type": "elementwise", "fusion_layers": LAYERS}
        fusion["generation"] = generation
        self.model = QDDETR(VIDEO_DIM, TEXT_DIM, AUDIO_DIM, WIDTH, fusion=fusion).eval()
        batch = make_batch(Size(batch_size, CLIPS, WORDS, "cpu"))
        labels = {"duration": torch.full((batch_size,), 150.0), "sample_index": torch.arange(batch_size)}
        self.batch = {name: batch[name] for name in batch if name.split("_")[0] in ("video", "text", "audio")} | labels
        self.sizes = [min(batch_size, samples - start) for start in range(0, samples, batch_size)]
        self.folder = folder
        self.store_bytes = 0

    def batches(self) -> Iterator[dict[str, Any]]:
        return ({name: value[:size] for name, value in self.batch.items()} for size in self.sizes)

    def run(self) -> None:
        with torch.inference_mode():
            for batch in self.batches():
                self.model(mode="predict", **batch)

    def statistics(self) -> None:
        with record_gates(self.model) as gates:
            self.run()
        gates.summary()
        gates.samples()

    def raw(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        with GateStoreWriter(self.folder, dict(gate_taps(self.model))) as writer:
            sink = ValuesSink(writer.append, half=True)
            with record_gates(self.model, reduce="moments", sinks=[sink]):
                self.run()
        self.store_bytes = sum(path.stat().st_size for path in self.folder.iterdir())

    def values(self) -> tuple[list[int], list[TapValues]]:
        """Ids and gate values of one batch, as they reach a writer."""
        kept: list[Any] = []
        sink = ValuesSink(lambda *found: kept.append(found), half=True)
        with record_gates(self.model, sinks=[sink]), torch.inference_mode():
            self.model(mode="predict", **next(self.batches()))
        return kept[0][0], kept[0][1]


def measure(inference: Inference, rounds: int) -> dict[str, Timing]:
    """Seconds of each arm, in turn, A B C C B A."""
    arms = {"inference": inference.run, "statistics": inference.statistics, "raw values": inference.raw}
    inference.statistics()
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for turn in range(rounds):
        order = list(arms.items())
        for name, arm in order if turn % 2 == 0 else reversed(order):
            start = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(taken), 0) for name, taken in seconds.items()}


def writing(inference: Inference, folder: Path) -> tuple[float, float, float, float]:
    """Nanoseconds and bytes a value: of the gate store, then of JSON lines."""
    ids, values = inference.values()
    count = sum(found.values.size for found in values)
    store = folder / "writing"
    start = time.perf_counter()
    with GateStoreWriter(store, {found.name: found.tap for found in values}) as writer:
        writer.append(ids, values)
    store_time = time.perf_counter() - start
    store_bytes = sum(path.stat().st_size for path in store.iterdir())
    few, log = min(4, len(ids)), folder / "log.jsonl"
    start = time.perf_counter()
    with open(log, "w", encoding="utf-8") as stream:
        for row in range(few):
            stream.write(to_line(entry_of(values, row, ids[row], "", "elementwise")) + "\n")
    lines_time = time.perf_counter() - start
    few_count = count * few / len(ids)
    nano = 1e9
    return store_time / count * nano, store_bytes / count, lines_time / few_count * nano, log.stat().st_size / few_count


def report(generation: str, args: argparse.Namespace, folder: Path, table: Table) -> None:
    inference = Inference(args.samples, args.batch_size, generation, folder / "store")
    timings = measure(inference, args.rounds)
    base = timings["inference"]
    costs = {name: 100 * (paired_ratio(timings[name], base) - 1) for name in TARGETS}
    count = args.samples * CLIPS * WIDTH * LAYERS * 2
    store_time, store_bytes, lines_time, lines_bytes = writing(inference, folder)
    rows = {
        "inference, ms a sample": (f"{base.median / args.samples * 1e3:.1f}", ""),
        "statistics, % of inference": (f"{costs['statistics']:+.1f}", "<= 5"),
        "raw values, % of inference": (f"{costs['raw values']:+.1f}", "<= 15"),
        "store, bytes a value": (f"{inference.store_bytes / count:.3f}", "<= 1.75"),
        "store / JSON lines, ns a value": (f"{store_time:.1f} / {lines_time:.0f}", ""),
        "writing, times faster than JSON lines": (f"{lines_time / store_time:.0f}", ">= 20"),
        "files, times smaller than JSON lines": (f"{lines_bytes / store_bytes:.1f}", ">= 8"),
    }
    for name, (found, target) in rows.items():
        table.add_row(generation, name, found, target)
    shutil.rmtree(folder / "store")
    shutil.rmtree(folder / "writing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=128)
    parser.add_argument("--full", action="store_true", help=f"{QVHIGHLIGHTS_VAL} samples")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--generations", nargs="+", choices=("sigmoid", "tanh"), default=["sigmoid", "tanh"])
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    parser.add_argument("--folder", help="where the store is written; a temporary folder by default")
    args = parser.parse_args()
    args.samples = QVHIGHLIGHTS_VAL if args.full else args.samples
    use_threads(args.threads)
    console = Console(width=max(Console().width, 100))
    console.print(f"{args.samples} samples in batches of {args.batch_size}, {torch.get_num_threads()} torch threads")
    table = Table("gates", "figure", "measured", "target")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        for generation in args.generations:
            report(generation, args, Path(folder), table)
    console.print(table)


if __name__ == "__main__":
    main()
