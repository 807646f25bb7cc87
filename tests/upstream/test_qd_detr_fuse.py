"""A fusion inside upstream's model gives what the host here gives, and writes its gates."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_qd_detr import AUDIO, HIDDEN, TEXT, VIDEO, Host, batch

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.hosts.qd_detr.front import FusedFront, build_fusion
from gatefuse_plugins.hosts.qd_detr.inputs import Streams
from gatefuse_plugins.recording.jsonlines import read_gate_log
from gatefuse_plugins.recording.store_reader import GateStore
from gatefuse_plugins.upstream.qd_detr import attach_fusion, logging_gates
from gatefuse_plugins.upstream.qd_detr.fuse import attach

AVIGATE = {"type": "AvigateCustomFusion", "fusion_layers": 2, "fusion_n_heads": 2, "gating_type": "elementwise"}
SAMPLES = [{"qid": 7 + row, "vid": f"v{row}"} for row in range(6)]


def attached(config: dict[str, Any], seed: int = 0) -> Host:
    torch.manual_seed(seed)
    host = Host()
    attach(host, config, VIDEO, AUDIO)
    for parameter in host.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # no branch is closed
    return host.eval()


@pytest.mark.parametrize("config", [AVIGATE, {"type": "QueryAwareTemporalGate"}, {"type": "Concat"}])
def test_clips_are_those_of_the_host_here(config: dict[str, Any]) -> None:
    host, inputs = attached(config), batch()
    clips, beside_next = host(*inputs)

    ours = FusedFront(VIDEO, TEXT, AUDIO, build_fusion(config, VIDEO, AUDIO, HIDDEN), HIDDEN).eval()
    ours.load_state_dict(host.state_dict())
    vid, vid_mask, txt, txt_mask, aud, aud_mask = inputs
    streams = Streams(vid, vid_mask.bool(), txt, txt_mask.bool(), aud, aud_mask.bool())
    video, audio = ours.features(streams)
    words = ours.words(streams)
    valid = vid_mask.bool()
    torch.testing.assert_close(clips[valid], ours.clips(video, audio, words, streams)[valid], rtol=1e-5, atol=1e-6)
    other = ours.clips(video, audio, words.roll(-1, 0), streams.rolled())
    torch.testing.assert_close(beside_next[valid], other[valid], rtol=1e-5, atol=1e-6)
    assert bool((clips[valid] != beside_next[valid]).any()) == host.fusion.uses_condition


def test_faults_of_a_fusion() -> None:
    with pytest.raises(ConfigError, match=r"AvigateCustomFusion needs audio: add --a_feat_dir"):
        attach(Host(), AVIGATE, VIDEO, None)
    with pytest.raises(ConfigError, match="'AvigateCustom' is unknown; did you mean 'AvigateCustomFusion'"):
        attach(Host(), {"type": "AvigateCustom"}, VIDEO, AUDIO)
    with pytest.raises(ConfigError, match="window"):
        attach(Host(), {"type": "Concat", "window": 3}, VIDEO, AUDIO)
    with pytest.raises(ConfigError, match="no fusion of video and audio"):
        attach(Host(), {"type": "TextGuidedImageFusion", "image_dim": 4, "text_dim": 4}, VIDEO, AUDIO)
    with pytest.raises(ConfigError, match="has a fusion already"):
        attach(attached(AVIGATE), AVIGATE, VIDEO, AUDIO)
    inputs = batch()
    with pytest.raises(DataError, match="needs audio, but the batch has none"):
        attached(AVIGATE)(*inputs[:4], None, None)


def test_attach_by_flags_keeps_a_model_without_them() -> None:
    host = Host()
    attach_fusion(host, argparse.Namespace(a_feat_dir=None, a_feat_dim=None, v_feat_dim=VIDEO))
    assert host.fusion is None
    flags = {"gatefuse": True, "fusion_cfg": json.dumps(AVIGATE), "gating_type": "global"}
    attach_fusion(host, argparse.Namespace(a_feat_dir="a", a_feat_dim=AUDIO, v_feat_dim=VIDEO, **flags))
    assert host.fusion.gating_type == "global"
    assert host.input_vid_proj[0].net[1].in_features == VIDEO
    assert {name.split(".")[0] for name in host.state_dict()} == {
        "input_vid_proj",
        "input_txt_proj",
        "input_aud_proj",
        "fusion",
    }


def options(folder: Path, **flags: Any) -> argparse.Namespace:
    return argparse.Namespace(results_dir=str(folder), eval_split_name="val", gatefuse_log=True, **flags)


class Data:
    data = SAMPLES


@pytest.mark.parametrize("count", [-1, 4])
def test_gate_log_in_order_of_the_samples(tmp_path: Path, count: int) -> None:
    host, opt = attached(AVIGATE), options(tmp_path, gate_log=True, gate_sample_count=count)
    with logging_gates(host, Data, opt):
        assert "gatefuse_log" not in vars(opt)  # the evaluation may call itself
        host(*batch())
        host(*batch())
    (log,) = tmp_path.iterdir()
    assert log.name == f"gate_logs_val_N{'all' if count == -1 else count}.jsonl"
    entries = list(read_gate_log(log))
    assert [entry.qid for entry in entries] == [7, 8, 9, 10, 11, 12][: 6 if count == -1 else count]
    assert entries[0].vid == "v0"
    assert [entry.layer_gates[1]["gate_mha"].shape for entry in entries[:3]] == [(3, HIDDEN), (4, HIDDEN), (5, HIDDEN)]


def test_gate_store_errors_and_models_without_gates(tmp_path: Path) -> None:
    host = attached(AVIGATE)
    with logging_gates(host, Data, options(tmp_path, gate_log=True, gate_save_path=str(tmp_path / "store"))):
        host(*batch())
    assert list(GateStore(tmp_path / "store").samples) == [7, 8, 9]
    with pytest.raises(ConfigError, match="--gate_sample_count: nothing is logged; add --gate_log"):
        logging_gates(host, Data, options(tmp_path, gate_sample_count=3))
    with pytest.raises(ConfigError, match="expected 1 or more, or -1"):
        logging_gates(host, Data, options(tmp_path, gate_log=True, gate_sample_count=0)).__enter__()
    with pytest.raises(RuntimeError, match="mine"), logging_gates(host, Data, options(tmp_path, gate_log=True)):
        host(*batch())
        raise RuntimeError("mine")
    assert len(list(read_gate_log(tmp_path / "gate_logs_val_Nall.jsonl"))) == 3  # an error keeps what was logged
    with logging_gates(attached({"type": "Concat"}), Data, options(tmp_path / "none", gate_log=True)):
        pass
    assert not (tmp_path / "none").exists()


@pytest.mark.filterwarnings("ignore:record_gates. no value passed")
def test_an_evaluation_that_ran_no_gate_leaves_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("gatefuse_plugins.upstream.qd_detr.gate_log.print_log", lambda text, _: said.append(text))
    with logging_gates(attached(AVIGATE), Data, options(tmp_path, gate_log=True)):
        pass
    assert list(tmp_path.iterdir()) == []
    assert said == ["--gate_log: no gate gave values per sample in a forward of the model; nothing is logged"]
