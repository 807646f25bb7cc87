"""The host's modes, losses and margin, its encoders, its builder and config rules."""

from __future__ import annotations

import pytest
import torch
from tiny_avigate import WIDTH, tiny_avigate, tiny_batch
from torch import nn
from torch.nn import functional as F

import gatefuse_plugins.hosts.avigate.encoders  # noqa: F401 (registers them)
from gatefuse_plugins.config.rules import rules_for
from gatefuse_plugins.errors import ConfigError, PatternError
from gatefuse_plugins.hosts.avigate import EncodedTexts, EncodedVideos, build_avigate, score_all_pairs
from gatefuse_plugins.hosts.avigate.losses import adaptive_margin, same_video, symmetric_contrastive_loss
from gatefuse_plugins.registry import MODELS

EVERYTHING = {"query_gate": "headwise", "text_gates": True, "layer_decay": "learnable", "text_alignment": "attention"}
VARIANTS = [{}, {"gating": False}, {"query_gate": "scalar"}, {**EVERYTHING, "gate_pooling": "attention"}]


def test_margin_is_the_papers_formula() -> None:
    texts, videos = (F.normalize(torch.randn(3, 4), dim=-1) for _ in range(2))
    margin = adaptive_margin(texts, videos, 0.2, 0.1)
    for i in range(3):
        for j in range(3):
            wanted = 0.2 * (1 - (texts[i] @ texts[j] + videos[i] @ videos[j]).item() / 2)
            assert margin[i, j].item() == pytest.approx(0.0 if i == j else min(wanted, 0.1), abs=1e-6)


def test_loss_is_the_mean_of_both_directions_and_skips_what_it_is_told_to() -> None:
    logits = torch.randn(3, 3)
    rows, columns = (-x.log_softmax(1).diagonal().mean() for x in (logits, logits.T))
    torch.testing.assert_close(symmetric_contrastive_loss(logits), (rows + columns) / 2)
    ignore = same_video(torch.tensor([7, 8, 7]))
    assert ignore.tolist() == [[False, False, True], [False, False, False], [True, False, False]]
    weight = (~ignore).float()
    expected = [-torch.log(x.diagonal().exp() / (x.exp() * weight).sum(1)).mean() for x in (logits, logits.T)]
    torch.testing.assert_close(symmetric_contrastive_loss(logits, ignore), sum(expected) / 2)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_parameter_learns(options: dict) -> None:
    model = tiny_avigate(**options)
    loss = model(mode="loss", **tiny_batch(tokens=3))
    assert set(loss) == {"loss_contrastive"}
    loss["loss_contrastive"].backward()
    # a bias of the keys shifts all logits of a query alike, which the softmax drops
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert still == []
    silent = [name for name, p in model.named_parameters() if p.grad.abs().max() == 0]
    assert silent == []


def test_captions_of_one_video_are_no_negatives_where_masked() -> None:
    batch = tiny_batch()
    ids = torch.tensor([0, 1, 2, 0])
    losses = [
        tiny_avigate(mask_same_video=masked)(mode="loss", **batch, video_id=ids)["loss_contrastive"]
        for masked in (False, True)
    ]
    assert losses[1] < losses[0]
    plain = tiny_avigate()(mode="loss", **batch)["loss_contrastive"]
    torch.testing.assert_close(losses[0], plain)


def test_the_logit_scale_is_projected_back() -> None:
    model = tiny_avigate().train()
    with torch.no_grad():
        model.clip.logit_scale.fill_(9.0)
    model(mode="loss", **tiny_batch())
    assert model.scale.item() == pytest.approx(100.0, rel=1e-5)


def test_predictions_hold_what_scoring_needs() -> None:
    model = tiny_avigate(query_gate="scalar").eval()
    batch = tiny_batch(tokens=2)
    index = torch.arange(4)
    with torch.no_grad():
        (found,) = model(mode="predict", **batch, video_index=index, text_index=index)
        expected = model(**batch)
    assert found.pop("scorer") is model
    assert set(found) == {"frames", "mask", "audio", "has_audio", "tokens", "text_mask", "video_index", "text_index"}
    videos = EncodedVideos(**{name: found[name] for name in ("frames", "mask", "audio", "has_audio")})
    with torch.no_grad():
        scores = score_all_pairs(model, EncodedTexts(found["tokens"], found["text_mask"]), videos)
    torch.testing.assert_close(scores, expected)
    (texts_only,) = model(mode="predict", text=batch["text"])
    assert set(texts_only) == {"tokens", "text_mask", "scorer"}


