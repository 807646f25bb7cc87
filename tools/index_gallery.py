"""Encode a gallery once, for tools/search.py: videos of AVIGATE, pictures of composed retrieval.

python tools/index_gallery.py configs/msrvtt_avigate.py CKPT --out indices/msrvtt
python tools/index_gallery.py configs/cirr_gated.py CKPT --out indices/cirr --split test1
"""

from __future__ import annotations

import argparse
import sys

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.launch_index import launch_index


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, such as configs/msrvtt_avigate.py")
    parser.add_argument("checkpoint", help="checkpoint of this project or of the upstream project")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the index")
    parser.add_argument(
        "--cfg-options", nargs="+", metavar="KEY=VALUE", help="overrides, such as data_root=/data/msrvtt"
    )
    parser.add_argument("--split", help="gallery of this split instead of the config's test split")
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="float32 ranks as the evaluation does"
    )
    parser.add_argument("--force", action="store_true", help="replace an index that stands in DIR")
    parser.add_argument("--trust", action="store_true", help="unpickle a file from a source that you trust")
    parser.set_defaults(launcher="none", local_rank=0)  # one process writes the index
    return parser.parse_args()


def run(args: argparse.Namespace) -> int:
    index = launch_index(args)
    size = sum(file.stat().st_size for file in index.folder.iterdir()) / 2**20
    print(f"{index.folder}: {len(index.names)} {index.header['kind']}s indexed, {size:.1f} MiB")
    return 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
