"""AST: upstream's formulas from upstream's names, masks, and names that stay."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from upstream_formulas import attention, load, norm, random_state

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.avigate.encoders import ASTAudioEncoder, migrate_clip4clip

AUDIO = {"output_dim": 6, "hidden_dim": 8, "depth": 2, "num_heads": 2}
AUDIO |= {"num_mel_bins": 8, "max_length": 20, "patch_size": 4, "stride": 3}
LAYER = [f"attention.attention.{name}" for name in ("query", "key", "value")]
LAYER += ["attention.output.dense", "intermediate.dense", "output.dense", "layernorm_before", "layernorm_after"]


def test_parameter_names_and_their_order_are_those_of_transformers_4() -> None:
    ends = [f"model.embeddings.{name}" for name in ("cls_token", "distillation_token", "position_embeddings")]
    ends += [f"model.embeddings.patch_embeddings.projection.{part}" for part in ("weight", "bias")]
    inner = [f"{name}.{part}" for name in LAYER for part in ("weight", "bias")]
    layers = [f"model.encoder.layer.{layer}.{name}" for layer in (0, 1) for name in inner]
    last = ["model.layernorm.weight", "model.layernorm.bias", "projection.weight"]
    assert list(ASTAudioEncoder(**AUDIO).state_dict()) == ends + layers + last


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


def test_sizes_that_do_not_divide_are_told() -> None:
    with pytest.raises(ConfigError, match=r"hidden_dim=9 is no multiple of num_heads=2; nearest: 8"):
        ASTAudioEncoder(**(AUDIO | {"hidden_dim": 9}))
    with pytest.raises(ConfigError, match=r"patch_size=9 exceeds .*; largest: 8"):
        ASTAudioEncoder(**(AUDIO | {"patch_size": 9}))
