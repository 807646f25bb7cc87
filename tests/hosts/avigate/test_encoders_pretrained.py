"""CLIP: sizes, local weights, and upstream's parameter names against upstream's formulas; the real profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from upstream_formulas import clip_layers, clip_transformer, load, norm, random_state

from gatefuse_plugins.config import load_config
from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError
from gatefuse_plugins.hosts.avigate import build_avigate
from gatefuse_plugins.hosts.avigate.encoders import (
    CLIPFrameEncoder,
    CLIPTextEncoder,
    migrate_clip4clip,
)

pytest.importorskip("transformers", reason="CLIP comes through transformers (extra 'encoders')")

SMALL = {"output_dim": 6, "hidden_dim": 8, "depth": 2, "num_heads": 2}
FRAMES = {**SMALL, "patch_size": 4, "image_size": 8}
AUDIO = {**SMALL, "num_mel_bins": 8, "max_length": 20, "patch_size": 4, "stride": 3}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    tokens = ["!", *"abcdo", *(f"{letter}</w>" for letter in "abcdo"), "do", "dog</w>", "g</w>"]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nd o\ndo g</w>\n")
    return folder


def text_encoder(vocabulary: Path, **options) -> CLIPTextEncoder:
    torch.manual_seed(0)
    return CLIPTextEncoder(str(vocabulary), **SMALL, vocab_size=20, max_positions=9, **{"context_length": 6, **options})


def test_frames_from_upstreams_names_follow_upstreams_formulas() -> None:
    shapes = {"clip.visual.class_embedding": (8,), "clip.visual.positional_embedding": (5, 8)}
    shapes |= {"clip.visual.conv1.weight": (8, 3, 4, 4), "clip.visual.proj": (8, 6)}
    shapes |= {f"clip.visual.{n}.{p}": (8,) for n in ("ln_pre", "ln_post") for p in ("weight", "bias")}
    s = random_state(shapes | clip_layers("clip.visual.transformer.resblocks"))
    migrated, dropped = migrate_clip4clip(s)
    encoder = CLIPFrameEncoder(**FRAMES)
    load(encoder, "frame_encoder", migrated)
    images = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    x = F.conv2d(images, s["clip.visual.conv1.weight"], stride=4).flatten(2).transpose(1, 2)
    x = torch.cat([s["clip.visual.class_embedding"].expand(3, 1, 8), x], dim=1) + s["clip.visual.positional_embedding"]
    x = clip_transformer(norm(x, s, "clip.visual.ln_pre"), s, "clip.visual.transformer.resblocks", causal=False)
    expected = norm(x, s, "clip.visual.ln_post")[:, 0] @ s["clip.visual.proj"]
    torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-5)
    assert dropped == {} and encoder.output_dim == 6


def test_captions_from_upstreams_names_follow_upstreams_formulas(vocabulary: Path) -> None:
    shapes = {"clip.token_embedding.weight": (20, 8), "clip.positional_embedding": (9, 8)}
    shapes |= {"clip.ln_final.weight": (8,), "clip.ln_final.bias": (8,), "clip.text_projection": (8, 6)}
    s = random_state(shapes | clip_layers("clip.transformer.resblocks"))
    encoder = text_encoder(vocabulary)
    load(encoder, "text_encoder", migrate_clip4clip(s)[0])
    ids = torch.tensor([[14, 12, 15], [14, 6, 15]])  # start, "dog" or "a", end
    x = s["clip.token_embedding.weight"][ids] + s["clip.positional_embedding"][:3]
    x = clip_transformer(x, s, "clip.transformer.resblocks", causal=True)
    expected = norm(x, s, "clip.ln_final") @ s["clip.text_projection"]
    torch.testing.assert_close(encoder(["dog", "a"]), expected[:, 2:], rtol=1e-4, atol=1e-5)
    # a longer neighbour pads the others, which must not show
    torch.testing.assert_close(encoder(["dog", "a b c"])[0], expected[0, 2:], rtol=1e-4, atol=1e-5)


def test_names_outside_the_tables_raise_and_absent_parts_are_dropped() -> None:
    with pytest.raises(CheckpointError, match=r"2 encoder parameters .*did you mean 'clip.visual.conv1.weight'"):
        names = ("clip.visual.conv9.weight", "clip.visual.transformer.resblocks.0.x.y")
        migrate_clip4clip({name: torch.zeros(1) for name in names})
    state = {"clip.logit_scale": torch.zeros(()), "query_tokens": torch.zeros(2), "clip.ln_final.bias": torch.zeros(3)}
    migrated, dropped = migrate_clip4clip(state, parts=("frame_encoder",))
    assert set(migrated) == {"clip.logit_scale", "query_tokens"}
    assert dropped == {"clip.ln_final.bias": "the model has no text_encoder that it belongs to"}


def test_long_captions_keep_their_end_token_and_are_counted(vocabulary: Path, capsys) -> None:
    encoder = text_encoder(vocabulary, tokens=True)
    captions = ["dog", "a b c d o a b c", "b b b b b b b b"]
    assert encoder.token_mask(captions).sum(1).tolist() == [3, 6, 6] and encoder.cut_captions == 2
    assert encoder(captions).shape == (3, 6, 6)
    assert encoder._tokenize(captions)[0][1, -1] == 15
    assert capsys.readouterr().out.count("cut to 6") == 1
    assert torch.isfinite(encoder(["", "犬が吠える"])).all()


def test_local_weights_load_whole_or_not_at_all(tmp_path: Path, vocabulary: Path) -> None:
    first = CLIPFrameEncoder(**FRAMES)
    first.model.save_pretrained(tmp_path / "clip")
    second = CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)
    with pytest.raises(ConfigError, match=r"patch_size is 4, given 2"):
        CLIPFrameEncoder(**(FRAMES | {"patch_size": 2}), weights=str(tmp_path / "clip"))
    # a release of transformers writes one of the two
    file = next(path for path in (tmp_path / "clip").iterdir() if path.suffix in (".bin", ".safetensors"))
    safe = file.suffix == ".safetensors"
    state = load_file(file) if safe else torch.load(file, weights_only=True)
    kept = {name: value for name, value in state.items() if "post_layernorm" not in name}
    assert len(kept) == len(state) - 2
    if safe:
        save_file(kept, file, metadata={"format": "pt"})
    else:
        torch.save(kept, file)
    with pytest.raises(CheckpointError, match="lack 2 of the encoder's"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    file.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    file.unlink()
    with pytest.raises(WeightsUnavailableError, match="lacks any of pytorch_model.bin"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    with pytest.raises(WeightsUnavailableError, match="is no folder"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "absent"))
    (vocabulary / "merges.txt").unlink()
    with pytest.raises(WeightsUnavailableError, match="lacks merges.txt"):
        text_encoder(vocabulary)


def test_the_activation_is_that_of_the_folder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = CLIPFrameEncoder(**FRAMES)
    first.model.config.hidden_act = "gelu"  # as in conversions of OpenCLIP's weights
    first.model.save_pretrained(tmp_path)
    loaded = CLIPFrameEncoder(**FRAMES, weights=str(tmp_path)).eval()
    images = torch.randn(2, 3, 8, 8)
    quick = first.eval()(images)
    for layer in first.model.vision_model.encoder.layers:
        layer.mlp.activation_fn = torch.nn.GELU()
    torch.testing.assert_close(loaded(images), first(images))
    assert not torch.allclose(quick, first(images), atol=1e-4)


def test_sizes_that_do_not_fit_are_told(vocabulary: Path) -> None:
    with pytest.raises(ConfigError, match="nearest: 8"):
        CLIPFrameEncoder(**(FRAMES | {"image_size": 9}))
    with pytest.raises(ConfigError, match="max_positions=9"):
        text_encoder(vocabulary, context_length=10)


def test_the_real_profile_freezes_and_slows_what_upstream_does(vocabulary: Path) -> None:
    real = load_config(ROOT / "configs/msrvtt_avigate.py", ["profile=real"]).profiles.real
    text = {**SMALL, "vocabulary": str(vocabulary), "vocab_size": 20, "max_positions": 9, "context_length": 6}
    model = build_avigate(
        width=6,
        num_heads=2,
        resampler_layers=1,
        fusion_layers=1,
        frame_encoder={"type": "gatefuse.CLIPFrameEncoder", **FRAMES},
        text_encoder={"type": "gatefuse.CLIPTextEncoder", **text},
        audio_encoder={"type": "gatefuse.ASTAudioEncoder", **AUDIO},
        frozen=real.frozen,
    )
    parameters = dict(model.named_parameters())
    frozen = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    trained = {name.split(".layers.")[0] for name in parameters.keys() - frozen if "_encoder." in name}
    assert {name.removeprefix("audio_encoder.") for name in trained if name.startswith("audio")} == {
        "model.layernorm.weight", "model.layernorm.bias", "projection.weight"
    }  # fmt: skip
    assert {"frame_encoder.model.vision_model.encoder", "text_encoder.model.text_model.encoder"} <= trained
    assert not any("embeddings" in name or "pre_layrnorm" in name for name in trained)
    for key in real.paramwise.custom_keys:
        assert any(key in name for name in parameters), key
    groups = DefaultOptimWrapperConstructor(
        {"type": "OptimWrapper", "optimizer": {"type": "AdamW", "lr": real.lr, "weight_decay": 0.2}}, real.paramwise
    )(model).optimizer.param_groups
    rates = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert rates[id(model.query_tokens)] == pytest.approx(1e-2)
    assert rates[id(model.audio_encoder.projection.weight)] == pytest.approx(1e-4)
    assert rates[id(model.audio_encoder.model.layernorm.weight)] == pytest.approx(1e-7)
    assert rates[id(model.clip.logit_scale)] == pytest.approx(1e-7)
