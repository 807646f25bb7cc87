"""Score predictions made elsewhere, or validate submission files.

python tools/evaluate.py cirr --predictions recall.json recall_subset.json --annotations cap.rc2.val.json --out m.json
python tools/evaluate.py cirr --predictions similarity.npy --annotations cap.rc2.val.json --gallery split.rc2.val.json
python tools/evaluate.py cirr --predictions recall.json --annotations cap.rc2.test1.json --validate
python tools/evaluate.py fashioniq --predictions sim.dress.npy sim.shirt.npy --annotations cap.dress.val.json \\
    cap.shirt.val.json --gallery split.dress.val.json split.shirt.val.json
python tools/evaluate.py msrvtt --predictions text_video_similarity.npy
python tools/evaluate.py qvhighlights --predictions preds.jsonl --annotations highlight_val_release.jsonl --out m.json
python tools/evaluate.py tvsum --predictions preds.jsonl --annotations tvsum_val.jsonl
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.evaluation.arrays import GalleryOrder
from gatefuse_plugins.evaluation.moment_offline import read_submission_of, score_qvhighlights, score_tvsum
from gatefuse_plugins.evaluation.offline import OfflineScore, score_cirr, score_fashioniq, score_msrvtt
from gatefuse_plugins.evaluation.validation import validate_submission
from gatefuse_plugins.files import require_file, write_json

SINGLE = {
    "cirr": ("annotations", "gallery"),
    "msrvtt": ("predictions",),
    "qvhighlights": ("predictions", "annotations"),
    "tvsum": ("predictions", "annotations"),
}
"""Options that take one file only."""


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("cirr", "fashioniq", "msrvtt", "qvhighlights", "tvsum"))
    parser.add_argument(
        "--predictions", nargs="+", type=Path, required=True, help="submission .json or .jsonl, or .npy / .npz"
    )
    parser.add_argument("--annotations", nargs="+", type=Path, help="caption or label files (not used by msrvtt)")
    parser.add_argument("--gallery", nargs="+", type=Path, help="image split files: the order of similarity columns")
    parser.add_argument("--clip-length", type=float, default=2.0, help="seconds of a clip (qvhighlights, tvsum)")
    parser.add_argument("--out", type=Path, help="write the metrics there as JSON")
    parser.add_argument("--validate", action="store_true", help="only check submission files; exit status 1 on faults")
    args = parser.parse_args(argv)
    if args.benchmark != "msrvtt" and not args.annotations:
        parser.error(f"{args.benchmark} needs --annotations")
    if args.benchmark == "fashioniq" and not args.gallery:
        parser.error("fashioniq needs --gallery")
    if args.validate and args.benchmark in ("fashioniq", "msrvtt"):
        parser.error("--validate is for submission files of cirr, qvhighlights and tvsum")
    if args.clip_length <= 0:
        parser.error(f"--clip-length is {args.clip_length}, expected seconds above 0")
    for name in SINGLE.get(args.benchmark, ()):
        allowed = args.validate and name == "predictions"  # several files can be checked at once
        if len(getattr(args, name) or ()) > 1 and not allowed:
            parser.error(f"{args.benchmark} takes one file for --{name}")
    return args


def validate(args: argparse.Namespace, console: Console) -> int:
    """Print every fault of every submission file; the exit status."""
    status = 0
    for path in args.predictions:
        faults, notes = check_cirr(args, path) if args.benchmark == "cirr" else check_moments(args, path)
        console.print(f"{path}: {len(faults)} faults" if faults else f"{path}: valid")
        for line in [*faults, *(f"note: {note}" for note in notes)]:
            console.print(f"  {line}")
        status |= bool(faults)
    return status


def check_cirr(args: argparse.Namespace, path: Path) -> tuple[Sequence[str], Sequence[str]]:
    gallery = GalleryOrder(args.gallery[0]).names if args.gallery else None
    return validate_submission(path, args.annotations[0], gallery), ()


def check_moments(args: argparse.Namespace, path: Path) -> tuple[Sequence[str], Sequence[str]]:
    submission, _, skipped = read_submission_of(args.benchmark, path, args.annotations[0], args.clip_length)
    return submission.faults, [*submission.notes, *(f"no prediction of domain {domain}" for domain in skipped)]


def score(args: argparse.Namespace) -> OfflineScore:
    if args.benchmark == "msrvtt":
        return score_msrvtt(args.predictions[0])
    if args.benchmark == "fashioniq":
        return score_fashioniq(args.predictions, args.annotations, args.gallery)
    if args.benchmark == "cirr":
        return score_cirr(args.predictions, args.annotations[0], args.gallery[0] if args.gallery else None)
    score_moments = score_qvhighlights if args.benchmark == "qvhighlights" else score_tvsum
    return score_moments(args.predictions[0], args.annotations[0], args.clip_length)


def print_score(result: OfflineScore, console: Console) -> None:
    table = Table("metric", title=f"{result.benchmark}, {result.queries} queries")
    table.add_column("value", justify="right")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)
    for note in result.notes:
        console.print(f"note: {note}")
    if result.unknown:
        console.print(f"not determined by these files: {', '.join(result.unknown)}")


def write_score(path: Path, result: OfflineScore, predictions: Sequence[Path]) -> None:
    """``metrics`` and so on; the official structure (``brief``, ``full``, ...) stands beside them at the top."""
    fields = asdict(result)
    official = fields.pop("official")
    write_json(path, fields | {"predictions": [str(file) for file in predictions]} | official)


def run(args: argparse.Namespace) -> int:
    console = Console(markup=False)  # brackets of file names and queries are no markup
    if args.out:
        require_file(args.out, "--out")
    if args.validate:
        return validate(args, console)
    result = score(args)
    print_score(result, console)
    if args.out:
        write_score(args.out, result, args.predictions)
        console.print(f"written: {args.out}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    return run_tool(run, parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
