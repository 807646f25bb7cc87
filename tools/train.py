"""Train a config: python tools/train.py configs/cirr_gated.py [--work-dir D] [--resume] [--amp] [--cfg-options k=v]."""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.launch import add_run_arguments, launch_training


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the model of a config.")
    parser.add_argument("config", help="config file, such as configs/cirr_gated.py")
    add_run_arguments(parser)
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        help="go on from the newest checkpoint of the work dir, or from the given file",
    )
    parser.add_argument("--amp", action="store_true", help="mixed precision (CUDA: float16 with loss scaling)")
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    launch_training(args)
    return 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
