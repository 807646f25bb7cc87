"""Every checkpoint layout in use is read and recognised; what could run code is refused and does not run."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from oracles import FOLDER, needs
from safetensors.torch import save_file

from gatefuse_plugins.checkpoints.reader import read_checkpoint
from gatefuse_plugins.errors import CheckpointError

WEIGHT = torch.arange(6.0).reshape(2, 3)
QD_DETR = {"transformer.t2v_encoder.layers.0.norm1.weight": WEIGHT, "saliency_proj1.weight": WEIGHT}
SPRC = {"query_tokens": WEIGHT, "prompt_tokens": WEIGHT, "Qformer.bert.embeddings.position_ids": torch.arange(3)}
LAVIS = {"query_tokens": WEIGHT, "Qformer.bert.embeddings.word_embeddings.weight": WEIGHT}
AVIGATE = {"clip.positional_embedding": WEIGHT, "frame_position_embeddings.weight": WEIGHT}


def save(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def check(path: Path, origin: str, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    checkpoint = read_checkpoint(path)
    assert checkpoint.origin == origin
    assert list(checkpoint.state_dict) == list(state)
    assert all(torch.equal(checkpoint.state_dict[name], state[name]) for name in state)
    assert checkpoint.path == path
    return checkpoint.meta


def test_qd_detr_with_namespace_and_device(tmp_path: Path) -> None:
    options = argparse.Namespace(device=torch.device("cuda:0"), lr=1e-4, v_feat_dirs=["slowfast", "clip"])
    optimizer = torch.optim.AdamW([torch.nn.Parameter(WEIGHT)]).state_dict()
    content = {"model": QD_DETR, "optimizer": optimizer, "lr_scheduler": {"step": 3}, "epoch": 7, "opt": options}
    assert check(save(tmp_path / "named_like_nothing", content), "qd_detr", QD_DETR) == {"epoch": 7, "opt": options}


@pytest.mark.parametrize("name", ["Blip2QformerCirAlignPrompt", "Blip2QformerCirGated"])
def test_sprc_state_dict_under_its_class_name(tmp_path: Path, name: str) -> None:
    assert check(save(tmp_path / "best.pt", {"epoch": 3, name: SPRC}), "sprc", SPRC) == {"epoch": 3}


def test_unknown_class_name_counts_as_that_layout(tmp_path: Path) -> None:
    check(save(tmp_path / "x.pt", {"epoch": 3, "MyModel": {"a.weight": WEIGHT}}), "sprc", {"a.weight": WEIGHT})


def test_lavis(tmp_path: Path) -> None:
    assert check(save(tmp_path / "blip2_pretrained.pth", {"model": LAVIS}), "lavis", LAVIS) == {}


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("zipped", [True, False])
def test_avigate_bare_state_dict(tmp_path: Path, prefix: str, zipped: bool) -> None:
    state = OrderedDict((prefix + name, tensor) for name, tensor in AVIGATE.items())
    path = save(tmp_path / "pytorch_model.bin.4", state, _use_new_zipfile_serialization=zipped)
    assert check(path, "avigate", AVIGATE) == {}


def test_module_prefix_stays_where_only_some_keys_carry_it(tmp_path: Path) -> None:
    state = {"module.weight": WEIGHT, "head.weight": WEIGHT}
    check(save(tmp_path / "a.pt", state), "state_dict", state)


def test_mmengine_with_message_hub_and_numpy(tmp_path: Path) -> None:
    hub = MessageHub.get_instance("test_reader")
    hub.update_scalar("train/loss", 0.5)
    hub.update_info("iter", 4)
    meta = {"epoch": 2, "seed": np.int64(5), "ids": np.arange(3), "dataset": {"name": "scenes", "embedded": True}}
    content = {
        "meta": meta,
        "state_dict": SPRC,
        "message_hub": hub.state_dict(),
        "param_schedulers": [{"last_step": 1}],
    }
    found = check(save(tmp_path / "epoch_2.pth", content), "mmengine", SPRC)
    assert found["ids"].tolist() == [0, 1, 2]
    assert (found["epoch"], found["seed"], found["dataset"]["name"]) == (2, 5, "scenes")
    assert set(found) == set(meta)


@pytest.mark.parametrize("package", ["core", "_core"])
def test_numpy_of_either_major_version(tmp_path: Path, package: str) -> None:
    """numpy 1 writes `numpy.core`, numpy 2 `numpy._core`: rename it inside the pickle and read again."""
    here = "_core" if np.float64(0).__reduce__()[0].__module__.startswith("numpy._core") else "core"
    source = save(tmp_path / "here.pth", {"model": LAVIS, "seed": np.float32(2.5), "ids": np.arange(2)})
    target = tmp_path / "there.pth"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl"):
                assert f"numpy.{here}.multiarray".encode() in content
                content = content.replace(f"numpy.{here}.multiarray".encode(), f"numpy.{package}.multiarray".encode())
            new.writestr(name, content)
    meta = read_checkpoint(target).meta
    assert (meta["seed"], meta["ids"].tolist()) == (2.5, [0, 1])


def test_safetensors_told_by_content(tmp_path: Path) -> None:
    save_file({name: tensor.clone() for name, tensor in QD_DETR.items()}, tmp_path / "weights.bin")
    checkpoint = read_checkpoint(tmp_path / "weights.bin")
    assert checkpoint.origin == "qd_detr"
    assert torch.equal(checkpoint.state_dict["saliency_proj1.weight"], WEIGHT)
    whole = (tmp_path / "weights.bin").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-5])
    with pytest.raises(CheckpointError, match="damaged safetensors file"):
        read_checkpoint(tmp_path / "cut")


@needs(FOLDER)
@pytest.mark.parametrize(
    ("file", "member", "origin"),
    [
        ("qd_detr.json", "qvhighlights_audio", "qd_detr"),
        ("sprc_blip2_cir.json", None, "sprc"),
        ("avigate.json", None, "avigate"),
    ],
)
def test_origin_of_the_published_key_sets(tmp_path: Path, file: str, member: str | None, origin: str) -> None:
    manifest = json.loads((FOLDER / file).read_text())
    names = (manifest[member] if member else manifest)["state_dict"]
    state = {name: torch.zeros(()) for name in names}
    check(save(tmp_path / "a.pt", state), origin, state)


class Malicious:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call, self.arguments


def test_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    path = save(tmp_path / "a.pt", {"model": LAVIS, "x": Malicious(os.system, f"touch {proof}")})
    with pytest.raises(CheckpointError, match=r"posix\.system.*trust=True"):
        read_checkpoint(path)
    assert not proof.exists()
    assert read_checkpoint(path, trust=True).origin == "lavis"
    assert proof.exists()


def test_getattr_reaches_nothing_but_the_history_buffer(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"model": LAVIS, "x": Malicious(getattr, argparse.Namespace, "__init__")})
    with pytest.raises(CheckpointError, match="more than mmengine's checkpoints need"):
        read_checkpoint(path)


def test_own_class_needs_trust(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pt", {"model": LAVIS, "y": Path("runs")})
    with pytest.raises(CheckpointError, match=r"'pathlib\.\w+'"):
        read_checkpoint(path)
    assert read_checkpoint(path, trust=True).meta["y"] == Path("runs")


def test_damaged_files(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.pth", {"model": LAVIS}).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "text": b"<html>404 not found</html>",
        "garbage": bytes(range(256)) * 4,
        "cut_legacy": pickle.dumps({"a": list(range(100))}, protocol=2)[:40],
    }.items():
        (tmp_path / name).write_bytes(content)
        for trust in (False, True) if name == "cut" else (False,):
            with pytest.raises(CheckpointError, match=f"{name}: not a readable checkpoint"):
                read_checkpoint(tmp_path / name, trust)


def test_missing_empty_and_directory(tmp_path: Path) -> None:
    save(tmp_path / "here.pth", LAVIS)
    (tmp_path / "empty").touch()
    for path, message in {
        tmp_path / "gone.pth": "no such checkpoint file.*here.pth",
        tmp_path / "nowhere" / "gone.pth": "nor is there a filled folder",
        tmp_path / "empty": "is empty",
        tmp_path: "is a directory.*here.pth",
    }.items():
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([WEIGHT], "holds a list"),
        ({}, "holds no state dict .entries: nothing"),
        ({"epoch": 1, "loss": 0.5, "optimizer_state_dict": {"state": {}}}, "optimizer's state and no weights"),
        ({"encoder": LAVIS, "decoder": LAVIS}, "several entries hold a state dict"),
    ],
)
def test_files_without_one_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save(tmp_path / "a.pt", content))
