"""CIRR metrics by counting against the naive method (sort all, compare names), in one run.

python benchmarks/evaluation_speed.py [--queries 4181 --gallery 2297 --repeats 5]
The default size is CIRR val's. Both methods get the same similarity and must give the same recalls.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gatefuse_plugins.evaluation.composed import cirr_metrics


@dataclass(frozen=True)
class Problem:
    similarity: NDArray[np.float32]
    reference: NDArray[np.int64]
    target: NDArray[np.int64]
    members: NDArray[np.int64]
    names: NDArray[np.str_]


def make_problem(queries: int, gallery: int, seed: int = 0) -> Problem:
    """Random scores with a bonus at the target; six distinct members, the first two reference and target."""
    generator = np.random.default_rng(seed)
    members = np.stack([generator.choice(gallery, 6, replace=False) for _ in range(queries)])
    similarity = generator.standard_normal((queries, gallery), dtype=np.float32)
    similarity[np.arange(queries), members[:, 1]] += 2.5
    names = np.array([f"dev-{number}-{number % 4}-img{number % 2}" for number in range(gallery)])
    return Problem(similarity, members[:, 0], members[:, 1], members, names)


def counting(problem: Problem) -> dict[str, float]:
    return cirr_metrics(problem.similarity, problem.reference, problem.target, problem.members)


def naive(problem: Problem) -> dict[str, float]:
    """Sort every row of distances, turn the order into names, and find reference, target and members by comparing."""
    queries, gallery = problem.similarity.shape
    ordered = problem.names[np.argsort(1 - problem.similarity, axis=1)]
    reference, target = problem.names[problem.reference], problem.names[problem.target]
    members = problem.names[problem.members]
    ordered = ordered[ordered != reference[:, None]].reshape(queries, gallery - 1)
    hits = ordered == target[:, None]
    in_subset = (ordered[..., None] == members[:, None, :]).any(axis=2)
    subset_hits = hits[in_subset].reshape(queries, -1)
    metrics = {f"R@{k}": 100 * hits[:, :k].sum() / queries for k in (1, 5, 10, 50)}
    return metrics | {f"R_s@{k}": 100 * subset_hits[:, :k].sum() / queries for k in (1, 2, 3)}


def best_seconds(method: Callable[[Problem], object], problem: Problem, repeats: int) -> float:
    """Fastest of ``repeats`` runs, which is the least disturbed one."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        method(problem)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def peak_bytes(method: Callable[[Problem], object], problem: Problem) -> int:
    """Most memory that a run allocates beyond its inputs (measured apart from time, which tracing slows)."""
    tracemalloc.start()
    method(problem)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=4181)
    parser.add_argument("--gallery", type=int, default=2297)
    parser.add_argument("--repeats", type=int, default=5, help="runs of the fast method; the naive one runs once")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    problem = make_problem(args.queries, args.gallery)
    expected, got = naive(problem), counting(problem)
    for name, value in expected.items():
        if not np.isclose(got[name], value):
            raise SystemExit(f"the methods disagree on {name}: counting {got[name]}, naive {value}")
    slow, fast = best_seconds(naive, problem, 1), best_seconds(counting, problem, args.repeats)
    slow_peak, fast_peak = peak_bytes(naive, problem), peak_bytes(counting, problem)
    table = Table("method", title=f"CIRR metrics, {args.queries} queries x {args.gallery} images")
    for header in ("time (ms)", "ratio", "peak memory (MiB)", "memory ratio"):
        table.add_column(header, justify="right")
    table.add_row("naive", f"{slow * 1e3:.1f}", "1.0", f"{slow_peak / 2**20:.1f}", "1.0")
    table.add_row(
        "counting",
        f"{fast * 1e3:.1f}",
        f"{slow / fast:.1f}",
        f"{fast_peak / 2**20:.1f}",
        f"{slow_peak / fast_peak:.1f}",
    )
    Console().print(table)


if __name__ == "__main__":
    main()
