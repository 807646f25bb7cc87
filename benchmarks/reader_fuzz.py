"""Mutate honest checkpoints and read them: only a CheckpointError or a correct read may come of it.

python benchmarks/reader_fuzz.py [--count 10000 --seed 0 --keep FOLDER]

Five honest files (QD-DETR with options and optimizer, mmengine with message hub, a bare state dict, torch's format
before 1.6, safetensors) are changed by flipped bits, truncation, splices and edits of header fields. Zip archives are
also changed inside their pickle and sealed again with checksums that fit, as an attacker would. A read is correct if

- ``equal``: every weight is what was written; required of everything that checksums protect, or
- ``as written``: the format has no checksums (or they were made to fit) and the file says something else that is whole
  in itself; every tensor is then read to its last byte.

Anything else is a fault: another exception, a read of more than 5 s, other weights out of a protected file. The exit
status is 1 if there was one; ``--keep`` saves such files.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from reader_mutations import MUTATIONS, STATE, honest_files
from rich.console import Console
from rich.table import Table

from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint
from gatefuse_plugins.errors import CheckpointError

SLOW_SECONDS = 5.0


@dataclass
class Findings:
    """Outcomes by (file, mutation, outcome), and what must not happen: one line each."""

    outcomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def is_equal(checkpoint: Checkpoint) -> bool:
    """Whether every weight is what was written."""
    state = checkpoint.state_dict
    same_names = list(state) == list(STATE) or sorted(state) == sorted(STATE)  # safetensors sorts by dtype and name
    return same_names and all(
        state[name].dtype == STATE[name].dtype and torch.equal(state[name], STATE[name]) for name in STATE
    )


def outcome_of(path: Path, protected: bool) -> tuple[str, str]:
    """Class of the outcome, and the fault if it is one (else empty)."""
    start = time.perf_counter()
    try:
        checkpoint = read_checkpoint(path)
        for tensor in checkpoint.state_dict.values():
            tensor.clone()  # a view beyond its storage would crash or be caught by the allocator
    except CheckpointError as error:
        outcome, fault = "refused", "a message of several lines" if "\n" in str(error) else ""
    except BaseException as error:  # what escapes is the finding
        outcome, fault = "escaped", f"{type(error).__name__}: {error}"
    else:
        outcome = "equal" if is_equal(checkpoint) else "as written"
        fault = "other weights out of a file with checksums" if protected and outcome != "equal" else ""
    seconds = time.perf_counter() - start
    return outcome, fault or (f"{seconds:.1f} s" if seconds > SLOW_SECONDS else "")


def read_honest(folder: Path) -> None:
    """Read every file unchanged.

    Raises:
        AssertionError: a weight is not what was written.
    """
    for name, honest in honest_files().items():
        (folder / name).write_bytes(honest.content)
        assert outcome_of(folder / name, honest.protected) == ("equal", ""), name


def fuzz(count: int, seed: int, folder: Path, keep: Path | None = None) -> Findings:
    """Read ``count`` mutated files, written one after the other in ``folder``; faults are saved in ``keep``."""
    honest = honest_files()
    cases = [
        (name, mutation)
        for name in honest
        for mutation in MUTATIONS
        if mutation != "resealed" or honest[name].protected
    ]
    findings = Findings()
    path = folder / "mutated"
    for number in range(count):
        name, mutation = cases[number % len(cases)]
        mutated = MUTATIONS[mutation](honest[name].content, random.Random(f"{seed}/{number}"))
        path.write_bytes(mutated)
        outcome, fault = outcome_of(path, honest[name].protected and mutation != "resealed")
        findings.outcomes[name, mutation, outcome] += 1
        if fault:
            findings.faults.append(f"{number} ({name}, {mutation}): {fault}")
            if keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                (keep / f"{seed}_{number}").write_bytes(mutated)
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that showed a fault")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        read_honest(Path(folder))  # what the first reads import is no mutation's doing
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        findings = fuzz(args.count, args.seed, Path(folder), args.keep)
    seconds = time.perf_counter() - start
    outcomes = ("refused", "equal", "as written", "escaped")
    table = Table("file", "mutation", *outcomes)
    for name, mutation in dict.fromkeys((name, mutation) for name, mutation, _ in findings.outcomes):
        counts = [findings.outcomes[name, mutation, outcome] for outcome in outcomes]
        table.add_row(name, mutation, *map(str, counts))
    totals = [sum(n for (*_, kind), n in findings.outcomes.items() if kind == outcome) for outcome in outcomes]
    table.add_row("all", "", *map(str, totals))
    console = Console(width=max(Console().width, 100))
    console.print(table)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    console.print(
        f"{args.count} files in {seconds:.0f} s, peak memory grew by {grown:.0f} MiB, {len(findings.faults)} faults"
    )
    for fault in findings.faults[:20]:
        console.print(fault, markup=False)
    return 1 if findings.faults else 0


if __name__ == "__main__":
    sys.exit(main())
