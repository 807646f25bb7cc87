"""Migration of a large checkpoint: anonymous memory, and time against a plain copy and against loading it whole.

python benchmarks/migration.py [--gigabytes 4.6 --rounds 3 --folder TMP]

A checkpoint of gated-SPRC's size (BLIP-2 Q-Former, EVA ViT-g blocks until the size is reached) is written to a
temporary folder, which needs twice that space. Every arm is a process of its own, the arms take turns, and before each
the file is dropped from the page cache, so that all read it from disk:

- ``import``: importing torch, whose memory is what the others are measured above;
- ``copy``: read, SHA-256, write, fsync, in blocks, without torch;
- ``migrate``: ``tools/migrate.py run ... --no-verify`` to safetensors, with a new fusion;
- ``plain``: ``torch.load``, names remapped, ``torch.save``, fsync.

Anonymous memory is ``RssAnon`` of ``/proc``, sampled every 2 ms (Linux only); pages of mapped files are not in it, the
kernel takes them back when it likes. Targets: migrate needs at most 600 MB above import, and at most twice the time of
copy. The exit status is 1 where one is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from migration_files import CONFIG, ROOT, make, options
from rich.console import Console
from rich.table import Table

MEMORY_TARGET_MB, TIME_TARGET = 600, 2.0
ARMS = ("import", "copy", "migrate", "plain")
_CHUNK = 16 << 20


@dataclass(frozen=True)
class Run:
    """Wall seconds and highest anonymous memory, in bytes, of one process."""

    seconds: float
    anonymous: int


def copy(source: Path, target: Path) -> None:
    """Copy in blocks, hashing, and wait until it is on disk."""
    digest = hashlib.sha256()
    with source.open("rb") as old, target.open("wb") as new:
        while block := old.read(_CHUNK):
            digest.update(block)
            new.write(block)
        new.flush()
        os.fsync(new.fileno())


def plain(source: Path, target: Path) -> None:
    """The migration that one writes by hand."""
    import torch

    state = torch.load(source, map_location="cpu", weights_only=True)["Blip2QformerCirAlignPrompt"]
    with target.open("wb") as stream:
        torch.save({"state_dict": {name.replace("gated_fusion.", "fusion."): state[name] for name in state}}, stream)
        stream.flush()
        os.fsync(stream.fileno())


def command(arm: str, source: Path, target: Path, gigabytes: float) -> list[str]:
    """Command line of an arm's process."""
    if arm == "import":
        return [sys.executable, "-c", "import torch"]
    if arm == "migrate":
        chosen = ["--config", str(CONFIG), "--cfg-options", *options(gigabytes), "--no-verify", "--out", str(target)]
        return [sys.executable, str(ROOT / "tools" / "migrate.py"), "run", str(source), *chosen]
    return [sys.executable, __file__, "--arm", arm, str(source), str(target), "--gigabytes", str(gigabytes)]


def measure(arguments: list[str]) -> Run:
    """Run a process and watch its memory."""
    peak, start = 0, time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            peak = max(peak, anonymous_bytes(process.pid))
            time.sleep(0.002)
        seconds = time.perf_counter() - start
        if process.returncode:
            output.seek(0)
            sys.exit(f"{' '.join(arguments)} failed:\n{output.read().decode(errors='replace')[-3000:]}")
    return Run(seconds, peak)


def anonymous_bytes(pid: int) -> int:
    """``RssAnon`` of a process; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:")), 0)


def forget(path: Path) -> None:
    """Drop the file from the page cache."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def report(runs: dict[str, list[Run]], size: int) -> bool:
    """Print the figures; whether both targets are met."""
    base = statistics.median(run.anonymous for run in runs["import"])
    seconds = {arm: statistics.median(run.seconds for run in runs[arm]) for arm in ARMS}
    above = {arm: (max(run.anonymous for run in runs[arm]) - base) / 1e6 for arm in ARMS}
    table = Table("arm", "seconds", "of copy", "MB above import", title=f"checkpoint of {size / 1e9:.2f} GB")
    for arm in ARMS:
        table.add_row(arm, f"{seconds[arm]:.1f}", f"{seconds[arm] / seconds['copy']:.2f}", f"{above[arm]:.0f}")
    ratio = statistics.median(a.seconds / b.seconds for a, b in zip(runs["migrate"], runs["copy"], strict=True))
    by_hand = statistics.median(a.seconds / b.seconds for a, b in zip(runs["migrate"], runs["plain"], strict=True))
    met = above["migrate"] <= MEMORY_TARGET_MB and ratio <= TIME_TARGET
    table.caption = f"medians of the rounds' ratios: migrate / copy {ratio:.2f}, migrate / plain {by_hand:.2f}"
    console = Console(width=max(Console().width, 100))
    console.print(table)
    console.print(f"targets (600 MB above import, 2 x copy): {'met' if met else 'missed'}")
    return met


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=4.6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the files lie meanwhile; else the system's temporary folder")
    parser.add_argument("--arm", nargs=3, metavar=("ARM", "SOURCE", "TARGET"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    if args.arm:
        arm, source, target = args.arm[0], *map(Path, args.arm[1:])
        {"copy": copy, "plain": plain, "make": lambda path, _: make(path, args.gigabytes)}[arm](source, target)
        return 0
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        source, target = Path(folder, "tuned_clip_best.pt"), Path(folder, "new.safetensors")
        measure(command("make", source, target, args.gigabytes))
        runs: dict[str, list[Run]] = {arm: [] for arm in ARMS}
        for turn in range(args.rounds):
            for arm in ARMS if turn % 2 == 0 else reversed(ARMS):
                forget(source)
                runs[arm].append(measure(command(arm, source, target, args.gigabytes)))
                target.unlink(missing_ok=True)
        return 0 if report(runs, source.stat().st_size) else 1


if __name__ == "__main__":
    sys.exit(main())
