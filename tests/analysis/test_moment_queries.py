"""What is gathered about single queries equals what the model gave and the annotations hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gatefuse_plugins.analysis.moment_queries import MomentQuery, analyse_queries, choose_rows
from gatefuse_plugins.data.events import EventSetConfig, make_qvhighlights_events, make_tvsum_events, off_topic_mask
from gatefuse_plugins.data.moments import QVHighlightsDataset, TVSumDataset
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.gates.tap import gate_taps
from gatefuse_plugins.hosts.qd_detr import QDDETR
from gatefuse_plugins.injection import inject

SIZES = EventSetConfig(num_train_videos=1, num_val_videos=3, num_test_videos=1, min_clips=20, max_clips=30)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("events") / "set"
    make_qvhighlights_events(root, SIZES)
    return root


@pytest.fixture
def dataset(events: Path) -> QVHighlightsDataset:
    return QVHighlightsDataset(events, "val", "eval", audio_features="auto")


def host(dataset: Any, gating_type: str = "clipwise", **options: Any) -> QDDETR:
    torch.manual_seed(0)
    widths = {f"{name}_dim": width for name, width in dataset.widths.items()}
    fusion = {"type": "AvigateCustomFusion", "gating_type": gating_type, "fusion_layers": 2, "fusion_n_heads": 2}
    sizes = {"hidden_dim": 12, "nheads": 2, "dim_feedforward": 16, "num_queries": 4, "max_q_l": 40}
    model = QDDETR(**widths, **sizes, **({"fusion": fusion} | options))
    for name, parameter in model.named_parameters():
        if "_gate.head.2" in name:  # residual gates start neutral, all at one value
            torch.nn.init.normal_(parameter)
    return model


def passed_values(model: QDDETR, batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """What passes each tap, and nothing else of this test's subject."""
    values: dict[str, np.ndarray] = {}
    handles = [
        tap.register_forward_hook(lambda _, __, value, name=name: values.update({name: value.numpy()}))
        for name, tap in gate_taps(model)
    ]
    with torch.no_grad():
        model.eval()(mode="predict", **batch)
    for handle in handles:
        handle.remove()
    return values


def test_predictions_labels_and_mask(dataset: QVHighlightsDataset, events: Path) -> None:
    model = host(dataset).train()
    found = analyse_queries(model, dataset, [4, 0])
    assert not model.training
    with torch.no_grad():
        (together,) = model(mode="predict", **dataset.__getitems__([4, 0]))
    for place, (row, query) in enumerate(zip([4, 0], found, strict=True)):
        entry = dataset.metainfo["annotations"][row]
        assert (query.qid, query.query, query.vid) == (entry["qid"], entry["query"], entry["vid"])
        np.testing.assert_allclose(query.saliency, together["saliency"][place], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(query.windows, together["windows"][place], atol=2e-4)
        np.testing.assert_array_equal(query.true_windows, entry["relevant_windows"])
        np.testing.assert_array_equal(query.off_topic, off_topic_mask(events)[entry["vid"]])
        expected = np.zeros(len(query.saliency))
        expected[entry["relevant_clip_ids"]] = np.mean(entry["saliency_scores"], axis=1)
        np.testing.assert_allclose(query.annotated, expected)
    assert (found[0].clip_length, found[0].unit) == (2.0, "seconds")


@pytest.mark.parametrize("gating_type", ["global", "clipwise", "elementwise"])
def test_gate_curves(dataset: QVHighlightsDataset, gating_type: str) -> None:
    model = host(dataset, gating_type)
    (query,) = analyse_queries(model, dataset, [1])
    values = passed_values(model, dataset.__getitems__([1]))
    curves = [(gate.kind, gate.layer, gate.distance) for gate in query.gates]
    assert curves == [(kind, layer, gating_type == "elementwise") for layer in (0, 1) for kind in ("attention", "ffn")]
    for gate in query.gates:
        value = values[gate.name][0]
        expected = np.abs(value).mean(-1) if gating_type == "elementwise" else value[:, 0]
        assert gate.values.shape == ((1,) if gating_type == "global" else query.saliency.shape)
        assert gate.neutral == 0.0
        np.testing.assert_allclose(gate.values, expected, rtol=1e-5)


def test_curves_of_the_hosts_own_layers_leave_its_global_token_out(dataset: QVHighlightsDataset) -> None:
    model = host(dataset, fusion={"type": "Concat"})
    rules = [
        {"pattern": "transformer.encoder.layers.0", "at": slot, "gate": {"type": "ResidualGate", "granularity": kind}}
        for slot, kind in (("attention_gate", "clipwise"), ("ffn_gate", "elementwise"))
    ]
    inject(model, rules)
    (query,) = analyse_queries(model, dataset, [0])
    clipwise, elementwise = query.gates
    first, second = (passed_values(model, dataset.__getitems__([0]))[gate.name][0] for gate in query.gates)
    assert len(first) == len(query.saliency) + 1
    np.testing.assert_allclose(clipwise.values, first[1:, 0], rtol=1e-5)
    np.testing.assert_allclose(elementwise.values, np.abs(second[1:] - 1).mean(-1), rtol=1e-4)
    assert (clipwise.neutral, elementwise.neutral) == (1.0, 0.0)  # a distance from neutral has its own zero


def test_hooks_are_removed_also_on_an_error(dataset: QVHighlightsDataset) -> None:
    model = host(dataset)
    analyse_queries(model, dataset, [0])
    model.postprocess = None
    with pytest.raises(TypeError):
        analyse_queries(model, dataset, [0])
    assert all(not tap._forward_hooks for _, tap in gate_taps(model))


def test_without_labels_and_without_gates(events: Path) -> None:
    dataset = QVHighlightsDataset(events, "test", "eval", audio_features=None)
    (query,) = analyse_queries(host(dataset, fusion=None), dataset, [0])
    assert (query.true_windows, query.annotated, query.gates) == (None, None, ())
    assert query.windows.shape == (4, 3)


def test_tvsum_has_no_windows_and_graded_clips(tmp_path: Path) -> None:
    make_tvsum_events(tmp_path / "set", SIZES)
    dataset = TVSumDataset(tmp_path / "set", "val", "eval", domain="VT", audio_features="auto")
    (query,) = analyse_queries(host(dataset, saliency_only=True), dataset, [0])
    assert (query.true_windows, query.unit, query.clip_length) == (None, "clips", 1.0)
    assert query.windows.shape == (0, 3)
    label = dataset.metainfo["annotations"][0]["label"]
    np.testing.assert_allclose(query.annotated, [sum(grades) / 20 for grades in label])
    assert isinstance(query, MomentQuery) and query.off_topic.shape == query.saliency.shape == (len(label),)


def test_rows_by_count_and_by_qid() -> None:
    annotations = [{"qid": 7}, {"qid": "a1"}, {"qid": 9}]
    assert choose_rows(annotations, 2) == [0, 1]
    assert choose_rows(annotations, 50) == choose_rows(annotations) == [0, 1, 2]
    assert choose_rows(annotations, qids=["9", "a1"]) == [2, 1]
    with pytest.raises(DataError) as caught:
        choose_rows(annotations, qids=["9", "a2", "zzz"])
    assert "in none of the 3 annotations: qid a2 (nearest: a1), qid zzz (nearest: none)" in str(caught.value)
