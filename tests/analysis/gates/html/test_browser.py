"""The page in a real browser: its script runs, draws what the report holds, and believes no text to be markup."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_extras import extras
from html_reports import gate_report, gates, some_samples
from html_views import sample_gates
from opened_pages import opened, rows, section

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample

DASH, MINUS = "\u2013", "\u2212"
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & <b>ünï 犬</b>"


def test_every_part_is_drawn_and_no_text_is_markup(tmp_path: Path) -> None:
    samples = (Sample(EVIL, "a/b", EVIL, {"IoU": 0.25}), *some_samples(11))
    page = opened(gate_report(samples, origin=EVIL, **extras(samples)), tmp_path)
    assert page.one("head").one("title").text == "Gate analysis"
    assert not page.all("img", src="x")
    assert page.one("p", class_="origin").text == EVIL
    assert page.one("p", class_="diagnosis").text == "The gates vary with their input."
    titles = [node.text for node in page.one("nav").all("a")]
    assert titles == [node.one("h2").text for node in page.all("section")]
    assert titles[:3] == ["Overview", "What the gates are worth", "How to read a gate"]
    assert titles[-2:] == ["Runs compared", "Own analyses"]
    assert rows(page)[0] == [EVIL, "a/b", EVIL, "0.010", "0.250", "0.020", "0.250", "0.250", DASH]
    bars = section(page, "interventions").one("details", open="").all("svg")
    assert [str(bar.attributes["aria-label"]).replace(MINUS, "-") for bar in bars] == [
        "-4.500, 95 % interval -5.600 to -3.200",
        "-0.400, 95 % interval -1.500 to +0.900",
        "+0.600, 95 % interval -0.500 to +1.900",
    ]
    assert len(section(page, "distributions").all("svg")) == 2 + 4 + 2  # percentiles, histograms, courses
    maps = section(page, "maps")
    assert [node.attributes["alt"] for node in maps.all("img")] == [
        "reference dev-0",
        "dev-1",
        "dev-2, the target",
        "dev-3",
    ]
    assert len(maps.one("svg").all("rect")) == 16
    assert maps.one("p", class_="big").text == "0.300"


def test_search_sort_page_and_view_come_from_the_fragment(tmp_path: Path) -> None:
    page = opened(gate_report(some_samples(300), views=5), tmp_path, "q=DOG+video3&sort=IoU&order=down&page=2&view=q3")
    found = [row for row in range(300) if row % 7 == 3]
    best = sorted(found, key=lambda row: -(row % 10))
    assert [row[0] for row in rows(page)] == [f"q{row}" for row in best[25:]]
    assert section(page, "samples").one("output").text == "26 to 43 of 43 samples (300 in all)"
    assert page.one("input", id="search").attributes["value"] == "DOG video3"
    (heading,) = [node for node in page.all("th") if "aria-sort" in node.attributes]
    assert (heading.text, heading.attributes["aria-sort"]) == ("IoU", "descending")
    view = section(page, "views")
    assert view.one("h3").text == "q3 in video3"
    assert view.one("p", class_="query").text == "“a dog barks 3 times”"
    texts = [node.text for node in view.one("svg").all("text")]
    assert {"true", "#1", "#2", "#3", "0.91", "Windows", "Saliency"} <= set(texts)
    assert {"attention", "ffn", "layer 0", "layer 1", "neutral 0", "seconds"} <= set(texts)
    shades = view.one("svg").all("rect", class_="shade")  # the first 3 of 20 clips, in each of the 4 panels
    assert {(node.attributes["x"], str(node.attributes["width"])[:5]) for node in shades} == {("74", "132.9")}
    assert len(shades) == 4


@pytest.mark.parametrize("count", [0, 1])
def test_no_sample_or_one_still_gives_a_page(tmp_path: Path, count: int) -> None:
    taps = gates() if count else ()
    page = opened(gate_report(some_samples(count), taps), tmp_path)
    if count:
        assert [row[0] for row in rows(page)] == ["q0"]
    else:
        assert section(page, "samples").one("p", class_="empty").text == "No sample was analysed."
        assert section(page, "views").one("p", class_="empty").text == "No single sample was drawn."


def test_odd_gates_are_drawn(tmp_path: Path) -> None:
    """NaN, constant, global, by head, without layer, ragged, and none at all."""
    taps = (
        GateInfo("a.tap", "attention", None, 0.0, None, 0.0),
        GateInfo("b.tap", "query", 0, None, None, 1.0),
        GateInfo("c.tap", "shift", 1, None, None, 0.0),
    )
    samples = some_samples(3)
    whole, head, empty = sample_gates(samples[0], taps, width=1).gates
    nothing = np.full(20, np.nan)
    views = (
        replace(whole, values=np.ones((1, 1)), curve=np.ones(1), band=np.ones((1, 2)), granularity="global"),
        replace(head, values=np.ones((4, 1, 1)), curve=np.arange(4.0), granularity="headwise"),
        replace(empty, curve=nothing, band=np.stack([nothing] * 2, axis=1), values=np.full((20, 4), np.nan)),
    )
    report = gate_report(samples, taps)
    one = replace(report.individuals[0], gates=views)
    summary = replace(report.summary, mean=np.full((3, 3), np.nan), std=np.full((3, 3), np.nan))
    page = opened(replace(report, individuals=(one,), queries={}, summary=summary), tmp_path)
    assert [row[4] for row in rows(page)] == [DASH] * 3
    texts = [node.text for node in section(page, "views").one("svg").all("text")]
    assert {"attention", "query, by head", "shift", "position"} <= set(texts)
