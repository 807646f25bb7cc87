"""What the page's data says of a report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from html_extras import extras
from html_reports import gate_report, some_samples
from html_views import CLIPS

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample
from gatefuse_plugins.analysis.gates.html.page import payload
from gatefuse_plugins.analysis.gates.html.rounding import rounded
from gatefuse_plugins.analysis.gates.report import GateReport


def blocks(report: GateReport, section: str) -> list[dict[str, Any]]:
    found = {one["id"]: one["blocks"] for one in payload(report)["sections"]}
    return found[section]


def test_the_table_holds_every_sample_by_column() -> None:
    samples = (*some_samples(3), Sample(7))
    (block,) = blocks(gate_report(samples, views=2), "samples")[:1]
    held = {column["key"]: column["values"] for column in block["columns"]}
    assert list(held) == [
        "id",
        "vid",
        "query",
        "attention_mean",
        "attention_std",
        "ffn_mean",
        "ffn_std",
        "R1@0.5",
        "IoU",
    ]
    assert held["id"] == ["q0", "q1", "q2", "7"]
    assert held["query"][3] is None
    assert held["attention_mean"] == [0.01, 0.02, 0.03, 0.04]  # of (s + 0) / 100 and (s + 2) / 100
    assert held["IoU"] == [0, 0.1, 0.2, None]
    assert block["viewed"] == {0: 0, 1: 1}


def test_columns_that_nothing_fills_are_left_out() -> None:
    (block, *_) = blocks(gate_report((Sample("a"), Sample("b"))), "samples")
    assert [column["key"] for column in block["columns"]][:2] == ["id", "attention_mean"]


def test_a_view_holds_windows_saliency_and_curves() -> None:
    (view,) = blocks(gate_report(some_samples(5), views=1), "views")[0]["views"]
    assert (view["id"], view["unit"], view["length"], view["steps"]) == ("q0", "seconds", 2 * CLIPS, CLIPS)
    assert view["windows"]["true"] == [[8, 20]]
    assert view["windows"]["predicted"][0] == [7, 19.5, 0.91]
    assert view["offTopic"] == [[0, 6]]
    assert view["saliency"]["annotated"][4] == 3.3
    attention, ffn = view["panels"]
    assert [one["label"] for one in ffn["series"]] == ["layer 0", "layer 1"]
    first = attention["series"][0]
    assert first["values"][1] == rounded(0.2 * np.sin(1 / 3))
    assert [side[0] for side in first["band"]] == [-0.08, 0.08]
    assert first["distance"][0] == rounded(np.mean([0.1, 1 / 30, 1 / 30, 0.1]))  # channels at 0 +- these


def test_positions_in_front_of_the_clips_are_not_drawn() -> None:
    report = gate_report(some_samples(1), views=1)
    (one,) = report.individuals
    first = one.gates[0]
    longer = replace(
        first,
        values=np.concatenate([np.full((1, 4), 9.0), first.values]),
        curve=np.concatenate([[9.0], first.curve]),
        band=np.concatenate([[[9.0, 9.0]], first.band]),
    )
    held = replace(report, individuals=(replace(one, gates=(longer, *one.gates[1:])),))
    drawn = blocks(held, "views")[0]["views"][0]["panels"][0]["series"][0]
    assert drawn == blocks(report, "views")[0]["views"][0]["panels"][0]["series"][0]


def test_long_curves_are_thinned_to_means() -> None:
    report = gate_report(some_samples(1), views=1)
    (one,) = report.individuals
    ramp = np.arange(900.0)
    long = replace(one.gates[0], granularity="clipwise", values=ramp[:, None], curve=ramp, band=ramp[:, None])
    held = replace(report, individuals=(replace(one, gates=(long,)),), queries={})
    (view,) = blocks(held, "views")[0]["views"]
    assert (view["unit"], view["length"]) == ("position", 900)
    assert view["panels"][0]["series"][0]["values"][:3] == [1, 4, 7]
    assert len(view["panels"][0]["series"][0]["values"]) == 300


def test_interventions_by_metric_and_those_that_do_not_apply() -> None:
    samples = some_samples(4)
    _, first, second = blocks(gate_report(samples, **extras(samples)), "interventions")
    assert (first["title"], first["open"], second["title"], second["open"]) == ("R1@0.5", True, "mAP", False)
    assert first["note"] == "R1@0.5 without intervention: 45.2"
    assert first["rows"][0] == {
        "intervention": "neutral",
        "gates": "all gates",
        "meaning": "It matters.",
        "sentence": "Changes R1@0.5 by -4.50 points.",
        "moved": 0.12,
        "value": 40.7,
        "change": -4.5,
        "low": -5.6,
        "high": -3.2,
    }
    assert (first["rows"][3]["change"], first["rows"][3]["sentence"]) == (None, "n/a: global gates")


def test_own_analyses_are_shown_whatever_they_hold() -> None:
    found, facts = blocks(gate_report(some_samples(1), **extras(some_samples(2))), "own")
    assert (found["columns"], found["rows"]) == (["labels", "values"], [["a", 0.5], ["b", None]])
    assert facts["rows"] == [["total", 2.5]]


def test_gates_are_explained_by_kind_range_and_neutral_value() -> None:
    taps = (
        GateInfo("a", "attention", 0, 0.0, 1.0, 0.0),
        GateInfo("b", "attention", 1, 0.0, 1.0, 0.0),
        GateInfo("c", "ffn", 0, 0.0, 2.0, 1.0),
        GateInfo("d", "query", 0, 0.0, 1.0, 1.0),
        GateInfo("e", "delta", None, -1.0, 1.0, 0.0),
        GateInfo("f", "attention", 2, -1.0, 1.0, 0.0),
    )
    _, table = blocks(gate_report(some_samples(1), taps, views=0), "reading")
    assert [row[:4] for row in table["rows"]] == [
        ["attention", 2, "0 to 1", "0"],
        ["ffn", 1, "0 to 2", "1"],
        ["query", 1, "0 to 1", "1"],
        ["delta", 1, "-1 to 1", "0"],
        ["attention", 1, "-1 to 1", "0"],
    ]
    meanings = [row[5] for row in table["rows"]]
    assert "0 is shut" in meanings[0] and "negative" not in meanings[0]
    assert "1 leaves it as it is, 0 switches it off" in meanings[1]
    assert "leaves the query to the video alone" in meanings[2]
    assert "neither good nor bad" in meanings[3]
    assert "negative ones subtract it" in meanings[4]
