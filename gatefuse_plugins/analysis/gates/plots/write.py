"""All pictures of a report into its folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatefuse_plugins.analysis.gates.data import labels
from gatefuse_plugins.analysis.gates.plots.clusters import clusters_figure
from gatefuse_plugins.analysis.gates.plots.comparison import comparison_figure
from gatefuse_plugins.analysis.gates.plots.correlations import correlations_figure
from gatefuse_plugins.analysis.gates.plots.evolution import evolution_figure
from gatefuse_plugins.analysis.gates.plots.gate_maps import draw_gate_maps, gate_maps_figure
from gatefuse_plugins.analysis.gates.plots.histograms import distributions_figure, overall_figure
from gatefuse_plugins.analysis.gates.plots.individual import sample_figure
from gatefuse_plugins.analysis.gates.plots.interventions import interventions_figure
from gatefuse_plugins.analysis.gates.plots.pattern_bars import extremes_figure, layer_means_figure
from gatefuse_plugins.analysis.gates.plots.patterns import activation_figure, samples_figure, sections_figure
from gatefuse_plugins.analysis.gates.plots.runs import runs_figure
from gatefuse_plugins.analysis.gates.plots.style import write_figure
from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.recording.array_statistics import file_name
from gatefuse_plugins.registry import PLOTS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gatefuse_plugins.analysis.gates.report import GateReport

SHOWN_GATE_MAPS = 6
"""So many queries at most stand in ``gate_map.png``; each has a picture of its own in ``gate_maps/``."""

BUILT_IN: dict[str, Callable[[GateReport], Figure | None]] = {
    "overall_statistics": lambda report: overall_figure(report.overall),
    "layer_distributions": lambda report: distributions_figure(report.distributions),
    "activation_patterns": lambda report: activation_figure(report.patterns),
    "gate_clustering": lambda report: clusters_figure(report.clusters, tuple(labels(report.summary.gates))),
    "gate_sections": lambda report: sections_figure(report.patterns),
    "gate_top_bottom": lambda report: extremes_figure(report.patterns),
    "gate_layerwise_means": lambda report: layer_means_figure(report.patterns),
    "gate_samples_layermean": lambda report: samples_figure(report.patterns),
    "gate_correlations": lambda report: correlations_figure(report.correlations),
    "comparisons/gate_comparison": lambda report: _optional(comparison_figure, report.comparison),
    "gate_evolution": lambda report: _optional(evolution_figure, report.evolution),
    "gate_runs": lambda report: _optional(runs_figure, report.runs),
    "interventions": lambda report: _optional(interventions_figure, report.interventions),
    "gate_map": lambda report: _optional(gate_maps_figure, report.gate_maps[:SHOWN_GATE_MAPS] or None),
}
for _name, _draw in BUILT_IN.items():
    PLOTS.register_module(name=_name, module=_draw)


def write_plots(folder: str | os.PathLike[str], report: GateReport) -> list[Path]:
    """Write every registered plot that has something to show as ``folder/NAME.png``, and those of single samples.

    A plot of one's own that raises does not keep the others from being written.

    Returns:
        The files.

    Raises:
        ImportError: matplotlib is not installed.
        GatefuseError: plots raised; names them all, after the others were written.
    """
    paths: list[Path] = []
    failed: dict[str, Exception] = {}
    for name, draw in PLOTS.module_dict.items():
        try:
            figure = draw(report)
            if figure is not None:
                paths.append(Path(folder, f"{name}.png"))
                write_figure(figure, paths[-1])
        except ImportError:
            raise
        except Exception as error:  # anything at all, for a registered plot is anybody's code
            failed[name] = error
    for one in report.individuals:
        paths.append(Path(folder, "individual_samples", f"gate_analysis_{file_name(one.sample.id)}.png"))
        write_figure(sample_figure(one), paths[-1])
    paths += draw_gate_maps(report.gate_maps, Path(folder, "gate_maps"))
    if failed:
        listed = "; ".join(f"{name}: {type(error).__name__}: {error}" for name, error in failed.items())
        raise GatefuseError(f"{len(failed)} plots failed ({listed}); all others are written to {folder}") from next(
            iter(failed.values())
        )
    return paths


def _optional(draw: Callable[[Any], Figure], found: Any) -> Figure | None:
    return None if found is None else draw(found)
