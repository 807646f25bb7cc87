"""A second report in the folder of a first one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from gate_data import random_data

from gatefuse_plugins.analysis.gates.comparison import compare_samples
from gatefuse_plugins.analysis.gates.individual import choose_samples, sample_gates
from gatefuse_plugins.analysis.gates.report import GateReport, build_report
from gatefuse_plugins.analysis.gates.report_files import replacing_report
from gatefuse_plugins.analysis.gates.summary import summarise
from gatefuse_plugins.analysis.gates.writing import write_report
from gatefuse_plugins.errors import GatefuseError


def report(count: int, compared: bool) -> GateReport:
    data = random_data(3)
    individuals = tuple(sample_gates(data, sample) for sample in choose_samples(data, count))
    more = {"comparison": compare_samples(individuals)} if compared else {}
    return build_report(summarise(data), individuals=individuals, **more)


def test_what_the_new_report_lacks_goes_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")
    write_report(tmp_path, report(2, compared=True), raw=True)
    old = {"interventions.json", "interventions.md", "interventions.png", "gate_evolution.png", "gate_maps/1.png"}
    own = {"notes.md", "report.txt", "individual_samples/q0.png", "comparisons/mine.png", "raw_data/table.npy"}
    own |= {"run/report.html", "gate_maps/about.txt"}
    for name in old | own:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    write_report(tmp_path, report(1, compared=False))
    found = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert own < found and not old & found and "report.html" in found
    singles = {name for name in found - own if "/" in name}
    assert singles == {"individual_samples/q%2F0_details.json", "individual_samples/gate_analysis_q%2F0.png"}
    for name in own:
        (tmp_path / name).unlink()
    with replacing_report(tmp_path):
        pass
    assert not (tmp_path / "individual_samples").exists() and not list(tmp_path.glob("*.*"))


def test_nothing_goes_where_writing_fails(tmp_path: Path) -> None:
    old, new = tmp_path / "interventions.md", tmp_path / "report.html"
    for error, stays in ((OSError("disk full"), True), (GatefuseError("a plot failed"), False)):
        old.write_text("old")
        new.write_text("old")
        with pytest.raises(type(error)), replacing_report(tmp_path):
            (tmp_path / "beside").write_text("new")
            os.replace(tmp_path / "beside", new)
            raise error
        assert old.exists() == stays and new.read_text() == "new"
