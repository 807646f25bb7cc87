"""The host: batch and query sizes, fusion in both modes, padding, captions, cached features."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_hosts import CAPTIONS, FUSION, IMAGE_SIZE, TOKENS, WIDTH, tiny_batch, tiny_host

from gatefuse_plugins.data import FeatureCache, build_feature_cache, build_transform, module_digest
from gatefuse_plugins.gates import gate_parameters

LOSSES = {"loss_itc", "loss_rtc", "loss_align"}


@pytest.mark.parametrize("num_query_token", [1, 3, 32])
@pytest.mark.parametrize("size", [1, 3])
def test_any_batch_size_and_number_of_query_tokens(size: int, num_query_token: int) -> None:
    host = tiny_host(fusion=FUSION, num_query_token=num_query_token)
    batch = tiny_batch(size)
    losses = host(mode="loss", **batch)
    assert set(losses) == LOSSES
    assert all(value.ndim == 0 and torch.isfinite(value) for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in host.parameters() if p.requires_grad)  # DDP would wait for the others
    (found,) = host(mode="predict", image=batch["target"], reference=batch["reference"], caption=batch["caption"])
    assert found["image_features"].shape == (size, num_query_token, 8)
    assert found["query_features"].shape == (size, 8)
    for name in ("image_features", "query_features"):
        assert found[name].norm(dim=-1).allclose(torch.ones(found[name].shape[:-1]))


def test_fusion_acts_the_same_in_training_and_at_inference() -> None:
    # the gated fork of SPRC fused in training only
    batch = tiny_batch()
    host, ungated = tiny_host(fusion=FUSION), tiny_host()
    ungated.load_state_dict({k: v for k, v in host.state_dict().items() if not k.startswith("fusion.")})
    query = {"reference": batch["reference"], "caption": batch["caption"]}
    seen = []
    host.text_proj.register_forward_hook(lambda _, __, value: seen.append(torch.nn.functional.normalize(value, dim=-1)))
    host.train()(mode="loss", **batch)
    in_training = seen[0]  # the composed query is projected before the prompted text
    (found,) = host.eval()(mode="predict", **query)
    torch.testing.assert_close(found["query_features"], in_training)
    (plain,) = ungated.eval()(mode="predict", **query)
    assert (found["query_features"] - plain["query_features"]).abs().max() > 1e-3
    (gallery,), (plain_gallery,) = (model(mode="predict", image=batch["target"]) for model in (host, ungated))
    torch.testing.assert_close(gallery["image_features"], plain_gallery["image_features"])


def test_predict_hands_indices_through_and_computes_only_what_is_asked() -> None:
    batch, index = tiny_batch(), torch.tensor([4, 2, 7, 1])
    (found,) = tiny_host()(mode="predict", image=batch["target"], image_index=index)
    assert set(found) == {"image_features", "image_index"} and found["image_index"] is index
    query = {"reference": batch["reference"], "caption": batch["caption"], "query_index": index}
    (found,) = tiny_host()(mode="predict", **query)
    assert set(found) == {"query_features", "query_index"}
    with pytest.raises(ValueError, match="mode 'prediction' is unknown; did you mean 'predict'"):
        tiny_host()(mode="prediction")
    with pytest.raises(TypeError, match="captions"):
        tiny_host()(mode="predict", captions=batch["caption"])


def test_tensor_mode_is_the_similarity() -> None:
    batch, host = tiny_batch(), tiny_host(fusion=FUSION).eval()
    (found,) = host(mode="predict", image=batch["target"], reference=batch["reference"], caption=batch["caption"])
    expected = torch.einsum("me,nqe->mnq", found["query_features"], found["image_features"]).amax(-1)
    torch.testing.assert_close(host(**batch), expected)


def test_padding_to_the_longest_changes_no_loss() -> None:
    tokenizer = {"type": "CaptionTokenizer", "vocabulary": "tiny", "max_length": 24}
    losses = [
        tiny_host(fusion=FUSION, tokenizer={**tokenizer, "padding": padding})(mode="loss", **tiny_batch())
        for padding in ("longest", "max_length")
    ]
    for name in LOSSES:
        torch.testing.assert_close(losses[0][name], losses[1][name])


@pytest.mark.parametrize(
    "caption", ["", "   ", "!!! ...", "make it red " * 200, "让它变红", "сделай красным", "🔴🟦", "a\nb\tc"]
)
def test_odd_captions_give_finite_losses(caption: str) -> None:
    host, batch = tiny_host(fusion=FUSION), tiny_batch()
    batch["caption"] = [caption, *CAPTIONS[1:]]
    text = host.tokenize(batch["caption"])
    assert text.mask[0, :2].all() and text.input_ids.shape[1] <= 24
    assert all(torch.isfinite(value) for value in host(mode="loss", **batch).values())
    alone = host(mode="predict", reference=batch["reference"][:1], caption=[caption])[0]["query_features"]
    among = host(mode="predict", reference=batch["reference"], caption=batch["caption"])[0]["query_features"]
    torch.testing.assert_close(alone[0], among[0])


def test_tokenizer_survives_pickling() -> None:
    tokenizer = tiny_host().tokenizer
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert torch.equal(copy(CAPTIONS).input_ids, tokenizer(CAPTIONS).input_ids)


def test_the_vision_encoder_stays_frozen_and_gates_are_owned() -> None:
    host = tiny_host(fusion=FUSION).train()
    assert not host.visual_encoder.training
    assert not any(p.requires_grad for p in host.visual_encoder.parameters())
    assert {id(p) for p in gate_parameters(host)} == {id(p) for p in host.fusion.parameters()}
    assert list(gate_parameters(tiny_host())) == []


def test_fp32_feature_cache_gives_identical_losses(tmp_path: Path) -> None:
    transform = [{"type": "ClipPreprocess", "size": IMAGE_SIZE}]
    files = {}
    for index in range(4):
        pixels = np.random.default_rng(index).integers(0, 256, (IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
        files[f"{index}"] = tmp_path / f"{index}.png"
        Image.fromarray(pixels).save(files[f"{index}"])
    host = tiny_host(fusion=FUSION)
    digest = module_digest(host.visual_encoder)
    # one batch for all, so that both paths encode the same batch with the same kernels
    index = build_feature_cache(
        tmp_path / "cache", host.visual_encoder, digest, files, transform, "float32", batch_size=4
    )
    names = list(files)
    tokens = FeatureCache.open(index).read(names)
    assert tokens.shape == (4, TOKENS, WIDTH)
    prepare = build_transform(transform)
    images = torch.stack([prepare(Image.open(files[name])) for name in names])
    cached = tiny_host(
        fusion=FUSION,
        vision={
            "type": "CachedVision",
            "num_features": WIDTH,
            "num_tokens": TOKENS,
            "image_size": IMAGE_SIZE,
            "digest": digest,
        },
    )
    weights = {k: v for k, v in host.state_dict().items() if not k.startswith("visual_encoder.")}
    cached.load_state_dict(weights)
    options = {"caption": CAPTIONS, "target_id": torch.arange(4)}
    uncached_losses = host(mode="loss", reference=images, target=images.flip(0), **options)
    cached_losses = cached(mode="loss", reference=tokens, target=tokens.flip(0), **options)
    for name in LOSSES:
        torch.testing.assert_close(cached_losses[name], uncached_losses[name], rtol=1e-6, atol=1e-6)
    with pytest.raises(RuntimeError, match="reached a model built for cached vision tokens"):
        cached(mode="loss", reference=images, target=images, **options)
