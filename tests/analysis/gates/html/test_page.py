"""The file that is written: self-contained, safe to open, small."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from html_extras import extras
from html_reports import gate_report, gates, some_samples
from html_views import sample_gates

from gatefuse_plugins.analysis.gates.html.page import embedded, page, write_html
from gatefuse_plugins.analysis.gates.html.rounding import rounded, rounded_list

NAN = float("nan")


def test_numbers_have_four_digits_and_what_is_not_finite_is_none() -> None:
    values = [0.123456, 1234567.0, -0.0, 2.0, 7, NAN, float("inf"), 1e-9]
    assert [rounded(value) for value in values] == [0.1235, 1235000, 0, 2, 7, None, None, 1e-9]
    assert rounded_list(np.array([[0.5, NAN], [1.0, 2.00004]], np.float32)) == [[0.5, None], [1, 2]]
    assert rounded_list(np.array([], float)) == []


def test_embedded_json_can_not_leave_its_element() -> None:
    value = {"a": "</script><!-- <script>", "b": "é\u2028犬"}
    text = embedded(value)
    assert "<" not in text
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="not JSON compliant"):
        embedded({"a": NAN})


def test_nothing_is_asked_of_a_network_and_only_this_script_may_run() -> None:
    samples = some_samples(4)
    text = page(gate_report(samples, **extras(samples)))
    assert re.findall(r"https?://[^\"' ]+", text) == ["http://www.w3.org/2000/svg"]
    assert not re.findall(r"(?:src|href)=", text.partition("<script type=")[0].replace('href="#content"', ""))
    for element, directive in (("style", "style-src"), ("script", "script-src")):
        (held,) = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(held.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in text
    assert "default-src 'none'; img-src data:" in text


def test_the_first_paragraph_is_the_diagnosis_with_or_without_script() -> None:
    report = gate_report(some_samples(2))
    text = page(
        replace(report, diagnosis=replace(report.diagnosis, verdict="collapsed", paragraph="All <closed> & still."))
    )
    first = re.findall(r"<p\b[^>]*>(.*?)</p>", text)[0]
    assert first == "All &lt;closed&gt; &amp; still."
    assert 'data-verdict="collapsed">collapsed</span>' in text


def test_a_failed_write_leaves_the_old_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_html(path, gate_report(some_samples(2)))
    before = path.read_bytes()
    broken = replace(gate_report(some_samples(2)), origin=None)
    with pytest.raises(AttributeError):
        write_html(path, broken)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["report.html"]


def test_size_of_a_page_of_a_whole_validation_split() -> None:
    """1,550 samples and 50 views of 8 elementwise gates over 75 clips: under 5 MB."""
    taps = gates(4)
    report = gate_report(some_samples(1550), taps, views=0)
    noise = np.random.default_rng(0).uniform(-1, 1, (75, 3))
    views = []
    for sample in report.summary.samples[:50]:
        held = sample_gates(sample, taps).gates
        views.append([replace(one, values=noise, curve=noise[:, 0], band=noise[:, 1:]) for one in held])
    shown = zip(report.summary.samples, views, strict=False)
    one = sample_gates(report.summary.samples[0], taps)
    individuals = tuple(replace(one, sample=sample, gates=tuple(held)) for sample, held in shown)
    size = len(page(replace(report, individuals=individuals)).encode())
    assert 0.5e6 < size < 5e6
