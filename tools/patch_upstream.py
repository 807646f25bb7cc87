"""Let upstream checkouts use the fusions here: ``patch_upstream.py {status,apply,revert} DIR``.

python tools/patch_upstream.py status /path/to/QD-DETR            what state it is in, and which faults stop users
python tools/patch_upstream.py apply /path/to/QD-DETR             the plugin alone
python tools/patch_upstream.py apply /path/to/QD-DETR --fix cpu --fix load
python tools/patch_upstream.py revert /path/to/QD-DETR            the original bytes

Known are QD-DETR, SPRC and AVIGATE at one commit each, by the hashes of their files. Exit status 1 where ``status``
finds a tree that cannot be patched.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.upstream.changes import apply, revert
from gatefuse_plugins.upstream.manifest import load_patch_sets
from gatefuse_plugins.upstream.report import change_lines, state_lines, state_record
from gatefuse_plugins.upstream.tree import inspect_tree

PATCHES = Path(__file__).resolve().parents[1] / "patches"


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (("status", "look only"), ("apply", "patch"), ("revert", "take all patches out")):
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("checkout", type=Path, metavar="DIR")
        command.add_argument("--upstream", metavar="NAME", help="qd_detr, sprc or avigate; else by the files")
        if name == "status":
            command.add_argument("--json", action="store_true", help="as JSON")
        if name == "apply":
            command.add_argument("--fix", action="append", default=[], metavar="NAME", help="mend a fault; see status")
            command.add_argument("--no-plugin", action="store_true", help="only the fixes")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    sets = load_patch_sets(PATCHES)
    if args.command == "status":
        state = inspect_tree(args.checkout, sets, args.upstream)
        show(json.dumps(state_record(state), indent=2) if args.json else "\n".join(state_lines(state)))
        return int(state.kind in ("drifted", "unknown"))
    if args.command == "apply":
        report = apply(args.checkout, sets, args.fix, not args.no_plugin, args.upstream)
    else:
        report = revert(args.checkout, sets, args.upstream)
    show("\n".join(change_lines(report)))
    return 0


def show(text: str) -> None:
    """Print; a reader that closes the pipe early, such as ``head``, has what it wanted."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python's own flush at exit fails again


def main(argv: Sequence[str] | None = None) -> int:
    return run_tool(run, parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
