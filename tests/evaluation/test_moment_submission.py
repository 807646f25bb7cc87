from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest
from oracles import DATA, needs

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.moment_offline import score_qvhighlights, score_tvsum
from gatefuse_plugins.evaluation.moment_submission import (
    read_moment_annotations,
    read_moment_submission,
    write_submission_lines,
)
from gatefuse_plugins.evaluation.qvhighlights import qvhighlights_metrics

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "evaluate.py"
RELEASED = DATA / "qvhighlights"


@pytest.fixture(scope="module")
def evaluate():
    spec = importlib.util.spec_from_file_location("tools_evaluate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def files(tmp_path, predictions, annotations):
    """Predictions and annotations on disk."""
    paths = tmp_path / "preds.jsonl", tmp_path / "labels.jsonl"
    for path, entries in zip(paths, (predictions, annotations), strict=True):
        path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return paths


def test_what_is_written_is_read_without_fault(tmp_path, predictions, annotations):
    write_submission_lines(tmp_path / "new" / "p.jsonl", predictions)
    got = read_moment_submission(tmp_path / "new" / "p.jsonl", annotations)
    assert (got.entries, got.faults, got.notes) == (predictions, (), ())


def test_a_failed_write_keeps_the_old_file(tmp_path, predictions, annotations):
    path = tmp_path / "p.jsonl"
    write_submission_lines(path, predictions)
    before = path.read_text()
    predictions[1]["pred_saliency_scores"][0] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_submission_lines(path, predictions)
    assert path.read_text() == before and list(tmp_path.iterdir()) == [path]


@needs(RELEASED)
def test_a_released_submission_has_no_fault():
    annotations = read_moment_annotations(RELEASED / "highlight_val_release.jsonl")
    got = read_moment_submission(RELEASED / "qd_detr_onlyclip_val_preds.jsonl", annotations)
    assert (len(got.entries), got.faults) == (1550, ())
    assert got.notes == (
        "13 lines have fewer saliency scores than clips; the others count as 0 (first: line 98)",
        "2 lines list windows that reach beyond the video (first: line 396)",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: e.pop("pred_relevant_windows"), "line 2: lacks pred_relevant_windows"),
        (lambda e: e.update(pred_windows=e.pop("pred_relevant_windows")), "line 2: .* is its 'pred_windows' meant"),
        (lambda e: e.pop("vid"), "line 2: lacks vid"),
        (lambda e: e.update(vid="b_0_20"), "line 2: vid is 'b_0_20', the annotation of this qid has 'a_0_20'"),
        (lambda e: e.update(qid=9), "line 2: qid 9 stands in line 1 already"),
        (lambda e: e.update(qid="7"), "line 2: qid '7' is unknown; the annotations have 7"),
        (lambda e: e.update(qid=[7]), r"line 2: qid is \[7\], expected an integer or a string"),
        (lambda e: e.update(qid=True), "line 2: qid is True, expected an integer or a string"),
        (lambda e: e["pred_relevant_windows"][0].__setitem__(0, 9.5), "window 0 starts at 9.5 s and ends before"),
        (lambda e: e["pred_relevant_windows"][2].pop(), r"line 2: window 2 is \[12.0, 20.0\], expected three"),
        (lambda e: e["pred_relevant_windows"][2].__setitem__(2, float("nan")), "line 2: window 2 is .*nan"),
        (lambda e: e["pred_relevant_windows"][2].__setitem__(2, "0.3"), "line 2: window 2 is .*'0.3'"),
        (lambda e: e["pred_relevant_windows"][2].__setitem__(2, 10**400), "line 2: window 2 is .*three finite"),
        (lambda e: e.update(pred_relevant_windows=[]), r"line 2: pred_relevant_windows is \[\], expected a list"),
        (lambda e: e.update(pred_saliency_scores=None), "line 2: pred_saliency_scores is None"),
        (lambda e: e["pred_saliency_scores"].__setitem__(3, float("inf")), r"pred_saliency_scores\[3\] is inf"),
    ],
)
def test_each_fault_is_found_with_its_line(files, predictions, annotations, change, message):
    change(predictions[1])
    files[0].write_text("".join(json.dumps(entry) + "\n" for entry in predictions))
    faults = [fault for fault in read_moment_submission(files[0], annotations).faults if "no prediction" not in fault]
    assert re.search(message, faults[0]) and faults[0].startswith("line 2: ")
    with pytest.raises(DataError, match="not scored"):
        score_qvhighlights(*files)


def test_all_faults_are_listed_in_order_of_lines(files, predictions, annotations):
    first, second = (json.dumps(entry) for entry in predictions)
    stray = json.dumps(predictions[1] | {"qid": 8, "pred_relevant_windows": [[5, 4, 1], [3, 2, 0]]})
    files[0].write_bytes(f"{stray}\n\n[1]\n{first}\n".encode() + b"\xff\n" + second[:40].encode())
    found = read_moment_submission(files[0], annotations)
    expected = [
        "line 1: qid 8 is unknown",
        "line 1: window 0 starts at 5 s and ends before, at 4 s",
        "line 1: window 1 starts at 3 s and ends before, at 2 s",
        "line 3: holds a JSON list, expected an object",
        "line 5: not valid JSON .*utf-8",
        "line 6: not valid JSON .*the file ends there: was writing it cut short?",
        r"1 of 2 queries have no prediction \(qid 7\)",
    ]
    assert len(found.faults) == len(expected)
    for fault, pattern in zip(found.faults, expected, strict=True):
        assert re.match(pattern, fault)
    with pytest.raises(DataError) as error:
        score_qvhighlights(*files)
    assert all(fault in str(error.value) for fault in found.faults)


