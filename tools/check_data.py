"""Check a data set on disk.

python tools/check_data.py {cirr,fashioniq,qvhighlights,tvsum,msrvtt} PATH [--json FILE] [--features DIR]

Exit status 1 where there are faults.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.data.base_faults import capped_list
from gatefuse_plugins.data.checker import CLIP_KIND, IMAGE_KINDS, KINDS, CheckReport, check_dataset
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.files import require_file, write_json


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Report everything that is wrong with a data set on disk, at once.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("path", type=Path, help="data root")
    parser.add_argument("--json", type=Path, help="write the full report here")
    parser.add_argument("--features", type=Path, help="feature cache or packed features to check as well")
    return parser.parse_args()


def image_counts(report: CheckReport) -> Table:
    counts = Table("split", "images", "readable", "queries", "width", "height", "notes", title=f"{report.kind} splits")
    for split, found in report.splits.items():
        figures = (str(found.images), str(found.readable), str(found.queries))
        counts.add_row(split, *figures, span(found.width), span(found.height), "; ".join(found.notes))
    return counts


def moment_counts(report: CheckReport) -> Table:
    counts = Table("split", "queries", "videos", title=f"{report.kind} splits")
    counts.add_column("feature folder", overflow="fold")
    for header in ("readable", "rows", "width", "notes"):
        counts.add_column(header)
    for split, found in report.splits.items():
        head, notes = (split, str(found.queries), str(found.videos)), "; ".join(found.notes)
        if not found.sources:
            counts.add_row(*head, "-", "-", "-", "-", notes)
        for folder, source in found.sources.items():
            figures = (f"{source.readable} of {source.items}", span(source.rows), str(source.width or "-"))
            counts.add_row(*head, folder, *figures, notes)
            head, notes = ("", "", ""), ""
    return counts


def clip_counts(report: CheckReport) -> Table:
    headers = ("videos", "captions", "readable", "with audio", "silent", "notes")
    counts = Table("split", *headers, title=f"{report.kind} splits")
    for split, found in report.splits.items():
        figures = (found.videos, found.captions, found.readable, found.with_audio, found.silent)
        counts.add_row(split, *map(str, figures), "; ".join(found.notes))
    return counts


def span(bounds: tuple[int, int] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]}..{bounds[1]}"


def show(report: CheckReport, console: Console) -> None:
    tables = {CLIP_KIND: clip_counts, **dict.fromkeys(IMAGE_KINDS, image_counts)}
    console.print(tables.get(report.kind, moment_counts)(report))
    if report.ok:
        console.print("no faults")
        return
    faults = Table("fault", "count", title="faults", show_lines=True)
    faults.add_column("offenders", overflow="fold")  # a path cut short cannot be looked up
    for kind, items in report.faults.items():
        faults.add_row(kind, str(len(items)), capped_list(items))
    console.print(faults)


def run(args: argparse.Namespace) -> int:
    if args.json:
        require_file(args.json, "--json")
    with progress_bar("reading files") as progress:
        report = check_dataset(args.kind, args.path, args.features, progress)
    show(report, Console(markup=False))  # brackets of paths are no markup
    if args.json:
        write_json(args.json, report.to_dict())
    return 0 if report.ok else 1


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
