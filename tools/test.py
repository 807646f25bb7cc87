"""Test a checkpoint: metrics, and for moment retrieval a submission and pictures of single queries.

python tools/test.py configs/cirr_gated.py CKPT [--out metrics.json] [--cfg-options k=v]
python tools/test.py configs/qvhighlights_avigate.py CKPT --split val --plots 10
"""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.launch import add_run_arguments
from gatefuse_plugins.launch_test import launch_test


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, such as configs/cirr_gated.py")
    parser.add_argument("checkpoint", help="checkpoint of this project, of QD-DETR, of SPRC or of LAVIS")
    add_run_arguments(parser)
    parser.add_argument("--split", help="test on this split of the data set instead of the config's")
    parser.add_argument("--out", help="metrics file; WORK_DIR/SPLIT_metrics.json by default (test_ without --split)")
    parser.add_argument("--submission", help="predictions; WORK_DIR/SPLIT_submission.jsonl by default")
    drawn = parser.add_mutually_exclusive_group()
    drawn.add_argument("--plots", type=int, metavar="N", help="draw the first N queries")
    drawn.add_argument("--plot-qids", nargs="+", metavar="QID", help="draw these queries")
    parser.add_argument("--plots-dir", metavar="DIR", help="folder of the pictures; WORK_DIR/SPLIT_plots by default")
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
