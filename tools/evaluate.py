"""Score predictions made elsewhere, or validate CIRR test-server files.

python tools/evaluate.py cirr --predictions recall.json recall_subset.json --annotations cap.rc2.val.json --out m.json
python tools/evaluate.py cirr --predictions similarity.npy --annotations cap.rc2.val.json --gallery split.rc2.val.json
python tools/evaluate.py cirr --predictions recall.json --annotations cap.rc2.test1.json --validate
python tools/evaluate.py fashioniq --predictions sim.dress.npy sim.shirt.npy --annotations cap.dress.val.json \\
    cap.shirt.val.json --gallery split.dress.val.json split.shirt.val.json
python tools/evaluate.py msrvtt --predictions text_video_similarity.npy
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.evaluation.arrays import GalleryOrder
from gatefuse_plugins.evaluation.offline import OfflineScore, score_cirr, score_fashioniq, score_msrvtt
from gatefuse_plugins.evaluation.validation import validate_submission
from gatefuse_plugins.files import write_json


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benchmark", choices=("cirr", "fashioniq", "msrvtt"))
    parser.add_argument("--predictions", nargs="+", type=Path, required=True, help="submission .json, or .npy / .npz")
    parser.add_argument("--annotations", nargs="+", type=Path, help="caption files (not used by msrvtt)")
    parser.add_argument("--gallery", nargs="+", type=Path, help="image split files: the order of similarity columns")
    parser.add_argument("--out", type=Path, help="write the metrics there as JSON")
    parser.add_argument("--validate", action="store_true", help="only check CIRR submission files; exit 1 on faults")
    args = parser.parse_args(argv)
    if args.benchmark != "msrvtt" and not args.annotations:
        parser.error(f"{args.benchmark} needs --annotations")
    if args.benchmark == "fashioniq" and not args.gallery:
        parser.error("fashioniq needs --gallery")
    if args.validate and args.benchmark != "cirr":
        parser.error("--validate is for CIRR submission files")
    single = {"msrvtt": ("predictions",), "cirr": ("annotations", "gallery")}.get(args.benchmark, ())
    for name in single:
        if len(getattr(args, name) or ()) > 1:
            parser.error(f"{args.benchmark} takes one file for --{name}")
    return args


def validate(args: argparse.Namespace, console: Console) -> int:
    """Print every fault of every submission file; the exit status."""
    gallery = GalleryOrder(args.gallery[0]).names if args.gallery else None
    status = 0
    for path in args.predictions:
        faults = validate_submission(path, args.annotations[0], gallery)
        console.print(f"{path}: {len(faults)} faults" if faults else f"{path}: valid", markup=False)
        for fault in faults:
            console.print(f"  {fault}", markup=False)
        status |= bool(faults)
    return status


def score(args: argparse.Namespace) -> OfflineScore:
    if args.benchmark == "msrvtt":
        return score_msrvtt(args.predictions[0])
    if args.benchmark == "fashioniq":
        return score_fashioniq(args.predictions, args.annotations, args.gallery)
    return score_cirr(args.predictions, args.annotations[0], args.gallery[0] if args.gallery else None)


def print_score(result: OfflineScore, console: Console) -> None:
    table = Table("metric", title=f"{result.benchmark}, {result.queries} queries")
    table.add_column("value", justify="right")
    for name, value in result.metrics.items():
        table.add_row(name, f"{value:.3f}")
    console.print(table)
    if result.unknown:
        console.print(f"not determined by these files: {', '.join(result.unknown)}", markup=False)


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    console = Console()
    try:
        if args.validate:
            return validate(args, console)
        result = score(args)
    except GatefuseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print_score(result, console)
    if args.out:
        write_json(args.out, asdict(result) | {"predictions": [str(path) for path in args.predictions]})
        console.print(f"written: {args.out}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
