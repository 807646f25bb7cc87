"""Pictures show the numbers that they are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.analysis.moment_plots import draw_queries, query_figure
from gatefuse_plugins.analysis.moment_queries import GateCurve, MomentQuery

pytest.importorskip("matplotlib", reason="pictures need the extra 'report'")

CLIPWISE = GateCurve("fusion.layers.0.gates.attention_tap", "attention", 0, 0.0, np.array([0.1, 0.2, 0.3, 0.4]), False)
GLOBAL = GateCurve("fusion.layers.0.gates.ffn_tap", "ffn", 0, 0.0, np.array([0.25]), False)
QUERY = MomentQuery(
    qid=7,
    query="a dog barks",
    vid="v",
    clip_length=2.0,
    unit="seconds",
    true_windows=np.array([[2.0, 6.0]]),
    windows=np.array([[0.0, 4.0, 0.9], *([[4.0, 8.0, 0.125]] * 6)]),
    saliency=np.array([-1.0, 0.5, 2.0, 0.0]),
    annotated=np.array([0.0, 3.0, 4.0, 0.0]),
    off_topic=np.array([True, False, False, True]),
    gates=(CLIPWISE, GLOBAL),
)


def legend(axis) -> list[str]:
    return [text.get_text() for text in axis.get_legend().get_texts()]


def steps(axis, label: str) -> tuple[np.ndarray, np.ndarray]:
    (found,) = [patch for patch in axis.patches if patch.get_label() == label]
    return found.get_data().values, found.get_data().edges


def test_windows_scores_curves_and_gates_over_seconds() -> None:
    figure = query_figure(QUERY)
    windows, saliency, gates, annotated = figure.axes
    assert "qid 7 in v\na dog barks" in figure.get_suptitle()
    assert windows.get_xlim() == (0, 8)
    assert gates.get_xlabel() == "seconds"
    assert [label.get_text() for label in windows.get_yticklabels()] == ["true", "#1", "#2", "#3", "#4", "#5"]
    assert [text.get_text().strip() for text in windows.texts] == ["0.90", *["0.12"] * 4]
    bars = [bar.get_paths()[0].vertices[:, 0] for bar in windows.collections]
    assert [(edges.min(), edges.max()) for edges in bars[:3]] == [(2, 6), (0, 4), (4, 8)]
    assert [list(part) for part in steps(saliency, "predicted")] == [[-1, 0.5, 2, 0], [0, 2, 4, 6, 8]]
    assert list(annotated.patches[0].get_data().values) == [0, 3, 4, 0]
    assert [list(part) for part in steps(gates, "attention, layer 0")] == [[0.1, 0.2, 0.3, 0.4], [0, 2, 4, 6, 8]]
    assert [list(part) for part in steps(gates, "ffn, layer 0")] == [[0.25], [0, 8]]  # one value: the whole length
    assert legend(windows) == ["audio off-topic", "true windows", "predicted, best 5"]
    assert legend(gates) == ["attention, layer 0", "ffn, layer 0", "neutral"]


def test_off_topic_stretches_are_shaded_in_every_panel() -> None:
    for axis in query_figure(QUERY).axes[:3]:
        shades = [patch for patch in axis.patches if hasattr(patch, "get_width")]
        assert [(shade.get_x(), shade.get_width()) for shade in shades] == [(0, 2), (6, 2)]


def test_panels_without_content_are_left_out() -> None:
    bare = replace(QUERY, true_windows=None, windows=np.zeros((0, 3)), annotated=None, off_topic=None, gates=())
    (saliency,) = query_figure(bare).axes
    assert legend(saliency) == ["predicted"]
    assert len(query_figure(replace(bare, windows=QUERY.windows)).axes) == 2


def test_gates_of_the_same_kind_and_layer_are_told_apart_and_distances_named() -> None:
    other = replace(CLIPWISE, name="transformer.encoder.layers.0.attention_gate.tap", neutral=1.0)
    distance = replace(CLIPWISE, name="x.tap", kind="ffn", layer=None, distance=True)
    gates = query_figure(replace(QUERY, gates=(CLIPWISE, other, distance), annotated=None)).axes[2]
    named = ["fusion.layers.0.gates", "transformer.encoder.layers.0.attention_gate", "ffn, mean |gate - neutral|"]
    assert legend(gates) == [*named, "neutral"]
    assert gates.get_ylabel() == "gate value"
    alone = query_figure(replace(QUERY, gates=(distance,), annotated=None)).axes[2]
    assert (legend(alone), alone.get_ylabel()) == (["ffn", "neutral"], "mean |gate - neutral|")


def test_files_are_named_by_qid_whatever_it_holds(tmp_path: Path) -> None:
    paths = draw_queries([QUERY, replace(QUERY, qid="../a b")], tmp_path / "plots")
    assert paths == [tmp_path / "plots" / "qid7.png", tmp_path / "plots" / "qid..%2Fa%20b.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == ["qid..%2Fa%20b.png", "qid7.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
