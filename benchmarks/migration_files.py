"""A checkpoint of gated-SPRC's size for ``migration.py``, and the options of a model that takes it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "configs" / "cirr_gated.py"
BLOCK = {
    **{f"norm{number}.{part}": (1408,) for number in (1, 2) for part in ("weight", "bias")},
    **{"attn.q_bias": (1408,), "attn.v_bias": (1408,), "attn.qkv.weight": (4224, 1408)},
    **{"attn.proj.weight": (1408, 1408), "attn.proj.bias": (1408,), "mlp.fc1.weight": (6144, 1408)},
    **{"mlp.fc1.bias": (6144,), "mlp.fc2.weight": (1408, 6144), "mlp.fc2.bias": (1408,)},
}


def options(gigabytes: float) -> list[str]:
    """``--cfg-options`` of the new model; for small files a Q-Former of two layers."""
    sizes = {"bert": None, "num_hidden_layers": 12 if gigabytes > 1.5 else 2, "vocab_size": 30523}
    return ["backbone=pretrain", *(f"backbones.pretrain.qformer.{name}={value}" for name, value in sizes.items())]


def make(path: Path, gigabytes: float) -> None:
    """Write an SPRC checkpoint of about ``gigabytes`` (10^9 bytes), weights seeded normal."""
    import torch

    import gatefuse_plugins.plugins  # noqa: F401  registers the host
    from gatefuse_plugins.checkpoints.migration.families import family_of
    from gatefuse_plugins.config import load_config

    model = load_config(CONFIG, [*options(gigabytes), "fusion=None"]).model.to_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in family_of(model).skeleton(model).state_dict().items()}
    sizes = [sum(torch.Size(shape).numel() for shape in part.values()) * 4 for part in (shapes, BLOCK)]
    for number in range(max(1, round((gigabytes * 1e9 - sizes[0]) / sizes[1]))):
        shapes |= {f"visual_encoder.blocks.{number}.{name}": shape for name, shape in BLOCK.items()}
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.arange(shape[-1]).expand(shape)
        if name.endswith("position_ids")
        else torch.randn(shape, generator=generator) * 0.02
        for name, shape in shapes.items()
    }
    torch.save({"epoch": 3, "Blip2QformerCirAlignPrompt": state}, path)
