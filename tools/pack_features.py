"""Pack feature files into memory-mapped stores: ``pack_features.py DATA_ROOT --out DIR [--dtype float16|float32]``.

Every feature folder found under a known name below DATA_ROOT (or each one named by ``--folders MODALITY=PATH``)
becomes a store ``DIR/NAME``; give DIR to the data set as ``packed``. Run again, it packs only what is new or changed.
Exit status 1 where files could not be packed or verified.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rich.console import Console

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments import pack_folder, verify_store
from gatefuse_plugins.data.moments.packing import DTYPES
from gatefuse_plugins.data.moments.places import LAYOUTS, family_folders
from gatefuse_plugins.data.moments.sources import FeatureSource
from gatefuse_plugins.data.progress import progress_bar
from gatefuse_plugins.errors import ConfigError, DataError, suggestion


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Pack feature files into memory-mapped stores.")
    parser.add_argument("data_root", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="root of the stores")
    parser.add_argument("--kind", choices=tuple(LAYOUTS), default="qvhighlights", help="layout of the files")
    parser.add_argument("--dtype", choices=DTYPES, default="float16", help="float32 is exact, float16 half the size")
    parser.add_argument("--folders", nargs="+", metavar="MODALITY=PATH", help="these instead of the known names")
    parser.add_argument("--verify", action="store_true", help="afterwards compare every item with its files")
    return parser.parse_args()


def sources_of(args: argparse.Namespace) -> list[FeatureSource]:
    """What to pack; raises where nothing is found or two folders would share a store."""
    modalities = LAYOUTS[args.kind].families
    if args.folders:
        pairs = [(modality, Path(path)) for modality, _, path in (given.partition("=") for given in args.folders)]
        unknown = [modality for modality, _ in pairs if modality not in modalities]
        if unknown:
            raise ConfigError(f"--folders: {unknown[0]!r}, expected MODALITY=PATH{suggestion(unknown[0], modalities)}")
    else:
        pairs = [
            (modality, folder)
            for modality, families in modalities.items()
            for family in families
            for folder in family_folders(args.kind, args.data_root, modality, family)
        ]
    if not pairs:
        raise DataError(f"{args.data_root}: no feature folders of {args.kind} under known names; name them: --folders")
    names = [folder.resolve().name for _, folder in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)}: found in several places, which would share a store; choose by --folders")
    return [FeatureSource.of(args.kind, modality, folder) for modality, folder in pairs]


def run(args: argparse.Namespace) -> int:
    console, faults = Console(markup=False), Faults()  # brackets of paths are no markup
    for source in sources_of(args):
        with progress_bar(f"packing {source.folder.name}") as progress:
            result = pack_folder(source, args.out, args.dtype, progress)
        console.print(f"{result.folder}: {result.packed} packed, {result.unchanged} unchanged", soft_wrap=True)
        found = [result.faults]
        if args.verify:
            with progress_bar(f"verifying {source.folder.name}") as progress:
                found.append(verify_store(result.folder, progress))
        for kind, items in ((kind, items) for each in found for kind, items in each.by_kind.items()):
            faults.add(kind, *items)
    for line in faults.lines():
        console.print(line, soft_wrap=True)
    return 1 if faults else 0


def main() -> int:
    return run_tool(run, parse_args())


if __name__ == "__main__":
    sys.exit(main())
