"""A report that takes the place of an earlier one in the same folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from gatefuse_plugins.analysis.gates.plots.write import BUILT_IN
from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.gates.tap import TAP_KINDS
from gatefuse_plugins.registry import PLOTS

_ALONE = {
    *("ANALYSIS_REPORT.md", "report.html", "overall_statistics.json", "analyses.json"),
    *("interventions.md", "interventions.json"),
}
_OF_SAMPLES = {
    "individual_samples": re.compile(r".+_details\.json|gate_analysis_.+\.png"),
    "raw_data": re.compile(rf".+_(?:att|{'|'.join(TAP_KINDS)})\.npy"),
    "gate_maps": re.compile(r".+\.png"),
}
"""Names of a report's files by the folder that they stand in, where ids are part of them."""


def report_files(folder: Path) -> list[Path]:
    """Files in ``folder`` that have the name of a report's file."""
    pictures = {f"{name}.png" for name in (*BUILT_IN, *PLOTS.module_dict)}
    found = [folder / name for name in sorted(_ALONE | pictures)]
    for part, names in _OF_SAMPLES.items():
        found += [path for path in sorted(folder.glob(f"{part}/*")) if names.fullmatch(path.name)]
    return [path for path in found if path.is_file()]


@contextlib.contextmanager
def replacing_report(folder: Path) -> Iterator[None]:
    """Write a report in the block; then what an earlier one left, and this one has not, is removed.

    Nothing is removed where the block fails, but for plots that raised: all else is written then.
    """
    before = {path: _identity(path) for path in report_files(folder)}
    try:
        yield
    except GatefuseError:
        _remove_old(before)
        raise
    _remove_old(before)


def _identity(path: Path) -> tuple[int, int]:
    """Another one after every write, since files are written beside and then renamed."""
    status = path.lstat()
    return status.st_ino, status.st_mtime_ns


def _remove_old(before: dict[Path, tuple[int, int]]) -> None:
    for path, identity in before.items():
        if _identity(path) == identity:
            path.unlink()
            with contextlib.suppress(OSError):  # other files are in it
                path.parent.rmdir()
