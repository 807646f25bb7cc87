"""Pictures of single queries: windows, saliency and gates over time. Draws what it is given and computes nothing."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from gatefuse_plugins.analysis.moment_queries import GateCurve, MomentQuery
from gatefuse_plugins.files import atomic_writer

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TOP_WINDOWS = 5
_TRUE, _PREDICTED, _OFF_TOPIC = "tab:green", "tab:blue", "0.9"
_STYLES = {"attention": "-", "ffn": (0, (4, 1.5))}  # a kind is a style; curves of a layer share a colour
_TITLE_WIDTH = 100


def draw_queries(queries: Iterable[MomentQuery], folder: str | os.PathLike[str]) -> list[Path]:
    """Draw each query into ``folder/qid{qid}.png``, written atomically; returns the files.

    Raises:
        ImportError: matplotlib is not installed.
    """
    paths = []
    for query in queries:
        paths.append(Path(folder, f"qid{quote(str(query.qid), safe='')}.png"))
        with atomic_writer(paths[-1]) as stream:
            query_figure(query).savefig(stream, format="png", dpi=110)
    return paths


def query_figure(query: MomentQuery) -> Figure:
    """True and best predicted windows, saliency, and gates, over time.

    Stretches whose audio is off-topic are shaded. Panels for which the query has nothing are left out.

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, and Agg whatever the display

    panels: list[tuple[float, Callable[[Axes, MomentQuery], None]]] = [(2.4, _draw_saliency)]
    if query.true_windows is not None or len(query.windows):
        panels.insert(0, (1.9, _draw_windows))
    if query.gates:
        panels.append((2.6, _draw_gates))
    heights = [height for height, _ in panels]
    figure = Figure(figsize=(11, 0.8 + sum(heights)), layout="constrained")
    place = "" if query.vid == query.qid else f" in {query.vid}"
    title = f"qid {query.qid}{place}\n" + textwrap.fill(query.query, _TITLE_WIDTH)
    figure.suptitle(title, fontsize=12, x=0.01, ha="left")
    axes = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)[:, 0]
    for axis, (_, draw) in zip(axes, panels, strict=True):
        _shade_off_topic(axis, query, named=axis is axes[0])
        draw(axis, query)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelbottom=True)
        axis.legend(loc="upper left", bbox_to_anchor=(1.07, 1.0), frameon=False, fontsize=9)
    clips = max(len(query.saliency), 0 if query.annotated is None else len(query.annotated))
    axes[-1].set_xlim(0, clips * query.clip_length)
    axes[-1].set_xlabel(query.unit)
    return figure


def _shade_off_topic(axis: Axes, query: MomentQuery, named: bool) -> None:
    if query.off_topic is None:
        return
    change = np.flatnonzero(np.diff(query.off_topic.astype(int), prepend=0, append=0))
    for place, (start, end) in enumerate(change.reshape(-1, 2) * query.clip_length):
        axis.axvspan(
            start, end, color=_OFF_TOPIC, lw=0, label="audio off-topic" if named and not place else "", zorder=0
        )


def _draw_windows(axis: Axes, query: MomentQuery) -> None:
    """A row of true windows, then a row for each prediction, the best on top."""
    labels, best = [], query.windows[:TOP_WINDOWS]
    if query.true_windows is not None:
        bars = [(start, end - start) for start, end in query.true_windows]
        axis.broken_barh(bars, (-0.38, 0.76), color=_TRUE, label="true windows")
        labels.append("true")
    for row, (start, end, score) in enumerate(best, start=len(labels)):
        label = "" if row > len(labels) else f"predicted, best {len(best)}"
        axis.broken_barh([(start, end - start)], (row - 0.38, 0.76), color=_PREDICTED, alpha=0.8, label=label)
        axis.text(end, row, f" {score:.2f}", va="center", fontsize=8, clip_on=False)
    labels += [f"#{rank}" for rank in range(1, len(best) + 1)]
    axis.set_yticks(range(len(labels)), labels, fontsize=8)
    axis.set_ylim(len(labels) - 0.4, -0.6)


def _draw_saliency(axis: Axes, query: MomentQuery) -> None:
    axis.stairs(
        query.saliency, _edges(query.saliency, query), baseline=None, color=_PREDICTED, lw=1.8, label="predicted"
    )
    axis.set_ylabel("predicted saliency", color=_PREDICTED)
    if query.annotated is None:
        return
    # another scale, so another axis; its handle is named on the first, whose legend is the one shown
    twin = axis.twinx()
    twin.stairs(query.annotated, _edges(query.annotated, query), color=_TRUE, alpha=0.35, fill=True)
    twin.set_ylabel("annotated mean", color=_TRUE)
    twin.spines[["top"]].set_visible(False)
    twin.set_ylim(bottom=min(0.0, query.annotated.min()))
    axis.plot([], [], color=_TRUE, alpha=0.35, lw=6, label="annotated mean")
    axis.set_zorder(twin.get_zorder() + 1)
    axis.patch.set_visible(False)


def _draw_gates(axis: Axes, query: MomentQuery) -> None:
    from matplotlib import colormaps

    layers = {key: place for place, key in enumerate(dict.fromkeys(_stem(gate) for gate in query.gates))}
    for gate in query.gates:
        style, colour = _STYLES.get(gate.kind, ":"), colormaps["tab10"](layers[_stem(gate)] % 10)
        whole = len(gate.values) == 1
        edges = [0, len(query.saliency) * query.clip_length] if whole else _edges(gate.values, query)
        label = _gate_label(gate, query.gates)
        axis.stairs(gate.values, edges, baseline=None, color=colour, linestyle=style, lw=1.6, label=label)
    for place, neutral in enumerate(sorted({gate.neutral for gate in query.gates})):
        axis.axhline(neutral, color="0.4", lw=1, linestyle=":", label="" if place else "neutral")
    distances = all(gate.distance for gate in query.gates)
    axis.set_ylabel("mean |gate - neutral|" if distances else "gate value")


def _stem(gate: GateCurve) -> str:
    """What taps of one layer have in common."""
    return gate.name.rpartition(".")[0]


def _gate_label(gate: GateCurve, gates: tuple[GateCurve, ...]) -> str:
    """Kind and layer, or the dotted name where another gate has the same; says where channels were averaged."""
    short = gate.kind if gate.layer is None else f"{gate.kind}, layer {gate.layer}"
    ambiguous = sum((other.kind, other.layer) == (gate.kind, gate.layer) for other in gates) > 1
    mixed = gate.distance and not all(other.distance for other in gates)
    return (_stem(gate) if ambiguous else short) + (", mean |gate - neutral|" if mixed else "")


def _edges(values: np.ndarray, query: MomentQuery) -> np.ndarray:
    return np.arange(len(values) + 1) * query.clip_length
