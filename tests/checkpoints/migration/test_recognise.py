"""Every origin is told by names and shapes alone; what they leave open is said."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import honest_files as files
import pytest
import torch

from gatefuse_plugins.checkpoints.migration import inspect
from gatefuse_plugins.errors import CheckpointError


def test_qd_detr_with_its_options(tmp_path: Path) -> None:
    found = inspect(files.qd_detr(tmp_path / "called_like_avigate.bin", "audio"))
    assert (found.identity.origin, found.identity.family, found.epoch) == ("qd_detr", "qd_detr", 7)
    assert found.identity.fusion_config == {"type": "Concat"}
    sizes = {"hidden_dim": 256, "dim_feedforward": 64, "enc_layers": 2, "dec_layers": 2, "num_queries": 10}
    assert sizes.items() <= found.identity.sizes.items()
    assert (found.identity.sizes["video_dim"], found.identity.sizes["audio_dim"]) == (20, 14)
    assert found.identity.undecided == ()
    assert found.options["device"] == "cpu"
    assert "origin: qd_detr: QD-DETR, moment retrieval and highlight detection" in found.lines()


def test_without_options_the_shapes_leave_the_audio_open(tmp_path: Path) -> None:
    found = inspect(files.qd_detr(tmp_path / "a.ckpt", "audio", options=False)).identity
    assert found.fusion_config is None
    assert any("columns are audio" in fact for fact in found.undecided)


@pytest.mark.parametrize(
    ("variant", "origin", "config"),
    [
        ("tanh_global", "qd_detr_exp_tanh", {"generation": "tanh", "gating_type": "global"}),
        ("tanh_elementwise", "qd_detr_exp_tanh", {"generation": "tanh", "gating_type": "elementwise"}),
        ("sigmoid_clipwise", "qd_detr_exp_sigmoid", {"generation": "sigmoid", "gating_type": "clipwise"}),
        (
            "sigmoid_film_elementwise",
            "qd_detr_exp_sigmoid",
            {"generation": "sigmoid", "gating_type": "elementwise", "ffn_gate_film": True},
        ),
    ],
)
def test_both_generations_of_gates(tmp_path: Path, variant: str, origin: str, config: dict) -> None:
    found = inspect(files.qd_detr_exp(tmp_path / "a.ckpt", variant)).identity
    common = {"type": "AvigateCustomFusion", "fusion_layers": 2, "fusion_n_heads": 8}
    assert (found.origin, found.fusion_config) == (origin, common | config)
    assert found.sizes["audio_dim"] == 14


def test_equal_shapes_of_global_and_clipwise_are_undecided_without_options(tmp_path: Path) -> None:
    path = files.qd_detr_exp(tmp_path / "a.ckpt", "sigmoid_clipwise")
    content = torch.load(path, weights_only=False)
    torch.save({"model": content["model"]}, path)
    found = inspect(path).identity
    assert any("global or clipwise" in fact for fact in found.undecided)


def test_sprc_its_gated_fork_and_lavis(tmp_path: Path) -> None:
    plain = inspect(files.sprc(tmp_path / "a.pt")).identity
    gated = inspect(files.sprc(tmp_path / "b.pt", gated=True)).identity
    lavis = inspect(files.sprc(tmp_path / "c.pt", prompt=False)).identity
    assert (plain.origin, gated.origin, lavis.origin) == ("sprc", "gated_sprc", "lavis")
    assert gated.fusion_config == {
        "type": "TextGuidedImageFusion",
        "strategy": "residual",
        "text_proj": True,
        "norm_affine": True,
        "pool": "mean",
        "text_norm": False,
    }
    assert (plain.fusion_config, lavis.fusion_config) == (None, None)
    told = ("hidden_size", "num_hidden_layers", "cross_attention_freq", "intermediate_size")
    expected = {key: files.COMPOSED["qformer"][key] for key in told}
    assert expected.items() <= plain.sizes.items()
    assert plain.sizes["encoder_width"] == 40


@pytest.mark.parametrize("prefix", ["", "module."])
def test_avigate(tmp_path: Path, prefix: str) -> None:
    found = inspect(files.avigate(tmp_path / "pytorch_model.bin.4", prefix)).identity
    assert found.origin == "avigate"
    fixed = {"gating": True, "fusion_mix": 0.05, "attention_temperature": 1.0, "layer_decay": "off"}
    assert fixed.items() <= found.extras.items()
    assert "num_heads (shapes do not tell; the config's are taken)" in found.undecided  # no multiple of 64 wide
    assert found.sizes == {
        name: files.RETRIEVAL.get(name, 77)
        for name in ("width", "num_query_tokens", "resampler_layers", "fusion_layers", "max_frames")
    }


def test_another_fusion_of_a_fork_is_described(tmp_path: Path) -> None:
    path = files.qd_detr(tmp_path / "a.ckpt")
    content = torch.load(path, weights_only=False)
    content["model"]["fusion.gate_net.gamma"] = torch.tensor(10.0)
    torch.save(content, path)
    found = inspect(path).identity
    assert (found.origin, found.fusion) == ("qd_detr_exp_other", "the fork's temporal gate")


def test_unknown_files_are_described_and_the_name_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "model_best.ckpt"
    torch.save({"state_dict": {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2), "b": torch.ones(1)}}, path)
    shutil.copy(path, tmp_path / "qd_detr.ckpt")
    found = inspect(tmp_path / "qd_detr.ckpt")
    assert (found.identity.origin, found.groups, found.parameters) == ("unknown", {"a": 2, "b": 1}, 9)
    assert "groups: a (2), b (1)" in found.lines()


def test_nan_weights_are_loaded_and_reported(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([1.0, float("nan")]), "b": torch.ones(2)}, tmp_path / "a.pt")
    found = inspect(tmp_path / "a.pt")
    assert found.non_finite == {"a": 1}
    assert "NaN or infinity: a (1)" in found.lines()


def test_description_is_plain_data(tmp_path: Path) -> None:
    options = argparse.Namespace(device=torch.device("cpu"), n=[1])
    torch.save({"model": {"w": torch.ones(1)}, "opt": options}, tmp_path / "a")
    assert inspect(tmp_path / "a").to_json()["options"] == {"device": "cpu", "n": [1]}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint file"):
        inspect(tmp_path / "a.pt")
