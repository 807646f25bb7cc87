"""Search an index of tools/index_gallery.py.

python tools/search.py indices/msrvtt "a dog barks" -k 5
python tools/search.py indices/cirr --reference picture.png "make it red" --json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.launch_search import Answer, launch_search
from gatefuse_plugins.retrieval import BACKENDS


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", help="folder of the index")
    parser.add_argument("query", help="what to look for; with --reference, how it differs from that picture")
    parser.add_argument("-k", type=int, default=10, help="items wanted (10)")
    parser.add_argument("--reference", metavar="IMAGE", help="picture file, or the name of a picture of the gallery")
    parser.add_argument("--backend", choices=BACKENDS, default="exact", help="faiss: candidates first, then exact")
    parser.add_argument("--candidates", type=int, default=200, metavar="N", help="items that faiss hands over (200)")
    parser.add_argument("--checkpoint", metavar="CKPT", help="where the index's checkpoint lies now, if it was moved")
    parser.add_argument("--trust", action="store_true", help="unpickle a file from a source that you trust")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args()


def print_answer(answer: Answer, console: Console) -> None:
    data = f"{answer.dataset['name']} {answer.dataset['split']}"
    table = Table("rank", "score", "name", title=Text(f"{answer.query!r} among {answer.gallery} of {data}"))
    if any(hit.path for hit in answer.hits):
        table.add_column("file", overflow="fold")
    for hit in answer.hits:
        table.add_row(str(hit.rank), f"{hit.score:.4f}", Text(hit.name), Text(hit.path or ""))
    console.print(table)
    for note in answer.notes:
        console.print(f"note: {note}", markup=False)


def run(args: argparse.Namespace) -> int:
    with contextlib.redirect_stdout(sys.stderr):  # logs, which must not stand between JSON
        answer = launch_search(args)
    if args.json:
        print(json.dumps(answer.as_dict(), indent=2, ensure_ascii=False))
    else:
        print_answer(answer, Console())
    return 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
