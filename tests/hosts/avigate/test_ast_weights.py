"""Folders with AST's weights: outputs of transformers, both releases' names, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from upstream_formulas import random_state

from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError
from gatefuse_plugins.hosts.avigate.encoders import ASTAudioEncoder

AUDIO = {"output_dim": 6, "hidden_dim": 8, "depth": 2, "num_heads": 2}
AUDIO |= {"num_mel_bins": 8, "max_length": 20, "patch_size": 4, "stride": 3}
SIZES = {"hidden_size": 8, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZES |= {"num_mel_bins": 8, "max_length": 20, "patch_size": 4, "frequency_stride": 3, "time_stride": 3}
NEWER = {  # transformers 5.23, read off `ASTModel(config).state_dict()`
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "layernorm_before",
    "layernorm_after": "layernorm_after",
}


def sounds() -> Tensor:
    return torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(1))


def folder_of(path: Path, state: dict[str, Tensor], safe: bool = True) -> str:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps(SIZES))
    if safe:
        save_file(state, path / "model.safetensors")
    else:
        torch.save(state, path / "pytorch_model.bin")
    return str(path)


def newer_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for layer in (0, 1):
        for old, new in NEWER.items():
            for part in ("weight", "bias"):
                state[f"layers.{layer}.{new}.{part}"] = state.pop(f"encoder.layer.{layer}.{old}.{part}")
    return state


@pytest.mark.parametrize("name", ["ASTModel", "ASTForAudioClassification"])
@pytest.mark.parametrize("saved", ["save_pretrained", "state_dict"])
def test_folders_of_transformers_give_its_outputs(name: str, saved: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="compares with the class of transformers")
    torch.manual_seed(0)
    theirs = getattr(transformers, name)(transformers.ASTConfig(**SIZES, layer_norm_eps=1e-6)).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    if saved == "save_pretrained":
        theirs.save_pretrained(tmp_path)
    else:
        folder_of(tmp_path, theirs.state_dict(), safe=False)
    body = getattr(theirs, "audio_spectrogram_transformer", theirs)
    encoder = ASTAudioEncoder(**AUDIO, weights=str(tmp_path))
    torch.testing.assert_close(encoder.model(sounds()), body(sounds()).last_hidden_state, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("safe", [True, False])
def test_weights_under_either_release_s_names_are_the_same_weights(safe: bool, tmp_path: Path) -> None:
    encoder = ASTAudioEncoder(**AUDIO)
    state = random_state({name: value.shape for name, value in encoder.model.state_dict().items()})
    older = folder_of(tmp_path / "older", state, safe)
    prefix = "audio_spectrogram_transformer."
    renamed = {prefix + name: value.half() for name, value in newer_names(dict(state)).items()}
    assert f"{prefix}layers.1.mlp.fc2.bias" in renamed and not any("encoder" in name for name in renamed)
    newer = folder_of(tmp_path / "newer", renamed | {"classifier.dense.bias": torch.zeros(3)}, safe)
    found = [ASTAudioEncoder(**AUDIO, weights=folder).model.state_dict() for folder in (older, newer)]
    for name, value in state.items():
        assert torch.equal(found[0][name], value)
        assert torch.equal(found[1][name], value.half().float())


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = ASTAudioEncoder(**AUDIO).model.state_dict()
    folder = folder_of(tmp_path / "ast", state)
    with pytest.raises(ConfigError, match=r"max_length is 20, given 23"):
        ASTAudioEncoder(**(AUDIO | {"max_length": 23}), weights=folder)
    (tmp_path / "ast/config.json").write_text("{}")  # says nothing of the sizes, the weights do
    with pytest.raises(CheckpointError, match=r"(?s)cannot be loaded.*mismatch for embeddings.position_embeddings"):
        ASTAudioEncoder(**(AUDIO | {"max_length": 23}), weights=folder)
    path = tmp_path / "ast/model.safetensors"
    save_file({name: value for name, value in load_file(path).items() if "layernorm_after" not in name}, path)
    with pytest.raises(CheckpointError, match="lack 4 of the encoder's"):
        ASTAudioEncoder(**AUDIO, weights=folder)
    save_file(state | {"layers.0.mlp.fc3.weight": torch.zeros(1)}, path)
    with pytest.raises(CheckpointError, match=r"1 names are none of .*: layers.0.mlp.fc3.weight; did you mean"):
        ASTAudioEncoder(**AUDIO, weights=folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_files_that_are_no_weights_are_refused(name: str, tmp_path: Path) -> None:
    folder = Path(folder_of(tmp_path / "ast", {}))
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=rf"cannot be loaded.*{name} cannot be read"):
        ASTAudioEncoder(**AUDIO, weights=str(folder))
    (folder / name).unlink()
    with pytest.raises(WeightsUnavailableError, match=r"lacks any of pytorch_model.bin"):
        ASTAudioEncoder(**AUDIO, weights=str(folder))
    (folder / "pytorch_model.bin.index.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor pytorch_model.bin"):
        ASTAudioEncoder(**AUDIO, weights=str(folder))
    with pytest.raises(WeightsUnavailableError, match="is no folder"):
        ASTAudioEncoder(**AUDIO, weights=str(tmp_path / "absent"))


def test_pickles_are_read_as_tensors_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "ast", {"cls_token": Path("not a tensor")}, safe=False)
    with pytest.raises(CheckpointError, match=r"pytorch_model.bin cannot be read: Weights only load failed"):
        ASTAudioEncoder(**AUDIO, weights=folder)
    torch.save([torch.zeros(1)], tmp_path / "ast/pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds a list, expected tensors by name"):
        ASTAudioEncoder(**AUDIO, weights=folder)
