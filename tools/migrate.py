"""Migrate checkpoints of QD-DETR, QD-DETR-exp, SPRC, LAVIS BLIP-2, AVIGATE and of this project.

python tools/migrate.py guide model_best.ckpt
python tools/migrate.py inspect model_best.ckpt
python tools/migrate.py plan model_best.ckpt --config configs/qvhighlights_avigate.py
python tools/migrate.py run model_best.ckpt --config configs/qvhighlights_avigate.py --out gated.safetensors
python tools/migrate.py verify model_best.ckpt gated.safetensors
python tools/migrate.py export-gates gated.safetensors --out gates.safetensors
python tools/migrate.py import-gates gates.safetensors other.safetensors --out both.safetensors
python tools/migrate.py to-upstream gated.safetensors --out model_best.ckpt
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import gatefuse_plugins.launch_setup  # noqa: F401  registers the hosts, quietens what their libraries print
from gatefuse_plugins.checkpoints.migration.commands import COMMANDS
from gatefuse_plugins.checkpoints.migration.start import STARTS
from gatefuse_plugins.command_line import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def add(name: str, text: str, *positional: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        for argument in positional:
            command.add_argument(argument, type=Path)
        command.add_argument("--trust", action="store_true", help="unpickle without restrictions: runs the file's code")
        return command

    add("guide", "explain a checkpoint and name the next command", "checkpoint")
    add("inspect", "say what a checkpoint is", "checkpoint").add_argument("--json", action="store_true")
    plan = add("plan", "show the complete mapping; write nothing", "checkpoint")
    plan.add_argument("--json", action="store_true", help="the whole plan as JSON")
    plan.add_argument("--all", action="store_true", help="list parameters that are merely kept too")
    run = add("run", "migrate, after a comparison of old and new model", "checkpoint")
    run.add_argument("--no-verify", action="store_true", help="do not compare old and new model first")
    for command in (plan, run):
        command.add_argument("--init", choices=STARTS, default="identity", help="start of new parameters")
        command.add_argument("--seed", type=int, default=0, help="of random starts")
        command.add_argument("--allow-inexact", action="store_true", help="do what changes outputs too, and measure it")
        command.add_argument("--drop", nargs="+", default=[], metavar="GLOB", help="parameters to leave out")
    verify = add("verify", "compare two checkpoints on the same seeded inputs", "old", "new")
    verify.add_argument("--seed", type=int, default=0, help="of the inputs")
    export = add("export-gates", "write the gates' own parameters alone", "checkpoint")
    merge = add("import-gates", "put exported gates into a checkpoint", "gates", "checkpoint")
    back = add("to-upstream", "write the layout that upstream's code loads", "checkpoint")
    back.add_argument("--allow-inexact", action="store_true", help="leave out what upstream lacks")
    for command in (plan, run, verify, export, merge, back):
        command.add_argument(
            "--config", required=command in (plan, run), help="config of the new model; else the one recorded"
        )
        command.add_argument("--cfg-options", nargs="+", metavar="KEY=VALUE", help="overrides, as in tools/train.py")
    for command in (run, export, merge, back):
        command.add_argument("--out", type=Path, required=True)
        command.add_argument("--overwrite", action="store_true", help="replace OUT where it exists; never the source")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    return run_tool(lambda args: COMMANDS[args.command](args, Console()), parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