class FlatImages(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(12, WIDTH)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.project(images.flatten(1))


class Words(nn.Embedding):
    def token_mask(self, ids: torch.Tensor) -> torch.Tensor:
        return ids > 0


class PairedFrames(nn.Module):
    """Two spectrogram frames a token."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(6, WIDTH)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        return self.project(spectrogram.unflatten(1, (-1, 2)).flatten(2))

    def token_mask(self, mask: torch.Tensor) -> torch.Tensor:
        return mask.unflatten(1, (-1, 2)).any(dim=2)


def test_an_audio_encoder_that_shortens_brings_its_own_mask() -> None:
    torch.manual_seed(0)
    model, batch = tiny_avigate(), tiny_batch(audio=8)
    model.audio_encoder = PairedFrames()
    batch["audio"] = torch.randn(4, 8, 3)
    videos = model.encode_videos(batch["video"], batch["video_mask"], batch["audio"], batch["audio_mask"])
    assert videos.has_audio.tolist() == [True, True, False, True]
    batch["audio"][2] = torch.nan  # no audio there
    again = model.encode_videos(batch["video"], batch["video_mask"], batch["audio"], batch["audio_mask"])
    torch.testing.assert_close(again.audio, videos.audio)


def test_an_audio_encoder_sees_the_padding_that_the_data_set_chose() -> None:
    class Seen(nn.Identity):
        def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
            self.last = spectrogram
            return spectrogram.new_zeros(*spectrogram.shape[:2], WIDTH)

    model, batch = tiny_avigate(), tiny_batch()
    model.audio_encoder = Seen()
    audio = torch.full((4, 7, 3), 0.7)
    audio[0, 5] = torch.nan  # padding
    model.encode_videos(batch["video"], batch["video_mask"], audio, batch["audio_mask"])
    expected = torch.full((4, 7, 3), 0.7)
    expected[0, 5] = expected[2] = 0.0  # video 2 has no audio
    torch.testing.assert_close(model.audio_encoder.last, expected)
    audio[1, 0] = torch.nan  # no padding: not to be hidden
    model.encode_videos(batch["video"], batch["video_mask"], audio, batch["audio_mask"])
    assert model.audio_encoder.last[1, 0].isnan().all()


def test_parts_are_frozen_by_pattern() -> None:
    model = build_avigate(width=8, num_heads=2, frozen=["transformer_Fusion.**", "query_tokens"])
    assert not model.query_tokens.requires_grad
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[0] for name in frozen} == {"query_tokens", "transformer_Fusion"}
    with pytest.raises(PatternError, match="frame_encoder"):
        build_avigate(width=8, num_heads=2, frozen=["frame_encoder.**"])


def test_encoders_are_injected_and_see_no_garbage() -> None:
    torch.manual_seed(0)
    model = tiny_avigate()
    model.frame_encoder, model.text_encoder, model.audio_encoder = (
        FlatImages(),
        nn.Embedding(9, WIDTH),
        nn.Linear(5, WIDTH),
    )
    batch = tiny_batch()
    batch |= {
        "video": torch.randn(4, 5, 3, 2, 2),
        "audio": torch.randn(4, 7, 5),
        "text": torch.tensor([[1], [2], [3], [4]]),
    }
    batch["video"][1, 3:] = torch.nan
    model(mode="loss", **batch)["loss_contrastive"].backward()
    for encoder in (model.frame_encoder, model.text_encoder, model.audio_encoder):
        assert all(p.grad.isfinite().all() and p.grad.abs().max() > 0 for p in encoder.parameters())


def faults(**node) -> list[str]:
    return [line for rule in rules_for("gatefuse.AVIGATE") for line in rule({"type": "AVIGATE", **node}, "model", {})]


def test_config_rules_name_the_key() -> None:
    assert faults() == [] and faults(query_gate="scalar", dual_path=True) == []
    assert faults(width=10) == ["model.num_heads: 8 does not divide width 10"]
    assert faults(fusion_layers=0, max_frames="many") == [
        "model.fusion_layers: 0, expected an int of at least 1",
        "model.max_frames: 'many', expected an int of at least 1",
    ]
    (line, other) = faults(fusion_mix=1.5, decay_ffn=True)
    assert line.startswith("model.fusion_mix: 1.5") and other.startswith("model.decay_ffn: needs layer_decay")
    encoder = {"type": "Linear", "out_features": 256}
    assert faults(audio_encoder=encoder) == [
        "model.audio_encoder.out_features: 256, but the model's width is 512; they must be equal"
    ]
    assert faults(audio_encoder={"type": "TinyAudioEncoder"}) == [
        "model.audio_encoder.output_dim: 64, but the model's width is 512; they must be equal"
    ]
    with pytest.raises(ConfigError, match="num_heads: 3 does not divide width 8"):
        build_avigate(width=8, num_heads=3)
    with pytest.raises(ConfigError, match="fusion_layers: expected at least 1"):
        build_avigate(fusion_layers=0)


def test_the_host_is_built_from_the_registry() -> None:
    model = MODELS.build({"type": "gatefuse.AVIGATE", "width": 8, "num_heads": 2, "query_gate": "scalar"})
    assert model.text_conditioned and len(model.transformerClip.resblocks) == 4