def test_what_is_odd_is_noted_and_scored(files, predictions, annotations):
    predictions[1]["pred_relevant_windows"].reverse()
    predictions[1]["pred_saliency_scores"].append(1.0)
    predictions[0]["pred_saliency_scores"].pop()
    predictions[0]["pred_relevant_windows"].append([18.0, 22.0, 0.1])
    write_submission_lines(files[0], predictions)
    score = score_qvhighlights(*files)
    assert score.notes == (
        "1 lines list windows that reach beyond the video (first: line 1)",
        "1 lines have fewer saliency scores than clips; the others count as 0 (first: line 1)",
        "1 lines list windows that are not sorted by score; recall takes the first one listed (first: line 2)",
        "1 lines have more saliency scores than clips; those past the last are cut (first: line 2)",
    )
    assert score.official == qvhighlights_metrics(predictions, annotations)


def test_broken_annotations_are_refused_with_every_fault(files, annotations):
    annotations[0]["duration"] = 0
    text = "".join(json.dumps(entry) + "\n" for entry in [*annotations, annotations[1], {"qid": 1}])
    files[1].write_text(text + '{"qid": 2')
    with pytest.raises(DataError) as error:
        read_moment_annotations(files[1])
    for part in (
        "line 1: duration is 0",
        "line 3: qid 9 stands in line 2",
        "line 4: lacks vid, duration",
        "line 5: not",
    ):
        assert part in str(error.value)
    with pytest.raises(DataError, match="no such file"):
        read_moment_annotations(files[1].with_name("absent.jsonl"))


def test_script_writes_official_names_and_prints_a_table(evaluate, files, predictions, annotations, tmp_path, capsys):
    annotations[0]["query_kind"], annotations[1]["query_kind"] = "sound", "sight"
    write_submission_lines(files[1], annotations)
    options = ["qvhighlights", "--predictions", str(files[0]), "--annotations", str(files[1])]
    assert evaluate.main([*options, "--out", str(tmp_path / "out" / "m.json")]) == 0
    written = json.loads((tmp_path / "out" / "m.json").read_text())
    official = qvhighlights_metrics(predictions, annotations)
    assert {name: written[name] for name in official} == official
    assert written["metrics"]["MR-full-mAP"] == 61.67 and written["metrics"]["MR-full-mIoU"] == 83.33
    assert written["metrics"]["sound/MR-full-mAP"] == 83.33 and written["queries"] == 2
    printed = capsys.readouterr().out
    assert "MR-full-R1@0.7" in printed and "61.670" in printed


def test_script_lists_faults_and_validates(evaluate, files, predictions, capsys):
    options = ["qvhighlights", "--predictions", str(files[0]), "--annotations", str(files[1])]
    assert evaluate.main([*options, "--validate"]) == 0
    predictions[0]["pred_relevant_windows"] = [[5, 4, 1], [3, 2, 0]]
    write_submission_lines(files[0], predictions)
    assert evaluate.main([*options, "--validate"]) == 1
    assert "window 1 starts at 3 s" in capsys.readouterr().out
    assert evaluate.main(options) == 2
    assert "2 faults:\n  line 1: window 0 starts at 5 s" in capsys.readouterr().err


def test_unlabelled_split_is_refused(files, annotations):
    for entry in annotations:
        del entry["relevant_windows"], entry["saliency_scores"], entry["relevant_clip_ids"]
    write_submission_lines(files[1], annotations)
    with pytest.raises(DataError, match="nothing to score"):
        score_qvhighlights(*files)


def test_tvsum_scores_the_domains_that_are_predicted(evaluate, tmp_path, capsys):
    common = {"query": "q", "vid": "v", "duration": 2, "label": [[2, 2], [1, 1]]}
    labels = [common | {"qid": name, "domain": domain} for name, domain in zip("abc", ("BK", "BK", "VU"), strict=True)]
    lines = [{"qid": name, "query": "q", "vid": "v", "pred_saliency_scores": [1.0, 0.0]} for name in "ab"]
    predictions, annotations = tmp_path / "p.jsonl", tmp_path / "a.jsonl"
    write_submission_lines(annotations, labels)
    write_submission_lines(predictions, lines)
    score = score_tvsum(predictions, annotations)
    assert (score.metrics, score.queries, score.unknown) == ({"BK_mAP": 1.0, "mAP": 1.0}, 2, ("VU_mAP",))
    options = ["tvsum", "--predictions", str(predictions), "--annotations", str(annotations)]
    assert evaluate.main([*options, "--out", str(tmp_path / "m.json")]) == 0
    assert json.loads((tmp_path / "m.json").read_text())["brief"] == {"BK_mAP": 1.0, "mAP": 1.0}
    assert "not determined by these files: VU_mAP" in capsys.readouterr().out
    write_submission_lines(predictions, [lines[0], lines[1] | {"pred_saliency_scores": [1.0]}])
    assert evaluate.main([*options, "--validate"]) == 1
    assert "line 2: pred_saliency_scores has 1 numbers for 2 labelled clips" in capsys.readouterr().out
    write_submission_lines(predictions, lines[:1])
    with pytest.raises(DataError, match="1 of 2 queries have no prediction .qid 'b'."):
        score_tvsum(predictions, annotations)
