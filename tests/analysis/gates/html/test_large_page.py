"""A page of 100,000 samples stays usable."""

from __future__ import annotations

from pathlib import Path

from html_reports import gate_report, some_samples
from opened_pages import opened, rows, section


def test_a_hundred_thousand_samples(tmp_path: Path) -> None:
    report = gate_report(some_samples(100_000), views=1)
    page = opened(report, tmp_path, "q=99999&sort=id&order=down")
    assert [row[:3] for row in rows(page)] == [["q99999", "video4", "a dog barks 99999 times"]]
    assert section(page, "samples").one("output").text == "1 to 1 of 1 samples (100,000 in all)"
    assert len(section(page, "clusters").one("svg").all("circle")) == 2000
    assert (tmp_path / "report.html").stat().st_size < 12e6
