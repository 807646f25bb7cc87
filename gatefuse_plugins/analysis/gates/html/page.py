"""Write ``report.html``: template, style, script and data in one file that asks for nothing else."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
from importlib import resources
from string import Template
from typing import Any

from gatefuse_plugins.analysis.gates.html.distributions import distributions
from gatefuse_plugins.analysis.gates.html.maps import gate_maps
from gatefuse_plugins.analysis.gates.html.overview import how_to_read, overview
from gatefuse_plugins.analysis.gates.html.own import own_analyses
from gatefuse_plugins.analysis.gates.html.relations import clusters, comparison, correlations
from gatefuse_plugins.analysis.gates.html.samples import samples
from gatefuse_plugins.analysis.gates.html.training import evolution, runs
from gatefuse_plugins.analysis.gates.html.views import shown, views
from gatefuse_plugins.analysis.gates.html.worth import interventions
from gatefuse_plugins.analysis.gates.report import GateReport
from gatefuse_plugins.files import atomic_writer

_SCRIPTS = ("dom", "axes", "charts", "points", "samples", "panels", "choose", "views", "maps", "main")


def write_html(path: str | os.PathLike[str], report: GateReport) -> None:
    """Write ``report`` as one self-contained page, atomically.

    Raises:
        OSError: the file cannot be written; what stood there stays.
    """
    text = page(report)
    with atomic_writer(path, "w") as stream:
        stream.write(text)


def page(report: GateReport) -> str:
    """The page as text."""
    style = _asset("page.css")
    script = '"use strict";\n' + "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return Template(_asset("page.html")).substitute(
        policy=_policy(style, script),
        title=html.escape("Gate analysis"),
        verdict=html.escape(report.diagnosis.verdict),
        paragraph=html.escape(report.diagnosis.paragraph),
        origin=html.escape(report.origin),
        style=style,
        script=script,
        payload=embedded(payload(report)),
    )


def payload(report: GateReport) -> dict[str, Any]:
    """What the page's script draws: sections of blocks, as plain JSON."""
    viewed = {str(one.sample.id): at for at, one in enumerate(shown(report))}
    sections = [
        overview(report),
        interventions(report),
        how_to_read(report),
        distributions(report),
        samples(report, viewed),
        views(report),
        gate_maps(report),
        correlations(report),
        clusters(report),
        comparison(report),
        evolution(report),
        runs(report),
        own_analyses(report),
    ]
    return {"sections": [section for section in sections if section is not None]}


def embedded(value: Any) -> str:
    """JSON that may stand inside a ``<script>`` element, whatever the texts in it are.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # neither "</script>" nor "<!--" can occur then; to JSON an escaped bracket is the same text
    return text.replace("<", "\\u003c")


def _policy(style: str, script: str) -> str:
    """Content security policy: this style, this script and embedded pictures; nothing from elsewhere."""
    styles, scripts = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii") for text in (style, script)
    )
    return f"default-src 'none'; img-src data:; style-src 'sha256-{styles}'; script-src 'sha256-{scripts}'"


def _asset(name: str) -> str:
    return resources.files("gatefuse_plugins.analysis.gates.html").joinpath("assets", name).read_text(encoding="utf-8")
