"""Video search from rendered clips to ranks: the index gives what the evaluation's similarity gives."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from galleries import fake_faiss, run_tool

from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.config import load_config
from gatefuse_plugins.data.clips import ClipSetConfig, make_msrvtt_clips
from gatefuse_plugins.data.msrvtt import MSRVTTDataset
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.hosts.avigate import EncodedTexts, EncodedVideos, score_all_pairs
from gatefuse_plugins.launch_search import load_indexed_model
from gatefuse_plugins.registry import MODELS
from gatefuse_plugins.retrieval import GalleryIndex, GallerySearcher, encode_gallery, encode_text

CLIPS = ClipSetConfig(num_train_videos=26, num_test_videos=13, captions_per_video=1, num_frames=3, image_size=16)
CONFIG = """
default_scope = "gatefuse"
dataset = "msrvtt"
data_root = {root!r}
model = dict(
    type="AVIGATE", width=8, num_heads=2, num_query_tokens=2, resampler_layers=1, fusion_layers=2, max_frames=4,
    fusion_mix=0.5, query_gate="off",
    frame_encoder=dict(type="TinyFrameEncoder", output_dim=8, image_size=16, hidden_dim=8, depth=1, num_heads=2),
    text_encoder=dict(type="TinyTextEncoder", output_dim=8, hidden_dim=8, depth=1, num_heads=2),
    audio_encoder=dict(type="TinyAudioEncoder", output_dim=8, hidden_dim=8, depth=1, num_heads=2),
)
test_dataloader = dict(
    batch_size=5,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="gatefuse.identity_collate"),
    dataset=dict(
        type="MSRVTTDataset", data_root={root!r}, split="test", role="eval", num_frames=3, frame_size=16,
        sample_rate=8000, num_mel_bins=32, audio_length=100,
    ),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the clips ``set``, ``config.py`` and ``untrained.pth``."""
    root = tmp_path_factory.mktemp("videos")
    make_msrvtt_clips(root / "set", CLIPS)
    (root / "config.py").write_text(CONFIG.format(root=str(root / "set")))
    torch.manual_seed(0)
    model = MODELS.build(load_config(root / "config.py").model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, root / "untrained.pth")
    return root


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda name, *arguments: run_tool(monkeypatch, capsys, name, *map(str, arguments))


@pytest.fixture(scope="module")
def dataset(folder: Path) -> MSRVTTDataset:
    return MSRVTTDataset(
        **{k: v for k, v in load_config(folder / "config.py").test_dataloader.dataset.items() if k != "type"}
    )


@pytest.fixture
def index(folder: Path, tool) -> Path:
    if not (folder / "index").exists():
        status, output, error = tool(
            "index_gallery", folder / "config.py", folder / "untrained.pth", "--out", folder / "index"
        )
        assert status == 0, error
        assert "13 videos indexed" in output
    return folder / "index"


@torch.no_grad()
def evaluated(model: torch.nn.Module, dataset: MSRVTTDataset) -> np.ndarray:
    """The evaluation's similarity (T, V), from one batch of everything."""
    (found,) = model.test_step(dataset[list(range(len(dataset)))])
    videos = EncodedVideos(*(found[key] for key in ("frames", "mask", "audio", "has_audio")))
    return score_all_pairs(model, EncodedTexts(found["tokens"], found["text_mask"]), videos).numpy()


def test_ranks_and_scores_are_those_of_the_evaluation(folder: Path, index: Path, dataset: MSRVTTDataset) -> None:
    opened = GalleryIndex.open(index)
    assert opened.names == dataset.metainfo["gallery"] and opened.header["dataset"]["embedded"] is True
    model = load_indexed_model(opened, read_checkpoint(folder / "untrained.pth"))
    similarity = evaluated(model, dataset)
    ranks = target_ranks(similarity, dataset.metainfo["target"])
    assert len(set(ranks.tolist())) > 3
    searcher = GallerySearcher(opened, model)
    for text, caption in enumerate(dataset.metainfo["captions"]):
        hits = searcher.search(encode_text(model, caption), k=13)
        wanted = dataset.metainfo["gallery"][dataset.metainfo["target"][text]]
        assert next(hit.rank for hit in hits if hit.name == wanted) == ranks[text]
        np.testing.assert_allclose([hit.score for hit in hits], np.sort(similarity[text])[::-1], rtol=1e-5, atol=1e-5)


def test_batches_change_nothing(folder: Path, index: Path, dataset: MSRVTTDataset) -> None:
    opened, done = GalleryIndex.open(index), []
    model = load_indexed_model(opened, read_checkpoint(folder / "untrained.pth"))
    names, vectors = encode_gallery(model, dataset, batch_size=4, progress=lambda *counts: done.append(counts))
    assert names == opened.names and done == [(4, 13), (8, 13), (12, 13), (13, 13)]
    np.testing.assert_allclose(vectors.vectors, opened.vectors.vectors, atol=1e-6)
    with pytest.raises(ConfigError, match="expected role='eval'"):
        encode_gallery(model, MSRVTTDataset(folder / "set", "train", num_frames=3, frame_size=16))


