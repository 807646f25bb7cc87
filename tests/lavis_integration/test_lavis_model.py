"""The tiny model through LAVIS's own entry points, and what SPRC's scripts call on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError
from gatefuse_plugins.fusions.text_guided_image import TextGuidedImageFusion
from gatefuse_plugins.hosts.blip2_cir import build_blip2_composed_retrieval

pytest.importorskip("lavis", reason="needs the extra 'lavis'")

import lavis.models
from lavis.common.registry import registry

from gatefuse_plugins.lavis import Blip2CirGated
from gatefuse_plugins.lavis.config import MODEL_TYPES, read_model_config

CAPTIONS = ["remove the red circle", "add a large blue square", "make it green"]


def pictures(count: int, seed: int) -> Tensor:
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model() -> Blip2CirGated:
    torch.manual_seed(0)
    return lavis.models.load_model("blip2_cir_gated", "tiny", is_eval=True)


@pytest.fixture
def samples() -> dict[str, Any]:
    return {"image": pictures(3, seed=1), "target": pictures(3, seed=2), "text_input": CAPTIONS}


def test_registered_and_loaded_by_name(model: Blip2CirGated) -> None:
    assert registry.get_model_class("blip2_cir_gated") is Blip2CirGated is type(model)
    assert isinstance(model, lavis.models.BaseModel)
    assert isinstance(model.fusion, TextGuidedImageFusion)
    assert model.device == torch.device("cpu")
    assert not model.training
    assert (model.query_tokens.shape, model.text_proj.out_features) == ((1, 8, 128), 128)


def test_processors_fit_the_model(model: Blip2CirGated) -> None:
    loaded, images, texts = lavis.models.load_model_and_preprocess("blip2_cir_gated", "tiny", is_eval=True)
    assert loaded.state_dict().keys() == model.state_dict().keys()
    picture = Image.new("RGB", (60, 50), (255, 0, 0))
    for stage in ("train", "eval"):
        features, tokens = loaded.extract_target_features(images[stage](picture)[None])
        assert (features.shape, tokens.shape) == ((1, 8, 128), (1, 10, 128))
    assert texts["eval"]("Remove the circle!") == "remove the circle"


def test_inference_is_the_training_path(model: Blip2CirGated, samples: dict[str, Any]) -> None:
    losses = model(samples)
    _, reference = model.extract_target_features(samples["image"])
    targets, _ = model.extract_target_features(samples["target"], mode="mean")
    similarity = model.inference(reference, targets, CAPTIONS)
    assert similarity.shape == (3, 3)
    torch.testing.assert_close(F.cross_entropy(similarity / model.temp, torch.arange(3)), losses["loss_itc"])


def test_inference_applies_the_fusion(model: Blip2CirGated, samples: dict[str, Any]) -> None:
    # the gated SPRC fork skipped its gate here: trained with it, evaluated without
    targets, tokens = model.extract_target_features(samples["target"])
    gated = model.inference(tokens, targets, CAPTIONS)
    with torch.no_grad():
        model.fusion.alpha.zero_()
    neutral = model.inference(tokens, targets, CAPTIONS)
    model.fusion = None
    torch.testing.assert_close(neutral, model.inference(tokens, targets, CAPTIONS), rtol=0, atol=0)
    assert (gated - neutral).abs().max() > 1e-3


def test_losses_are_unweighted_and_the_hosts(
    model: Blip2CirGated, samples: dict[str, Any], tiny_config: dict[str, Any]
) -> None:
    host = build_blip2_composed_retrieval(**read_model_config(tiny_config).parts).eval()
    host.load_state_dict(model.state_dict())
    weighted = host("loss", reference=samples["image"], target=samples["target"], caption=CAPTIONS)
    losses = model(samples)
    weights = {"loss_itc": 1.0, "loss_rtc": 0.4, "loss_align": 0.4}
    assert losses.keys() == weights.keys() == weighted.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(losses[name] * weight, weighted[name], rtol=0, atol=0)
    with torch.no_grad():
        similarity = host("tensor", reference=samples["image"], target=samples["target"], caption=CAPTIONS)
    _, tokens = model.extract_target_features(samples["image"])
    targets, _ = model.extract_target_features(samples["target"])
    torch.testing.assert_close(model.inference(tokens, targets, CAPTIONS), similarity, rtol=0, atol=0)


def test_batch_of_one(model: Blip2CirGated, samples: dict[str, Any]) -> None:
    alone = {key: value[:1] for key, value in samples.items()}
    assert model(alone)["loss_itc"].item() == 0.0  # one column: nothing to tell apart
    gallery, tokens = model.extract_target_features(samples["target"])
    whole = model.inference(tokens, gallery, CAPTIONS)
    torch.testing.assert_close(model.inference(tokens[:1], gallery, CAPTIONS[:1]), whole[:1])
    assert model.inference(tokens[:1], gallery[:1], CAPTIONS[:1]).shape == (1, 1)


def test_mode_must_be_mean(model: Blip2CirGated) -> None:
    with pytest.raises(ValueError, match="mode 'max' is unknown; did you mean 'mean'"):
        model.extract_target_features(pictures(1, seed=0), mode="max")


def test_unknown_model_type_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="'pretrain_vitl' is unknown; did you mean 'pretrain_vitL'"):
        lavis.models.load_model("blip2_cir_gated", "pretrain_vitl")


def test_faults_of_a_config_all_at_once(tiny_config: dict[str, Any]) -> None:
    tiny_config["num_query_tokens"] = 4
    tiny_config["vision"]["type"] = "TinyPatchEncodr"
    tiny_config["fusion"]["alpha"] = 0.1
    with pytest.raises(ConfigError) as caught:
        Blip2CirGated.from_config(tiny_config)
    for hint in ("model.num_query_tokens", "'TinyPatchEncoder'", "model.fusion.alpha", "'alpha_init'"):
        assert hint in str(caught.value)


@pytest.mark.parametrize(("load", "key"), [("load_pretrained", "pretrained"), ("load_finetuned", "finetuned")])
def test_weights_asked_for_but_not_named(tiny_config: dict[str, Any], load: str, key: str) -> None:
    tiny_config[load] = True
    with pytest.raises(ConfigError, match=rf"model\.{key}: {load} is true, but no file is named"):
        Blip2CirGated.from_config(tiny_config)


@pytest.mark.parametrize(
    ("model_type", "encoder", "size"),
    [("pretrain", "EvaViTG", 224), ("pretrain_vitL", "ClipViTL", 224), ("coco", "EvaViTG", 364)],
)
def test_full_scale_configs_hold(model_type: str, encoder: str, size: int) -> None:
    whole = OmegaConf.load(Blip2CirGated.default_config_path(model_type))
    parts = read_model_config(whole.model).parts
    assert (parts["vision"]["type"], parts["vision"]["image_size"], parts["vision"]["weights"]) == (encoder, size, None)
    assert whole.preprocess.vis_processor.eval.image_size == size
    assert (parts["num_query_token"], parts["embed_dim"], parts["tokenizer"]["max_length"]) == (32, 256, 32)
    assert Blip2CirGated.PRETRAINED_MODEL_CONFIG_DICT.keys() == set(MODEL_TYPES)


@pytest.mark.parametrize("model_type", ["pretrain", "pretrain_vitL", "coco"])
def test_without_network_the_error_names_the_files(
    model_type: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts: list[str] = []
    monkeypatch.setattr("gatefuse_plugins.hosts.blip2_cir.weights.reachable", lambda url: attempts.append(url))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsUnavailableError) as caught:
        lavis.models.load_model("blip2_cir_gated", model_type)
    assert len(attempts) == 1  # no retry
    assert str(tmp_path / "hub" / "checkpoints" / Path(attempts[0]).name) in str(caught.value)
    assert f"{model_type}.yaml" in str(caught.value)


def test_environment_names_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEFUSE_BLIP2", str(tmp_path / "mine.pth"))
    with pytest.raises(CheckpointError, match=r"mine\.pth: no such checkpoint file"):
        lavis.models.load_model("blip2_cir_gated", "pretrain")
