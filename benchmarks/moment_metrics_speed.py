"""QVHighlights metrics against the official evaluation, in one run on the same queries.

python benchmarks/moment_metrics_speed.py --upstream PATH [--predictions P --annotations A] [--queries 1550 --repeats 5]
PATH is a checkout that holds ``standalone_eval/`` (jayleicn/moment_detr, wjun0830/QD-DETR or a fork); it needs
scikit-learn. Without PATH only our own time is printed. Without files, predictions are made up in the size of
QVHighlights val. Both get parsed lines and must give the same figures.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.util
import io
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from gatefuse_plugins.evaluation.jsonl import read_jsonl
from gatefuse_plugins.evaluation.qvhighlights import qvhighlights_metrics

Entries = list[dict[str, Any]]
CLIPS = 75


def make_problem(queries: int, seed: int = 0) -> tuple[Entries, Entries]:
    """150 s videos with 1 to 3 windows of 2 to 48 s; 10 predictions a query, half of them near a window."""
    generator = np.random.default_rng(seed)
    predictions, annotations = [], []
    for qid in range(queries):
        starts = generator.choice(np.arange(0, CLIPS, 25), generator.integers(1, 4), replace=False)
        truth = np.stack([starts, starts + generator.integers(1, 25, starts.size)], axis=1)
        clips = np.concatenate([np.arange(*window) for window in truth])
        near = truth[generator.integers(0, len(truth), 10)] + generator.integers(-2, 3, (10, 2))
        far = np.sort(generator.integers(0, CLIPS + 1, (10, 2)), axis=1)
        found = np.sort(np.clip(np.where(generator.random((10, 1)) < 0.5, near, far), 0, CLIPS), axis=1)
        scores = np.sort(generator.random(10).round(4))[::-1]
        predictions.append(
            {
                "qid": qid,
                "pred_relevant_windows": np.column_stack([2.0 * found, scores]).tolist(),
                "pred_saliency_scores": generator.standard_normal(CLIPS).astype(np.float16).tolist(),
            }
        )
        annotations.append(
            {
                "qid": qid,
                "duration": 2 * CLIPS,
                "relevant_windows": (2 * truth).tolist(),
                "relevant_clip_ids": clips.tolist(),
                "saliency_scores": generator.integers(0, 5, (clips.size, 3)).tolist(),
            }
        )
    return predictions, annotations


def official_evaluation(checkout: Path) -> tuple[Callable[[Entries, Entries], dict[str, Any]], str]:
    """``eval_submission`` of a checkout without its printing, and a remark on what it runs with."""
    if not (checkout / "standalone_eval" / "eval.py").is_file():
        raise SystemExit(f"{checkout}: holds no standalone_eval/eval.py; expected a checkout of moment_detr or QD-DETR")
    remark = "with scikit-learn"
    if importlib.util.find_spec("sklearn") is None:
        metrics = types.ModuleType("sklearn.metrics")
        metrics.precision_recall_curve = precision_recall_curve  # type: ignore[attr-defined]
        sys.modules |= {"sklearn": types.ModuleType("sklearn"), "sklearn.metrics": metrics}
        remark = "scikit-learn is not installed: the reference runs with a leaner precision_recall_curve, so faster"
    sys.path.insert(0, str(checkout))
    evaluate = importlib.import_module("standalone_eval.eval").eval_submission

    def run(predictions: Entries, annotations: Entries) -> dict[str, Any]:
        with contextlib.redirect_stdout(io.StringIO()):
            return evaluate(predictions, annotations, verbose=False)

    return run, remark


def precision_recall_curve(
    labels: NDArray[np.float64], scores: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """scikit-learn's function of that name for two arrays with a positive, without its checks of the input."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    hits = labels[order].cumsum()[last]
    precision, recall = hits / (last + 1), hits / hits[-1]
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), scores[order][last][::-1]


def best_seconds(run: Callable[[], object], repeats: int) -> float:
    """Fastest of ``repeats`` runs, which is the least disturbed one."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, help="checkout that holds standalone_eval/")
    parser.add_argument("--predictions", type=Path, help="submission .jsonl (together with --annotations)")
    parser.add_argument("--annotations", type=Path, help="highlight_val_release.jsonl")
    parser.add_argument("--queries", type=int, default=1550, help="of the made-up problem")
    parser.add_argument("--repeats", type=int, default=5, help="runs of ours; the reference runs twice")
    args = parser.parse_args()
    if (args.predictions is None) != (args.annotations is None):
        parser.error("--predictions and --annotations go together")
    return args


def main() -> None:
    args = parse_args()
    if args.predictions:
        predictions, annotations = (
            [line.entry for line in read_jsonl(path)[0]] for path in (args.predictions, args.annotations)
        )
    else:
        predictions, annotations = make_problem(args.queries)
    console = Console()
    table = Table("method", title=f"QVHighlights metrics, {len(annotations)} queries")
    for header in ("time (s)", "ratio"):
        table.add_column(header, justify="right")
    ours = best_seconds(lambda: qvhighlights_metrics(predictions, annotations), args.repeats)
    if args.upstream is None:
        table.add_row("gatefuse", f"{ours:.3f}", "no reference: give --upstream")
        return console.print(table)
    official, remark = official_evaluation(args.upstream)
    expected, got = official(predictions, annotations), qvhighlights_metrics(predictions, annotations)
    if expected != got:
        raise SystemExit(f"the figures differ: official {expected['brief']}, ours {got['brief']}")
    reference = best_seconds(lambda: official(predictions, annotations), 2)
    ours = min(ours, best_seconds(lambda: qvhighlights_metrics(predictions, annotations), args.repeats))
    table.add_row("official", f"{reference:.3f}", "1.0")
    table.add_row("gatefuse", f"{ours:.3f}", f"{reference / ours:.1f}")
    console.print(table)
    console.print(f"all figures equal; {remark}", markup=False)


if __name__ == "__main__":
    main()
