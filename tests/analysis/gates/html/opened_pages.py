"""Reports in the browser, and what their parts hold."""

from __future__ import annotations

from pathlib import Path

from browser import Node, rendered

from gatefuse_plugins.analysis.gates.html.page import write_html
from gatefuse_plugins.analysis.gates.report import GateReport


def opened(report: GateReport, folder: Path, fragment: str = "") -> Node:
    write_html(folder / "report.html", report)
    page = rendered(folder / "report.html", fragment, folder / "profile")
    assert not [node.text for node in page.all("*") if "data-failed" in node.attributes]
    assert page.one("html").attributes["data-drawn"] == str(len(page.all("section")))
    return page


def rows(page: Node) -> list[list[str]]:
    body = page.one("table", id="samples-table").one("tbody")
    return [[cell.text for cell in row.all("td")] for row in body.all("tr")]


def section(page: Node, name: str) -> Node:
    return page.one("section", id=name)
