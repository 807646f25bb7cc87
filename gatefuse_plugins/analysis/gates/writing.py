"""A report as the folder that users of QD-DETR-exp know, and what came since."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from mmengine.logging import print_log

from gatefuse_plugins.analysis.gates.html.page import write_html
from gatefuse_plugins.analysis.gates.individual import SampleGates, details
from gatefuse_plugins.analysis.gates.markdown import markdown
from gatefuse_plugins.analysis.gates.overall import overall_json
from gatefuse_plugins.analysis.gates.plots.write import write_plots
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.analysis.gates.report_files import replacing_report
from gatefuse_plugins.files import atomic_writer, write_json
from gatefuse_plugins.recording.array_statistics import file_name

_RAW_KINDS = {"attention": "att"}  # the old system's names of files
_TABLES = ("clusters", "correlations", "comparison", "evolution", "runs", "extra")


def write_report(folder: str | Path, report: GateReport, raw: bool = False) -> Path:
    """Write everything that ``report`` has; figures and tables first, so that they are there if a plot fails.

    Args:
        folder: made where absent; files of an earlier report are replaced, or removed where this one has none of that
            name (:mod:`report_files`); no other file is touched.
        raw: the values of the single samples too, as ``raw_data/{id}_layer{n}_{att,ffn}.npy``.

    Raises:
        GatefuseError: plots raised; all else is written.
        OSError: a file cannot be written.
    """
    with replacing_report(Path(folder)):
        _write(Path(folder), report, raw)
    return Path(folder)


def _write(folder: Path, report: GateReport, raw: bool) -> None:
    write_json(folder / "overall_statistics.json", overall_json(report.overall))
    write_json(folder / "analyses.json", {name: getattr(report, name) for name in _TABLES})
    for one in report.individuals:
        write_json(folder / "individual_samples" / f"{file_name(one.sample.id)}_details.json", details(one))
        if raw:
            _write_raw(folder / "raw_data", one)
    if report.interventions is not None:
        report.interventions.write(folder)
    with atomic_writer(folder / "ANALYSIS_REPORT.md", "w") as stream:
        stream.write(markdown(report))
    write_html(folder / "report.html", report)
    if find_spec("matplotlib") is None:
        print_log("pictures need matplotlib (pip install 'gatefuse-plugins[report]'); all else is written", "current")
    else:
        write_plots(folder, report)


def _write_raw(folder: Path, one: SampleGates) -> None:
    """Each gate's values as an array; of two gates of a kind and layer the second keeps its tap's name."""
    taken: set[str] = set()
    for held in one.gates:
        kind = _RAW_KINDS.get(held.gate.kind, held.gate.kind)
        place = f"layer{held.gate.layer}_{kind}" if held.gate.layer is not None else kind
        place = f"{held.gate.name}_{kind}" if place in taken else place
        taken.add(place)
        with atomic_writer(folder / f"{file_name(one.sample.id)}_{place}.npy") as stream:
            np.save(stream, held.values)
