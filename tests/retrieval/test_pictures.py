"""Composed retrieval from picture files to ranks, through cached tokens and without."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import write_cirr, write_fashioniq, write_image
from galleries import run_tool
from safetensors.torch import load_file, save_file

from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.config import load_config
from gatefuse_plugins.data.transforms import build_transform
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.evaluation.recall import target_ranks
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.launch_index import load_model
from gatefuse_plugins.launch_search import load_indexed_model
from gatefuse_plugins.registry import DATASETS, MODELS
from gatefuse_plugins.retrieval import GalleryIndex, GallerySearcher, encode_composed

pytest.importorskip("lavis", reason="the composed-retrieval host needs the extra [lavis]")

CONFIG = """
default_scope = "gatefuse"
dataset = {name!r}
data_root = {root!r}
embedded = None
image_size = 8
features = dict(enabled=True, root={features!r}, dtype="float16", batch_size=4)
transform = [dict(type="TargetPad", target_ratio=1.25), dict(type="ClipPreprocess", size=8)]
model = dict(
    type="Blip2ComposedRetrieval",
    vision=dict(
        type="TinyPatchEncoder", image_size=8, patch_size=4, width=12, depth=1, num_heads=2, weights={weights!r}
    ),
    qformer=dict(
        type="QFormer", bert=None, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=64, dropout=0.0, initializer_range=0.2,
    ),
    tokenizer=dict(type="CaptionTokenizer", vocabulary="tiny", max_length=24, padding="longest"),
    fusion=dict(type="TextGuidedImageFusion", strategy="residual"),
    num_query_token=4,
    embed_dim=8,
)
test_dataloader = dict(
    batch_size=5,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    collate_fn=dict(type="gatefuse.identity_collate"),
    dataset=dict(
        type={dataset!r}, data_root={root!r}, split="val", role="eval", transform="${{transform}}", features=None
    ),
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds CIRR and FashionIQ trees, a config of each, the vision encoder and a checkpoint that carries it."""
    root = tmp_path_factory.mktemp("pictures")
    write_cirr(root / "cirr"), write_cirr(root / "cirr", "train")
    write_fashioniq(root / "fashioniq")
    options = {"features": str(root / "features"), "weights": str(root / "vision.safetensors")}
    for name, dataset in (("cirr", "CIRRDataset"), ("fashioniq", "FashionIQDataset")):
        content = CONFIG.format(name=name, dataset=dataset, root=str(root / name), **options)
        (root / f"{name}.py").write_text(content)
    torch.manual_seed(3)
    model = MODELS.build(load_config(root / "cirr.py", ["model.vision.weights=None"]).model)
    save_file(model.visual_encoder.state_dict(), root / "vision.safetensors")
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("visual_encoder.")}
    meta = {"vision_state": load_file(root / "vision.safetensors")}
    torch.save({"state_dict": state, "meta": meta, "message_hub": {}}, root / "untrained.pth")
    return root


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    return lambda name, *arguments: run_tool(monkeypatch, capsys, name, *map(str, arguments))


@pytest.fixture(params=["cached", "encoded"])
def index(folder: Path, tool, request: pytest.FixtureRequest) -> Path:
    """The index of CIRR's val split, its gallery from cached tokens (the default) or from pictures."""
    out = folder / f"index_{request.param}"
    if not out.exists():
        options = ["--cfg-options", f"features.enabled={request.param == 'cached'}"]
        status, _, error = tool("index_gallery", folder / "cirr.py", folder / "untrained.pth", "--out", out, *options)
        assert status == 0, error
    return out


@torch.no_grad()
def evaluated(folder: Path, index: GalleryIndex) -> tuple[np.ndarray, dict, list[str]]:
    """The evaluation's similarity (queries, gallery), the data set's metainfo and captions."""
    cfg = load_config(folder / "cirr.py")
    dataset_cfg = dict(cfg.test_dataloader.dataset)
    if index.header["token_dtype"]:
        (cache,) = (folder / "features").glob("*/names-*.json")
        dataset_cfg["features"] = str(cache)
    dataset = DATASETS.build(dataset_cfg)
    model = load_model(cfg.model, read_checkpoint(folder / "untrained.pth"))
    (found,) = model.test_step(dataset[list(range(len(dataset)))])
    similarity = max_token_similarity(found["query_features"], found["image_features"]).numpy()
    return similarity, dataset.metainfo, [dataset.caption(query) for query in range(4)]


def test_ranks_and_scores_are_those_of_the_evaluation(folder: Path, index: Path) -> None:
    opened = GalleryIndex.open(index)
    assert opened.header["token_dtype"] == ("float16" if index.name == "index_cached" else None)
    similarity, meta, captions = evaluated(folder, opened)
    ranks = target_ranks(similarity, meta["target"], excluded=meta["reference"])
    assert len(set(ranks.tolist())) > 2 and opened.names == meta["gallery"]
    model = load_indexed_model(opened, read_checkpoint(folder / "untrained.pth"))
    searcher, transform = GallerySearcher(opened, model), build_transform(opened.header["transform"])
    for query, (reference, target) in enumerate(zip(meta["reference"], meta["target"], strict=True)):
        vector = encode_composed(
            model, opened.paths[reference], captions[query], transform, opened.header["token_dtype"]
        )
        hits = searcher.search(vector, k=12, exclude=int(reference))
        assert next(hit.rank for hit in hits if hit.name == opened.names[target]) == ranks[query]
        others = np.sort(np.delete(similarity[query], reference))[::-1]
        np.testing.assert_allclose([hit.score for hit in hits], others, rtol=1e-5, atol=1e-5)


def test_the_reference_may_be_a_file_or_a_name(index: Path, tool, folder: Path, tmp_path: Path) -> None:
    opened = GalleryIndex.open(index)

    def ask(reference: object) -> dict:
        status, output, error = tool("search", index, "make it red", "--reference", reference, "-k", 12, "--json")
        assert status == 0, error
        return json.loads(output)

    named, given = ask("dev-0-1"), ask(opened.paths[opened.names.index("dev-0-1")])
    assert [hit["name"] for hit in named["hits"]] == [hit["name"] for hit in given["hits"]]
    assert len(named["hits"]) == 11 and "dev-0-1" not in [hit["name"] for hit in named["hits"]]
    assert named["notes"] == ["12 asked for, the gallery has 11 to offer", "dev-0-1 is the reference and left out"]
    write_image(tmp_path / "new.png", seed=99)
    assert len(ask(tmp_path / "new.png")["hits"]) == 12


def test_bad_arguments(index: Path, tool, folder: Path, tmp_path: Path) -> None:
    def fault(*arguments: object) -> str:
        status, output, error = tool("search", index, *arguments)
        assert status == 2 and output == "" and "Traceback" not in error
        return error.strip().splitlines()[-1]

    assert fault("make it red").endswith("add --reference IMAGE to the text")
    assert "did you mean 'dev-0-1'" in fault("make it red", "--reference", "dev-0_1")
    assert fault(" ", "--reference", "dev-0-1").startswith("search.py: error: query ' ': holds no word")
    (tmp_path / "torn.png").write_bytes(Path(GalleryIndex.open(index).paths[0]).read_bytes()[:60])
    assert "not a readable image" in fault("make it red", "--reference", tmp_path / "torn.png")


def test_unknown_words_are_told(index: Path, tool) -> None:
    answer = json.loads(tool("search", index, "赤く する", "--reference", "dev-0-1", "--json")[1])
    assert answer["notes"][0].startswith("no word of the query is in the model's vocabulary")


def test_another_vision_encoder_is_refused(folder: Path, index: Path) -> None:
    opened, checkpoint = GalleryIndex.open(index), read_checkpoint(folder / "untrained.pth")
    checkpoint.meta["vision_state"]["class_token"] += 1
    with pytest.raises(CheckpointError, match="were encoded with vision encoder"):
        load_indexed_model(opened, checkpoint)


def test_a_checkpoint_of_another_vision_encoder_is_not_indexed(folder: Path, tool, tmp_path: Path) -> None:
    content = torch.load(folder / "untrained.pth", weights_only=True)
    content["meta"] = {"vision_digest": "0" * 64}
    torch.save(content, tmp_path / "other.pth")
    given = (folder / "cirr.py", tmp_path / "other.pth", "--out", tmp_path / "index")
    for options in ((), ("--cfg-options", "features.enabled=False")):
        status, _, error = tool("index_gallery", *given, *options)
        assert status == 2 and "was trained on tokens of vision encoder 000000000000" in error
    assert not (tmp_path / "index").exists()


def test_a_picture_of_two_categories_is_indexed_once(folder: Path, tool) -> None:
    status, _, error = tool(
        "index_gallery", folder / "fashioniq.py", folder / "untrained.pth", "--out", folder / "index_fashioniq"
    )
    assert status == 0, error
    names = GalleryIndex.open(folder / "index_fashioniq").names
    assert sorted(names) == sorted({*names}) and len(names) == 7 and names.count("shared") == 1
