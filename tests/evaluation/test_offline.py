from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.composed import cirr_metrics
from gatefuse_plugins.evaluation.offline import score_cirr, score_fashioniq
from gatefuse_plugins.evaluation.submission import write_submission

SCRIPT = Path(__file__).resolve().parents[2] / "tools" / "evaluate.py"


@pytest.fixture(scope="module")
def evaluate():
    spec = importlib.util.spec_from_file_location("tools_evaluate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cirr(small, tmp_path):
    """Annotations, split, similarity and both submission files of the small problem, as files."""
    paths = {name: tmp_path / name for name in ("cap.json", "split.json", "similarity.npy")}
    paths["cap.json"].write_text(json.dumps(small.annotations()))
    paths["split.json"].write_text(json.dumps({name: f"./{name}.png" for name in small.gallery}))
    np.save(paths["similarity.npy"], small.similarity)
    recall, subset = write_submission(
        tmp_path,
        small.similarity,
        pairid=small.pairid,
        gallery=small.gallery,
        reference=small.reference,
        members=small.members,
    )
    return paths | {"recall": recall, "subset": subset}


def test_similarity_array_gives_the_metrics_of_the_function(small, cirr):
    score = score_cirr([cirr["similarity.npy"]], cirr["cap.json"], cirr["split.json"])
    assert score.metrics == cirr_metrics(small.similarity, small.reference, small.target, small.members)
    assert score.queries == 2 and score.unknown == ()


def test_submission_files_give_what_their_lists_determine(cirr):
    score = score_cirr([cirr["recall"], cirr["subset"]], cirr["cap.json"], cirr["split.json"])
    # Listed order breaks the tie of target and img7, by gallery order; seven names say nothing about R@10 and R@50.
    assert score.metrics == {
        "R@1": 0.0, "R@5": 100.0, "R_s@1": 50.0, "R_s@2": 100.0, "R_s@3": 100.0, "mean": 75.0,
    }  # fmt: skip
    assert score.unknown == ("R@10", "R@50", "arithmetic_mean", "harmonic_mean", "geometric_mean")
    alone = score_cirr([cirr["subset"]], cirr["cap.json"])
    assert alone.metrics == {"R_s@1": 50.0, "R_s@2": 100.0, "R_s@3": 100.0}


def test_a_target_that_is_not_listed_is_a_miss(small, cirr):
    content = json.loads(cirr["subset"].read_text())
    content["34"] = ["img7", "img6", "img5"]
    cirr["subset"].write_text(json.dumps(content))
    assert score_cirr([cirr["subset"]], cirr["cap.json"]).metrics == {"R_s@1": 0.0, "R_s@2": 50.0, "R_s@3": 50.0}


def test_faulty_input_is_refused_with_its_reason(small, cirr, tmp_path):
    with pytest.raises(DataError, match=r"shape \(2, 8\), expected \(2, 7\)"):
        (tmp_path / "short.json").write_text(json.dumps(list(small.gallery[:7])))
        score_cirr([cirr["similarity.npy"]], cirr["cap.json"], tmp_path / "short.json")
    with pytest.raises(DataError, match="has no image 'img7'; did you mean"):
        (tmp_path / "renamed.json").write_text(json.dumps([*small.gallery[:7], "imgX"]))
        score_cirr([cirr["similarity.npy"]], cirr["cap.json"], tmp_path / "renamed.json")
    with pytest.raises(DataError, match="not a readable .npy"):
        np.save(tmp_path / "pickled.npy", np.array([{}], dtype=object), allow_pickle=True)
        score_cirr([tmp_path / "pickled.npy"], cirr["cap.json"], cirr["split.json"])
    with pytest.raises(DataError, match="a second file of metric 'recall'"):
        score_cirr([cirr["recall"], cirr["recall"]], cirr["cap.json"])
    with pytest.raises(DataError, match="together with its gallery order"):
        score_cirr([cirr["similarity.npy"]], cirr["cap.json"])
    unlabelled = [{k: v for k, v in entry.items() if k != "target_hard"} for entry in small.annotations()]
    (tmp_path / "test1.json").write_text(json.dumps(unlabelled))
    with pytest.raises(DataError, match="2 of 2 queries have no target_hard"):
        score_cirr([cirr["recall"]], tmp_path / "test1.json")


def test_fashioniq_from_one_npz_and_from_a_file_per_category(tmp_path):
    similarity = {"dress": np.eye(2, 12), "shirt": np.tile(np.arange(12.0), (2, 1))}
    captions, splits, arrays = [], [], []
    for name, array in similarity.items():
        gallery = [f"{name}{number}" for number in range(12)]
        captions.append(tmp_path / f"cap.{name}.val.json")
        splits.append(tmp_path / f"split.{name}.val.json")
        arrays.append(tmp_path / f"{name}.npy")
        captions[-1].write_text(json.dumps([{"target": gallery[row], "candidate": gallery[5]} for row in range(2)]))
        splits[-1].write_text(json.dumps(gallery))
        np.save(arrays[-1], array)
    np.savez(tmp_path / "all.npz", **similarity)
    expected = {
        "dress_R@10": 100.0, "dress_R@50": 100.0, "shirt_R@10": 0.0, "shirt_R@50": 100.0,
        "R@10": 50.0, "R@50": 100.0, "mean": 75.0,
    }  # fmt: skip
    assert score_fashioniq([tmp_path / "all.npz"], captions, splits).metrics == expected
    assert score_fashioniq(arrays, captions, splits).metrics == expected
    with pytest.raises(DataError, match="categories differ"):
        score_fashioniq(arrays[:1], captions, splits)
    with pytest.raises(DataError, match="no array 'shirt'"):
        np.savez(tmp_path / "part.npz", dress=similarity["dress"])
        score_fashioniq([tmp_path / "part.npz"], captions, splits)


def test_script_writes_metrics_and_prints_a_table(evaluate, cirr, tmp_path, capsys):
    out = tmp_path / "out" / "metrics.json"
    files = [str(cirr["recall"]), str(cirr["subset"])]
    status = evaluate.main(["cirr", "--predictions", *files, "--annotations", str(cirr["cap.json"]), "--out", str(out)])
    assert status == 0
    written = json.loads(out.read_text())
    assert written["metrics"]["mean"] == 75.0 and written["predictions"] == files
    printed = capsys.readouterr().out
    assert "R_s@1" in printed and "75.000" in printed and "not determined by these files: R@10" in printed


def test_script_scores_msrvtt(evaluate, tmp_path):
    np.save(tmp_path / "sim.npy", np.array([[2.0, 3.0], [0.0, 1.0]]))
    out = tmp_path / "metrics.json"
    assert evaluate.main(["msrvtt", "--predictions", str(tmp_path / "sim.npy"), "--out", str(out)]) == 0
    metrics = json.loads(out.read_text())["metrics"]
    assert metrics["text_to_video/R1"] == 50.0 and metrics["text_to_video/MeanR"] == 1.5
    assert metrics["video_to_text/R1"] == 50.0 and metrics["video_to_text/R5"] == 100.0


def test_script_validates(evaluate, cirr, capsys):
    common = ["--annotations", str(cirr["cap.json"]), "--gallery", str(cirr["split.json"]), "--validate"]
    assert evaluate.main(["cirr", "--predictions", str(cirr["recall"]), *common]) == 0
    assert "recall.json: valid" in capsys.readouterr().out.replace("\n", "")
    # Without the gallery the server's own count of 50 is expected.
    assert evaluate.main(["cirr", "--predictions", str(cirr["recall"]), *common[:2], "--validate"]) == 1
    assert "pair 12: lists 7 names, expected 50" in capsys.readouterr().out


def test_script_reports_errors_without_a_traceback(evaluate, tmp_path, capsys):
    assert evaluate.main(["msrvtt", "--predictions", str(tmp_path / "absent.npy")]) == 2
    assert "absent.npy: no such file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "file/m.json"])
def test_script_refuses_a_place_for_metrics_before_it_reads(evaluate, tmp_path, capsys, name):
    (tmp_path / "file").write_text("kept")
    given = ["msrvtt", "--predictions", str(tmp_path / "never-read.npy"), "--out", str(tmp_path / name)]
    assert evaluate.main(given) == 2
    printed = capsys.readouterr()
    assert "error: --out " in printed.err and "expected" in printed.err and printed.out == ""
    assert (tmp_path / "file").read_text() == "kept"
