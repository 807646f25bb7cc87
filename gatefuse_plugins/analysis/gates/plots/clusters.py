"""Groups of samples whose gates are alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gatefuse_plugins.analysis.gates.clusters import GateClusters
from gatefuse_plugins.analysis.gates.plots.heat_maps import heat_map
from gatefuse_plugins.analysis.gates.plots.sheet import Sheet
from gatefuse_plugins.analysis.gates.plots.style import (
    ABSENT_COLOUR,
    GROUP_COLOURS,
    beside,
    literal,
    plain_axis,
    say_empty,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED_SAMPLES = 40
"""So many samples at most have their ids written beside their points."""


@literal
def clusters_figure(found: GateClusters, labels: tuple[str, ...] = ()) -> Figure:
    """Samples on the first two principal components, the mean gates of each cluster, and how well k clusters part.

    Args:
        labels: (T) short names of the gates.

    Raises:
        ImportError: matplotlib is not installed.
    """
    sheet = Sheet(12, (4.0, 1.8), "Samples by their gates", found.note, below=1.0)
    (points,) = sheet.row(1, right=1.7)
    first, second = (
        f"component {at + 1} ({100 * share:.0f} % of the variance)" for at, share in enumerate(found.explained)
    )
    plain_axis(points, "a point for each sample", first, second)
    _draw_points(points, found)
    centers, silhouettes = sheet.row((2.2, 1), left=1.2, gap=1.6)
    plain_axis(centers, "mean gate of each cluster")
    if found.k:
        rows = [f"{at} (n = {size:,})" for at, size in enumerate(found.sizes)]
        heat_map(centers, found.centers, None, rows=rows, columns=labels, written=True)
    else:
        say_empty(centers)
    plain_axis(silhouettes, "how well k clusters part", "clusters k", "mean silhouette")
    if found.silhouettes:
        tried = sorted(found.silhouettes)
        silhouettes.plot(tried, [found.silhouettes[k] for k in tried], "o-", color=GROUP_COLOURS[0], ms=4)
        silhouettes.set_xticks(tried)
        if found.k in found.silhouettes:
            silhouettes.axvline(found.k, color=GROUP_COLOURS[1], lw=1, ls="--")
    else:
        say_empty(silhouettes, "not tried")
    return sheet.figure


def _draw_points(axis: Axes, found: GateClusters) -> None:
    placed = np.isfinite(found.projection).all(axis=1) if found.projection.size else np.zeros(0, bool)
    if not placed.any():
        say_empty(axis)
        return
    size = float(np.clip(2000 / placed.sum(), 1.0, 30.0))
    for cluster in range(-1, found.k):
        members = placed & (found.labels == cluster)
        if members.any():
            colour = ABSENT_COLOUR if cluster < 0 else GROUP_COLOURS[cluster % len(GROUP_COLOURS)]
            label = f"cluster {cluster} (n = {int(members.sum()):,})" if cluster >= 0 else "incomplete"
            axis.plot(*found.projection[members].T, "o", ms=size**0.5, mew=0, alpha=0.75, color=colour, label=label)
    if placed.sum() <= NAMED_SAMPLES:
        for at in np.flatnonzero(placed):
            place = found.projection[at]
            axis.annotate(str(found.sample_ids[at])[:16], place, (4, 2), textcoords="offset points", fontsize=7)
    beside(axis, markerscale=max(1.0, 4 / size**0.5))
