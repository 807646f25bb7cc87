"""CLIP and AST: sizes, local weights, and upstream's parameter names against upstream's formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import Tensor
from torch.nn import functional as F

from gatefuse_plugins.config import load_config
from gatefuse_plugins.errors import CheckpointError, ConfigError, WeightsUnavailableError
from gatefuse_plugins.hosts.avigate import build_avigate
from gatefuse_plugins.hosts.avigate.encoders import (
    ASTAudioEncoder,
    CLIPFrameEncoder,
    CLIPTextEncoder,
    migrate_clip4clip,
)

pytest.importorskip("transformers", reason="CLIP and AST come through transformers (extra 'lavis')")

SMALL = {"output_dim": 6, "hidden_dim": 8, "depth": 2, "num_heads": 2}
FRAMES = {**SMALL, "patch_size": 4, "image_size": 8}
AUDIO = {**SMALL, "num_mel_bins": 8, "max_length": 20, "patch_size": 4, "stride": 3}
HEADS = 2
ROOT = Path(__file__).resolve().parents[3]
State = dict[str, Tensor]


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


def random_state(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def clip_layers(prefix: str, width: int = 8) -> dict[str, tuple[int, ...]]:
    inner = {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
    inner |= {"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)}
    inner |= {f"{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
    inner |= {"mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,)}
    inner |= {"mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,)}
    return {f"{prefix}.{layer}.{name}": shape for layer in range(2) for name, shape in inner.items()}


def attention(x: Tensor, w: Tensor, b: Tensor, out_w: Tensor, out_b: Tensor, causal: bool) -> Tensor:
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in F.linear(x, w, b).chunk(3, dim=-1))
    return F.linear(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2), out_w, out_b)


def norm(x: Tensor, state: State, name: str, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def clip_transformer(x: Tensor, s: State, prefix: str, causal: bool) -> Tensor:
    for p in (f"{prefix}.0", f"{prefix}.1"):
        joint = (s[f"{p}.attn.in_proj_weight"], s[f"{p}.attn.in_proj_bias"])
        out = (s[f"{p}.attn.out_proj.weight"], s[f"{p}.attn.out_proj.bias"])
        x = x + attention(norm(x, s, f"{p}.ln_1"), *joint, *out, causal)
        hidden = F.linear(norm(x, s, f"{p}.ln_2"), s[f"{p}.mlp.c_fc.weight"], s[f"{p}.mlp.c_fc.bias"])
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        x = x + F.linear(hidden, s[f"{p}.mlp.c_proj.weight"], s[f"{p}.mlp.c_proj.bias"])
    return x


def load(module: torch.nn.Module, part: str, state: State) -> None:
    """Every key finds its place, but for buffers of positions that transformers keeps."""
    found = {name.removeprefix(f"{part}."): value for name, value in state.items()}
    positions = {name: value for name, value in module.state_dict().items() if name.endswith("position_ids")}
    module.load_state_dict(found | positions)
    module.eval()


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


def test_sound_from_upstreams_names_follows_upstreams_formulas() -> None:
    bands, times = 2, 6
    v = "clip.audio.v"
    shapes: dict[str, tuple[int, ...]] = {f"{v}.cls_token": (1, 1, 8), f"{v}.dist_token": (1, 1, 8)}
    shapes |= {f"{v}.pos_embed": (1, 2 + bands * times, 8), f"{v}.patch_embed.proj.weight": (8, 1, 4, 4)}
    shapes |= {f"{v}.patch_embed.proj.bias": (8,), "clip.audio_projection": (8, 6), f"{v}.head.weight": (5, 8)}
    shapes |= {f"{v}.norm.weight": (8,), f"{v}.norm.bias": (8,), "clip.audio.mlp_head.0.weight": (8,)}
    for layer in (f"{v}.blocks.0", f"{v}.blocks.1"):
        shapes |= {f"{layer}.attn.qkv.weight": (24, 8), f"{layer}.attn.qkv.bias": (24,)}
        shapes |= {f"{layer}.attn.proj.weight": (8, 8), f"{layer}.attn.proj.bias": (8,)}
        shapes |= {f"{layer}.{n}.{p}": (8,) for n in ("norm1", "norm2") for p in ("weight", "bias")}
        shapes |= {f"{layer}.mlp.fc1.weight": (32, 8), f"{layer}.mlp.fc1.bias": (32,)}
        shapes |= {f"{layer}.mlp.fc2.weight": (8, 32), f"{layer}.mlp.fc2.bias": (8,)}
    s = random_state(shapes)
    migrated, dropped = migrate_clip4clip(s)
    assert set(dropped) == {f"{v}.head.weight", "clip.audio.mlp_head.0.weight"}
    encoder = ASTAudioEncoder(**AUDIO)
    load(encoder, "audio_encoder", migrated)
    sound = torch.randn(2, 20, 8, generator=torch.Generator().manual_seed(1))
    x = F.conv2d(sound.transpose(1, 2)[:, None], s[f"{v}.patch_embed.proj.weight"], s[f"{v}.patch_embed.proj.bias"], 3)
    tokens = [s[f"{v}.cls_token"].expand(2, 1, 8), s[f"{v}.dist_token"].expand(2, 1, 8), x.flatten(2).transpose(1, 2)]
    x = torch.cat(tokens, dim=1) + s[f"{v}.pos_embed"]
    for p in (f"{v}.blocks.0", f"{v}.blocks.1"):
        weights = [s[f"{p}.attn.{n}.{k}"] for n in ("qkv", "proj") for k in ("weight", "bias")]
        x = x + attention(norm(x, s, f"{p}.norm1", 1e-6), *weights, causal=False)
        hidden = F.gelu(F.linear(norm(x, s, f"{p}.norm2", 1e-6), s[f"{p}.mlp.fc1.weight"], s[f"{p}.mlp.fc1.bias"]))
        x = x + F.linear(hidden, s[f"{p}.mlp.fc2.weight"], s[f"{p}.mlp.fc2.bias"])
    x = torch.cat([x[:, :2].mean(1, keepdim=True), x[:, 2:]], dim=1)
    expected = norm(x, s, f"{v}.norm", 1e-6) @ s["clip.audio_projection"]
    torch.testing.assert_close(encoder(sound), expected, rtol=1e-4, atol=1e-5)


def test_audio_token_mask_covers_the_patches_of_valid_frames() -> None:
    encoder = ASTAudioEncoder(**AUDIO)
    mask = torch.arange(20) < torch.tensor([[0], [4], [20]])
    found = encoder.token_mask(mask)
    assert found.shape == encoder(torch.zeros(3, 20, 8)).shape[:2]
    over_time = [True, True, False, False, False, False]  # patches start at frames 0, 3, 6 ..
    assert found.tolist() == [[False] * 13, [True, *over_time, *over_time], [True] * 13]
    with pytest.raises(ValueError, match=r"expected \(B, 20, 8\)"):
        encoder(torch.zeros(1, 21, 8))


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
    file = next(path for path in (tmp_path / "clip").iterdir() if path.suffix == ".bin")
    state = torch.load(file)
    torch.save({name: value for name, value in state.items() if "post_layernorm" not in name}, file)
    with pytest.raises(CheckpointError, match="lack 2 of the encoder's"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    file.write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    file.unlink()
    with pytest.raises(WeightsUnavailableError, match="lacks any of pytorch_model.bin"):
        CLIPFrameEncoder(**FRAMES, weights=str(tmp_path / "clip"))
    with pytest.raises(WeightsUnavailableError, match="is no folder"):
        ASTAudioEncoder(**AUDIO, weights=str(tmp_path / "absent"))
    (vocabulary / "merges.txt").unlink()
    with pytest.raises(WeightsUnavailableError, match="lacks merges.txt"):
        text_encoder(vocabulary)


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
