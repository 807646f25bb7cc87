"""Upstream's transformer formulas on plain dicts of tensors, for tests of what renamed weights compute."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

HEADS = 2
State = dict[str, Tensor]


def random_state(shapes: dict[str, tuple[int, ...]]) -> State:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def attention(x: Tensor, w: Tensor, b: Tensor, out_w: Tensor, out_b: Tensor, causal: bool) -> Tensor:
    q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in F.linear(x, w, b).chunk(3, dim=-1))
    return F.linear(F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2), out_w, out_b)


def norm(x: Tensor, state: State, name: str, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)


def clip_layers(prefix: str, width: int = 8) -> dict[str, tuple[int, ...]]:
    inner = {"attn.in_proj_weight": (3 * width, width), "attn.in_proj_bias": (3 * width,)}
    inner |= {"attn.out_proj.weight": (width, width), "attn.out_proj.bias": (width,)}
    inner |= {f"{norm}.{part}": (width,) for norm in ("ln_1", "ln_2") for part in ("weight", "bias")}
    inner |= {"mlp.c_fc.weight": (4 * width, width), "mlp.c_fc.bias": (4 * width,)}
    inner |= {"mlp.c_proj.weight": (width, 4 * width), "mlp.c_proj.bias": (width,)}
    return {f"{prefix}.{layer}.{name}": shape for layer in range(2) for name, shape in inner.items()}


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
