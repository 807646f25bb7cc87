"""Check every registered fusion on random tokens: ``selfcheck.py [NAME ...] [--image-dim 768 --text-dim 768]``.

Fusions of video and audio get streams of ``--hidden-dim``.
``--imports MODULE`` registers fusions of your own first. Exit status 1 where one fails.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

import gatefuse_plugins.fusions  # noqa: F401 (registers the fusions)
from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.fusions.selfcheck import FusionCheck, check_fusions
from gatefuse_plugins.user_code import load_module


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build every registered fusion and check what it does.")
    parser.add_argument("names", nargs="*", help="registered fusions (default: all)")
    parser.add_argument("--image-dim", type=int, default=768, help="width of the image tokens")
    parser.add_argument("--text-dim", type=int, default=768, help="width of the text tokens")
    parser.add_argument("--hidden-dim", type=int, default=256, help="width of projected video, audio and query")
    parser.add_argument("--imports", nargs="+", default=[], metavar="MODULE", help="modules that register fusions")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def show(checks: list[FusionCheck], console: Console) -> None:
    """One small table a fusion: a wide table of all would not fit a terminal of 80 columns."""
    for check in checks:
        verdict = "[green]PASS[/green]" if check.passed else "[red]FAIL[/red]"
        table = Table("", verdict, title=check.name, title_justify="left", width=78)
        table.add_row("parameters", f"{check.parameters:,}")
        table.add_row("shapes", f"{_shape(check.input_shape)} -> {_shape(check.output_shape)}")
        table.add_row("unchanged at step 0", "yes" if check.neutral_start else "no")
        figures = " / ".join(f"{value:.3g}" for value in check.gradients.values())
        table.add_row(f"gradient norm, {' / '.join(check.gradients)}", figures)
        table.add_row("sensitivity to the context", f"{check.sensitivity:.3g}")
        for name, (low, high) in check.gates.items():
            table.add_row(name, f"{low:.3f} .. {high:.3f}")
        console.print(table)
        for fault in check.faults:
            console.print(f"{check.name}: {fault}", markup=False, soft_wrap=True)
    passed = sum(check.passed for check in checks)
    console.print(f"{passed} of {len(checks)} fusions pass (step 0 apart, measured with noise on the parameters)")


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "-"


def run(args: argparse.Namespace) -> int:
    for module in args.imports:
        load_module(module, "--imports")
    checks = check_fusions(
        args.names or None, args.image_dim, args.text_dim, seed=args.seed, hidden_dim=args.hidden_dim
    )
    show(checks, Console())
    return 0 if all(check.passed for check in checks) else 1


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