def test_search_prints_a_table_or_json(index: Path, tool, dataset: MSRVTTDataset) -> None:
    caption = dataset.metainfo["captions"][0]
    status, output, _ = tool("search", index, caption, "-k", 3, "--json")
    answer = json.loads(output)
    assert status == 0 and [hit["rank"] for hit in answer["hits"]] == [1, 2, 3] and answer["gallery"] == 13
    assert answer["notes"] == [] and Path(answer["hits"][0]["path"]).is_dir()
    status, table, _ = tool("search", index, caption, "-k", 3)
    assert status == 0
    assert all(hit["name"] in table and f"{hit['score']:.4f}" in table for hit in answer["hits"])


def test_faiss_gives_the_same_answer_here(index: Path, tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", fake_faiss())
    exact, candidates = (
        json.loads(tool("search", index, "a red circle", "--json", "--backend", backend)[1])["hits"]
        for backend in ("exact", "faiss")
    )
    assert [hit["name"] for hit in exact] == [hit["name"] for hit in candidates]
    monkeypatch.setitem(sys.modules, "faiss", None)
    status, _, error = tool("search", index, "a red circle", "--backend", "faiss")
    assert status == 2 and "pip install faiss-cpu" in error


def test_notes(index: Path, tool) -> None:
    answer = json.loads(tool("search", index, "красный круг", "-k", "99", "--json")[1])
    assert "no word of the query is in the model's vocabulary (красный, круг)" in answer["notes"][0]
    assert answer["notes"][1] == "99 asked for, the gallery has 13 to offer" and len(answer["hits"]) == 13
    (note,) = json.loads(tool("search", index, "a zebra", "--json")[1])["notes"]
    assert note == "not in the model's vocabulary: zebra"


def _fault(tool, *arguments: object) -> str:
    status, output, error = tool(*arguments)
    assert status == 2 and "Traceback" not in error
    assert output == "" or arguments[0] != "search"
    return error.strip().splitlines()[-1]


def test_bad_queries(index: Path, tool, tmp_path: Path) -> None:
    assert _fault(tool, "search", index, " ...!").startswith("search.py: error: query ' ...!': holds no word")
    assert _fault(tool, "search", index, "").startswith("search.py: error: query ''")
    assert _fault(tool, "search", index, "x", "-k", "0").startswith("search.py: error: -k 0")
    assert "searched by text alone" in _fault(tool, "search", index, "x", "--reference", "a.png")
    assert _fault(tool, "search", tmp_path, "x").startswith(f"search.py: error: {tmp_path}: no gallery index")


def test_another_checkpoint_is_refused(folder: Path, index: Path, tool, tmp_path: Path) -> None:
    content = torch.load(folder / "untrained.pth", weights_only=True)
    content["state_dict"]["clip.logit_scale"] += 1
    torch.save(content, tmp_path / "other.pth")
    error = _fault(tool, "search", index, "a circle", "--checkpoint", tmp_path / "other.pth")
    assert error.startswith("search.py: error: ") and "was encoded with a checkpoint of" in error
    assert "no such file" in _fault(tool, "search", index, "a circle", "--checkpoint", tmp_path / "gone.pth")
    (tmp_path / "moved.pth").write_bytes((folder / "untrained.pth").read_bytes())
    assert tool("search", index, "a circle", "--checkpoint", tmp_path / "moved.pth")[0] == 0


def test_indexing_refuses_and_replaces(folder: Path, index: Path, tool, tmp_path: Path) -> None:
    given = ("index_gallery", folder / "config.py", folder / "untrained.pth", "--out")
    assert "--force replaces it" in _fault(tool, *given, index)
    half = tmp_path / "half"
    assert tool(*given, half)[0] == 0
    assert tool(*given, half, "--force", "--dtype", "float16", "--split", "train")[0] == 0
    found = GalleryIndex.open(half)
    assert found.vectors.vectors.dtype == np.float16 and len(found.names) == 26
    assert found.header["dataset"]["split"] == "train"
    assert not list(tmp_path.glob(".*"))


def test_text_gates_cannot_be_indexed(folder: Path, tool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = MODELS.build(load_config(folder / "config.py", ["model.query_gate=scalar"]).model)
    torch.save({"state_dict": model.state_dict(), "meta": {}, "message_hub": {}}, tmp_path / "query_gate.pth")
    given = (folder / "config.py", tmp_path / "query_gate.pth", "--out", tmp_path / "index")
    error = _fault(tool, "index_gallery", *given, "--cfg-options", "model.query_gate=scalar")
    assert error.startswith("index_gallery.py: error: model: gates depend on the text") and "two stages" in error
    assert not (tmp_path / "index").exists()
