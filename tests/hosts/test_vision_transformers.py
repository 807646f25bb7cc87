"""EVA and CLIP: LAVIS's numbers from LAVIS's state dict, and the files that they are loaded from."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.errors import CheckpointError, ConfigError
from gatefuse_plugins.hosts.blip2_cir import build_clip_vit_l, build_eva_vit_g
from gatefuse_plugins.hosts.blip2_cir.vision import pretrained
from gatefuse_plugins.hosts.blip2_cir.vision.clip import ClipVisionTransformer
from gatefuse_plugins.hosts.blip2_cir.vision.eva import EvaVisionTransformer

PATCH, WIDTH, HEADS, DEPTH = 14, 16, 2, 2
SMALL_EVA = partial(EvaVisionTransformer, width=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_width=int(WIDTH * 4.3637))
SMALL_CLIP = partial(ClipVisionTransformer, width=WIDTH, num_heads=HEADS)


def stir(model: nn.Module) -> nn.Module:
    """Every parameter away from where it starts."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model.eval()


def images(size: int = 28) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_eva_gives_laviss_numbers() -> None:
    eva_vit = pytest.importorskip("lavis.models.eva_vit", reason="compares with LAVIS's class")
    theirs = eva_vit.VisionTransformer(
        img_size=28,
        patch_size=PATCH,
        embed_dim=WIDTH,
        depth=DEPTH,
        num_heads=HEADS,
        mlp_ratio=4.3637,
        qkv_bias=True,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
    )
    stir(theirs)
    ours = SMALL_EVA(28).eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours(images()), theirs(images()), rtol=1e-4, atol=1e-5)


def test_clip_gives_laviss_numbers() -> None:
    clip_vit = pytest.importorskip("lavis.models.clip_vit", reason="compares with LAVIS's class")
    theirs = clip_vit.VisionTransformer(28, PATCH, WIDTH, DEPTH + 1, HEADS, use_grad_checkpointing=False)
    stir(theirs)
    theirs.transformer.resblocks = theirs.transformer.resblocks[:DEPTH]
    ours = SMALL_CLIP(28, depth=DEPTH).eval()
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours(images()), theirs(images()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("build", "name", "small", "positions"),
    [
        (build_eva_vit_g, "EvaVisionTransformer", SMALL_EVA, "pos_embed"),
        (partial(build_clip_vit_l, blocks=DEPTH), "ClipVisionTransformer", SMALL_CLIP, "positional_embedding"),
    ],
    ids=["eva", "clip"],
)
def test_published_files_load_at_another_size(
    build: partial, name: str, small: partial, positions: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # published files hold one more block than is used, and a head
    monkeypatch.setattr(pretrained, name, small)
    source = stir(small(28, depth=DEPTH + 1))
    file = tmp_path / "weights.pth"
    torch.save({**source.state_dict(), "head.weight": torch.zeros(3)}, file)
    monkeypatch.setattr(pretrained, name, partial(small, depth=DEPTH) if name.startswith("Eva") else small)
    encoder = build(28, str(file), "fp32")
    assert (encoder.num_tokens, encoder.precision, encoder.training) == (5, "fp32", False)
    assert all(torch.equal(value, source.state_dict()[key]) for key, value in encoder.state_dict().items())
    larger = build(42, str(file), "fp32")
    assert larger(images(42)).shape == (2, 10, WIDTH)
    old, new = (model.state_dict()[positions].reshape(-1, WIDTH) for model in (source, larger))
    assert torch.equal(new[0], old[0])
    corners = name.startswith("Clip")
    grid = F.interpolate(old[1:].T.reshape(1, WIDTH, 2, 2), size=(3, 3), mode="bicubic", align_corners=corners)
    torch.testing.assert_close(new[1:].T.reshape(1, WIDTH, 3, 3), grid)


def test_a_file_without_all_weights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "EvaVisionTransformer", SMALL_EVA)
    state = SMALL_EVA(28).state_dict()
    del state["blocks.1.attn.q_bias"]
    torch.save(state, tmp_path / "eva_vit_g.pth")
    with pytest.raises(CheckpointError, match=r"eva_vit_g\.pth' lacks 1 of the encoder's weights: .*q_bias"):
        build_eva_vit_g(28, str(tmp_path / "eva_vit_g.pth"))


def test_weights_of_other_shapes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "ClipVisionTransformer", SMALL_CLIP)
    file = tmp_path / "clip_vit_L.pth"
    torch.save(ClipVisionTransformer(28, PATCH, width=2 * WIDTH, num_heads=HEADS, depth=DEPTH).state_dict(), file)
    with pytest.raises(CheckpointError, match=r"class_embedding is \(32,\), expected \(16,\)"):
        build_clip_vit_l(28, str(file), blocks=DEPTH)
    state = SMALL_CLIP(28, depth=DEPTH).state_dict()
    torch.save({**state, "positional_embedding": torch.zeros(7, WIDTH)}, file)
    with pytest.raises(CheckpointError, match=r"is \(7, 16\), expected 1 \+ n \* n tokens of 16"):
        build_clip_vit_l(28, str(file), blocks=DEPTH)


def test_an_unreadable_file_and_an_unknown_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "EvaVisionTransformer", SMALL_EVA)
    file = tmp_path / "eva_vit_g.pth"
    file.write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match=r"eva_vit_g\.pth' cannot be read"):
        build_eva_vit_g(28, str(file))
    torch.save([1.0], file)
    with pytest.raises(CheckpointError, match="holds a list, expected tensors by name"):
        build_eva_vit_g(28, str(file))
    with pytest.raises(ConfigError, match=r"model\.vision\.precision 'fp61' is unknown; did you mean 'fp16'"):
        build_eva_vit_g(28, str(tmp_path / "absent.pth"), "fp61")
