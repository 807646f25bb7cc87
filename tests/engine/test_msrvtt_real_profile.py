"""The profile of the real MSR-VTT, with CLIP and AST, on small weights that the test makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from gatefuse_plugins.hosts.avigate.encoders.ast_weights import read_weights
from tests.engine.test_msrvtt_run import run_tool

transformers = pytest.importorskip("transformers", reason="CLIP comes through transformers (extra 'encoders')")

SIZES = {"hidden_size": 16, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOCABULARY = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "<|startoftext|>", "<|endoftext|>"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``clip`` and ``ast``: folders as the hub has them, with few and narrow layers."""
    root = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    part = {**SIZES, "projection_dim": 32}
    text = {**part, "vocab_size": len(VOCABULARY), "max_position_embeddings": 32, "eos_token_id": len(VOCABULARY) - 1}
    vision = {**part, "image_size": 32, "patch_size": 16}
    clip = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    transformers.CLIPModel(clip).save_pretrained(root / "clip")
    (root / "clip/vocab.json").write_text(json.dumps({token: number for number, token in enumerate(VOCABULARY)}))
    (root / "clip/merges.txt").write_text("#version: 0.2\n")
    audio = transformers.ASTConfig(**SIZES, num_mel_bins=32, max_length=100, patch_size=16, layer_norm_eps=1e-6)
    transformers.ASTModel(audio).save_pretrained(root / "ast")
    return root


def options(root: Path, weights: Path) -> list[str]:
    """The real profile with sizes of the small weights, on a few embedded clips."""
    small = {"output_dim": 32, "hidden_dim": 16, "depth": 1, "num_heads": 2}
    encoders = {
        "frame_encoder": small | {"patch_size": 16, "image_size": 32},
        "text_encoder": small | {"vocab_size": len(VOCABULARY), "max_positions": 32},
        "audio_encoder": small | {"num_mel_bins": 32, "max_length": 100},
    }
    sizes = {f"{encoder}.{key}": value for encoder, given in encoders.items() for key, value in given.items()}
    sizes |= {"num_frames": 2, "frame_size": 32, "sample_rate": 8000, "num_mel_bins": 32, "audio_length": 100}
    sizes |= {"width": 32, "num_heads": 2, "val_videos": 10, "batch_size": 8, "num_workers": 0, "max_epochs": 1}
    return [
        *("--cfg-options", "profile=real", f"data_root={root / 'none'}", f"embedded.root={root / 'set'}"),
        *("embedded.num_train_videos=26", "embedded.num_test_videos=12", "embedded.captions_per_video=1"),
        *(f"weights.clip={weights / 'clip'}", f"weights.ast={weights / 'ast'}"),
        *(f"profiles.real.{key}={value}" for key, value in sizes.items()),
    ]


def test_the_real_profile_trains_only_what_is_not_frozen_and_tests_again(weights: Path, tmp_path: Path) -> None:
    given = options(tmp_path, weights)
    assert run_tool("tools/train.py", "configs/msrvtt_avigate.py", "--work-dir", str(tmp_path / "work"), *given) == 0
    record = json.loads((tmp_path / "work/metrics.json").read_text())
    state = torch.load(record["best"]["checkpoint"], weights_only=True)["state_dict"]
    stored = transformers.CLIPModel.from_pretrained(weights / "clip", local_files_only=True).state_dict()
    stored |= read_weights(weights / "ast")
    frozen = {
        "frame_encoder.model.vision_model.embeddings.patch_embedding.weight",
        "text_encoder.model.text_model.embeddings.token_embedding.weight",
        "audio_encoder.model.embeddings.cls_token",
        "audio_encoder.model.encoder.layer.0.output.dense.weight",
    }
    assert all(torch.equal(state[name], stored[name.split(".model.")[1]]) for name in frozen)
    trained = "frame_encoder.model.vision_model.encoder.layers.0.mlp.fc1.weight"
    assert not torch.equal(state[trained], stored[trained.split(".model.")[1]])
    again = ["configs/msrvtt_avigate.py", record["best"]["checkpoint"], "--work-dir", str(tmp_path), *given]
    assert run_tool("tools/test.py", *again) == 0
    tested = json.loads((tmp_path / "test_metrics.json").read_text())["metrics"]
    assert tested == {name: pytest.approx(value, abs=1e-9) for name, value in record["test"]["best"].items()}
