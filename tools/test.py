"""Test a checkpoint: python tools/test.py configs/cirr_gated.py CKPT [--out metrics.json] [--cfg-options k=v]."""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.launch import add_run_arguments, launch_test


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Evaluate a checkpoint on the config's test data.")
    parser.add_argument("config", help="config file, such as configs/cirr_gated.py")
    parser.add_argument("checkpoint", help="checkpoint of this project, of SPRC or of LAVIS")
    add_run_arguments(parser)
    parser.add_argument("--out", help="metrics file; WORK_DIR/test_metrics.json by default")
    parser.add_argument("--trust", action="store_true", help="unpickle a file from a source that you trust")
    return parser.parse_args()


def main() -> int:
    try:
        launch_test(parse_args())
    except GatefuseError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
