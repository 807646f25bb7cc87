"""Checkpoints of SPRC, mmengine and LAVIS through the LAVIS model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from oracles import load_oracle
from torch import Tensor

from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.hosts.blip2_cir.text import TextBatch

pytest.importorskip("lavis", reason="needs the extra 'lavis'")

import lavis.models

from gatefuse_plugins.lavis import Blip2CirGated

CLOSE = {"rtol": 1e-4, "atol": 1e-5}
Fill = Callable[[dict[str, tuple[int, ...]]], dict[str, Tensor]]


@pytest.fixture
def trained(tiny_config: dict[str, Any], fill_by_name: Fill) -> dict[str, Tensor]:
    """A full state dict of the tiny model, unlike its initialisation."""
    state = Blip2CirGated.from_config(tiny_config).state_dict()
    filled = fill_by_name({name: tuple(tensor.shape) for name, tensor in state.items() if tensor.is_floating_point()})
    filled["Qformer.cls.predictions.decoder.weight"] = filled["Qformer.bert.embeddings.word_embeddings.weight"]
    filled["Qformer.cls.predictions.decoder.bias"] = filled["Qformer.cls.predictions.bias"]
    return filled


def assert_holds(model: Blip2CirGated, expected: dict[str, Tensor]) -> None:
    state = model.state_dict()
    assert expected
    assert [name for name, tensor in expected.items() if not torch.equal(state[name], tensor)] == []


def without(state: dict[str, Tensor], *tops: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if name.split(".")[0] not in tops}


def test_sprc_checkpoint_gives_sprcs_numbers(tmp_path: Path, fill_by_name: Fill) -> None:
    manifest, arrays = load_oracle("sprc_blip2_cir")
    data = {name: torch.from_numpy(array) for name, array in arrays.items()}
    state = fill_by_name({name: shape for name, shape in manifest["state_dict"].items() if "position_ids" not in name})
    torch.save({"epoch": 3, "Blip2QformerCirAlignPrompt": state}, tmp_path / "tuned_clip_best.pt")

    sizes = dict(manifest["config"])
    vision = {"type": "CachedVision", "num_features": sizes["encoder_width"], "num_tokens": 17, "image_size": 1}
    for other in ("encoder_width", "temp", "note"):
        del sizes[other]
    model = Blip2CirGated.from_config(
        {
            "vision": {**vision, "digest": ""},
            "num_query_token": sizes.pop("num_query_token"),
            "embed_dim": sizes.pop("embed_dim"),
            "qformer": {"type": "QFormer", "bert": None, **sizes},
            "tokenizer": {"type": "CaptionTokenizer", "vocabulary": "tiny"},
        }
    ).eval()
    model.load_checkpoint(str(tmp_path / "tuned_clip_best.pt"))
    # the oracle gives token ids of a vocabulary of its own in place of captions
    text = TextBatch(data["in_input_ids"], data["in_attention_mask"].bool())
    model.tokenizer = lambda captions, device: text

    targets, _ = model.extract_target_features(data["in_target"])
    _, reference = model.extract_target_features(data["in_reference"])
    torch.testing.assert_close(targets, data["out_target_feats"], **CLOSE)
    torch.testing.assert_close(model.inference(reference, targets, [""] * 4), data["out_similarity"], **CLOSE)
    losses = model({"image": data["in_reference"], "target": data["in_target"], "text_input": [""] * 4})
    for name in ("loss_itc", "loss_rtc", "loss_align"):
        torch.testing.assert_close(losses[name], data[name].float(), **CLOSE)


def test_load_model_reads_an_mmengine_checkpoint_with_its_encoder(tmp_path: Path, trained: dict[str, Tensor]) -> None:
    # training on cached tokens leaves the encoder out of the model; a small one is stamped into `meta`
    encoder = {name.removeprefix("visual_encoder."): t for name, t in trained.items() if name.startswith("visual_")}
    meta = {"epoch": 2, "vision_state": encoder}
    torch.save({"meta": meta, "state_dict": without(trained, "visual_encoder")}, tmp_path / "best.pth")
    model = lavis.models.load_model("blip2_cir_gated", "tiny", is_eval=True, checkpoint=str(tmp_path / "best.pth"))
    assert any(name.startswith("visual_encoder.") for name in trained)
    assert_holds(model, trained)


def test_lavis_file_is_a_start(
    tmp_path: Path, trained: dict[str, Tensor], tiny_config: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    stored = without(trained, "visual_encoder", "prompt_tokens", "fusion")
    torch.save({"model": stored}, tmp_path / "blip2_pretrained.pth")
    tiny_config.update(load_pretrained=True, pretrained=str(tmp_path / "blip2_pretrained.pth"))
    with caplog.at_level(logging.WARNING, logger="gatefuse_plugins.lavis.weights"):
        model = Blip2CirGated.from_config(tiny_config)
    assert_holds(model, stored)
    assert model.fusion.alpha.item() == tiny_config["fusion"]["alpha_init"]
    assert "has no visual encoder; the model keeps the one it was built with" in caplog.text


def test_finished_model_must_hold_the_fusion(
    tmp_path: Path, trained: dict[str, Tensor], tiny_config: dict[str, Any]
) -> None:
    path = tmp_path / "tuned_clip_arithmetic.pt"
    torch.save({"epoch": 1, "Blip2QformerCirAlignPrompt": without(trained, "fusion")}, path)
    model = Blip2CirGated.from_config(tiny_config)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CheckpointError, match="carries another fusion than the model: the model's is TextGuided"):
        model.load_checkpoint(path)
    assert_holds(model, before)
    model.load_from_pretrained(path)
    assert_holds(model, without(trained, "fusion"))
    tiny_config.update(load_finetuned=True, finetuned=str(path), fusion=None)
    assert_holds(Blip2CirGated.from_config(tiny_config), without(trained, "fusion"))


def test_sprcs_scripts_load_by_class_name(trained: dict[str, Tensor], tiny_config: dict[str, Any]) -> None:
    model = Blip2CirGated.from_config(tiny_config)
    saved = {"epoch": 1, model.__class__.__name__: trained}
    message = model.load_state_dict(saved[model.__class__.__name__], strict=False)
    assert message.unexpected_keys == []
    assert_holds(model, trained)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path, tiny_config: dict[str, Any]) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"model": {"a": torch.zeros(1)}, "payload": Payload()}, tmp_path / "crafted.pth")
    with pytest.raises(CheckpointError, match="could run code while loading"):
        Blip2CirGated.from_config(tiny_config).load_checkpoint(tmp_path / "crafted.pth")
    assert not (tmp_path / "ran").exists()
