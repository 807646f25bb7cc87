"""The gate log of text-video retrieval: each video of the gallery with its first caption."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from ranks import run_two_ranks
from tiny_avigate import tiny_avigate, tiny_batch
from torch import Tensor

from gatefuse_plugins.errors import GatefuseError
from gatefuse_plugins.gates import gate_taps
from gatefuse_plugins.hosts.avigate import AVIGATE, embed_videos, score_pairs
from gatefuse_plugins.recording import GateStore, read_gate_log
from gatefuse_plugins.recording.gate_log_hook import GateLogHook
from gatefuse_plugins.recording.jsonlines import GATE_KEYS

VIDEOS, TEXTS = 5, 7
TARGET = np.array([3, 0, 1, 1, 4, 0, 3])  # nobody speaks of video 2
FIRST = {"v0": 1, "v1": 2, "v3": 0, "v4": 4}
INFO = {"gallery": [f"v{row}" for row in range(VIDEOS)], "captions": ["x"] * TEXTS, "target": TARGET}
GATES = {"text-free": {}, "text-conditioned": {"query_gate": "scalar", "text_gates": True}}


def batches() -> list[dict[str, Tensor]]:
    """Videos and texts apart and out of order; video 1 has fewer frames."""
    videos, texts = tiny_batch(1, VIDEOS), tiny_batch(2, TEXTS, tokens=2)

    def of_videos(rows: list[int]) -> dict[str, Tensor]:
        found = {name: videos[name][rows] for name in ("video", "video_mask", "audio", "audio_mask")}
        return found | {"video_index": torch.tensor(rows)}

    order = torch.tensor([4, 2, 6, 0, 1, 3, 5])
    said = {name: texts[name][order] for name in ("text", "text_mask")} | {"text_index": order}
    return [of_videos([4, 0, 2]), said, of_videos([1, 3])]


@torch.no_grad()
def evaluate(
    model: AVIGATE, hook: GateLogHook, given: Sequence[dict[str, Tensor]], wrapped: Any = None
) -> logging.Logger:
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=INFO))
    logger = logging.getLogger("own-pairs")
    runner: Any = SimpleNamespace(model=wrapped or model, test_dataloader=loader, logger=logger)
    hook.before_test_epoch(runner)
    for batch in given:
        hook.before_test_iter(runner, 0, batch)
        hook.after_test_iter(runner, 0, batch, model(mode="predict", **batch))
    hook.after_test_epoch(runner)
    return logger


@torch.no_grad()
def gates_of(model: AVIGATE, video: int, text: int) -> dict[str, Tensor]:
    """What each tap gives when one video is scored with one text, by hooks of our own."""
    videos, said = tiny_batch(1, VIDEOS), tiny_batch(2, TEXTS, tokens=2)
    encoded = model.encode_videos(*(videos[name] for name in ("video", "video_mask", "audio", "audio_mask")))
    texts = model.encode_texts(said["text"], said["text_mask"])
    seen: dict[str, Tensor] = {}
    hooks = [
        tap.register_forward_hook(lambda _, __, value, name=name: seen.update({name: value[0]}))
        for name, tap in gate_taps(model)
    ]
    if model.text_conditioned:
        score_pairs(model, texts, encoded, torch.tensor([text]), torch.tensor([video]))
    else:
        embed_videos(model, encoded[[video]])
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("variant", GATES)
def test_lines_and_store_hold_the_gates_of_own_pairs(
    tmp_path: Path, variant: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = tiny_avigate(**GATES[variant]).eval()
    with caplog.at_level("INFO", "own-pairs"):
        evaluate(model, GateLogHook(str(tmp_path)), batches())
    said = {
        "text-free": "each video once, whatever the text",
        "text-conditioned": "each video with its first caption alone, since these gates see the text",
    }
    assert caplog.messages == [f"gates of 4 samples written to {tmp_path}/gate_logs_test_Nall.jsonl: {said[variant]}"]
    evaluate(model, GateLogHook(str(tmp_path), save_path=str(tmp_path / "store")), batches())
    entries = list(read_gate_log(tmp_path / "gate_logs_test_Nall.jsonl"))
    store = GateStore(tmp_path / "store")
    assert [(entry.qid, entry.vid) for entry in entries] == [(name, name) for name in FIRST]
    assert list(store.samples) == list(FIRST)
    for entry, (name, text) in zip(entries, FIRST.items(), strict=True):
        expected = gates_of(model, int(name[1]), text)
        for tap_name, tap in gate_taps(model):
            value = expected[tap_name].numpy()
            logged = entry.layer_gates[tap.layer][GATE_KEYS.get(tap.kind, f"gate_{tap.kind}")]
            np.testing.assert_allclose(logged.ravel(), value.ravel(), rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(store.read(name, tap_name).ravel(), value.ravel(), atol=1e-3)
    assert list(tmp_path.glob(".*")) == []


def test_another_caption_gives_other_gates() -> None:
    model = tiny_avigate(**GATES["text-conditioned"]).eval()
    first, second = gates_of(model, 1, 2), gates_of(model, 1, 3)
    assert any(not torch.allclose(first[name], second[name], atol=1e-4) for name in first)


def test_the_first_videos_alone(tmp_path: Path) -> None:
    model = tiny_avigate().eval()
    evaluate(model, GateLogHook(str(tmp_path), "test", sample_count=2), batches())
    entries = list(read_gate_log(tmp_path / "gate_logs_test_N2.jsonl"))
    assert [entry.qid for entry in entries] == ["v0", "v1"]
    evaluate(model, GateLogHook(str(tmp_path), "test", 3, str(tmp_path / "store")), batches())
    assert list(GateStore(tmp_path / "store").samples) == ["v0", "v1", "v3"]


def test_a_compiled_fusion_is_refused_before_the_evaluation(tmp_path: Path) -> None:
    model = tiny_avigate().eval()
    model.transformerClip = torch.compile(model.transformerClip)
    with pytest.raises(GatefuseError, match="compiled"):
        evaluate(model, GateLogHook(str(tmp_path)), [])
    assert list(tmp_path.iterdir()) == []


def rank_main(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        model = tiny_avigate(query_gate="scalar").eval()
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        share = [batches()[:2], [batches()[2], batches()[1]]][rank]  # the texts come twice
        evaluate(model, GateLogHook(folder, "two"), share, wrapped)
        evaluate(model, GateLogHook(folder, "two", save_path=f"{folder}/store"), share, wrapped)
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_gloo_available(), reason="torch was built without gloo")
def test_the_main_process_records_for_all(tmp_path: Path) -> None:
    run_two_ranks(rank_main, tmp_path)
    evaluate(tiny_avigate(query_gate="scalar").eval(), GateLogHook(str(tmp_path), "one"), batches())
    lines = [
        [json.loads(line) for line in (tmp_path / f"gate_logs_{name}_Nall.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert lines[0] == lines[1] and len(lines[0]) == 4
    assert list(GateStore(tmp_path / "store").samples) == list(FIRST)
    assert list(tmp_path.glob(".*")) == []
