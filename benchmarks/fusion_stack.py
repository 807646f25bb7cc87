"""The AVIGATE custom fusion stack against the naive way of computing it, same weights: ``fusion_stack.py``.

Naive, as the published code does it: value projection head by head, then stacked; each gate with a first layer of its
own; ReLU into new memory; refining attention through ``nn.MultiheadAttention`` with three separately normalised inputs
and returned weights. ``--refine shared`` gives the naive stack our refining attention, so that the ratio is that of the
gates and the value path alone.

Outputs and gradients are compared before anything is timed.
"""

from __future__ import annotations

import argparse

import torch
from rich.console import Console
from rich.table import Table
from timing import Step, mebibytes, time_paired, use_threads
from torch import Tensor, nn
from torch.nn import functional as F

from gatefuse_plugins.fusions import AvigateCustomFusion
from gatefuse_plugins.fusions.avigate_custom_gates import GATING_TYPES, AvigateGates
from gatefuse_plugins.fusions.avigate_custom_layer import AvigateCustomLayer
from gatefuse_plugins.gates.gate import masked_mean


def naive_gates(gates: AvigateGates, video: Tensor, audio: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Attention and FFN gate of the sigmoid generation, each from its own pass over the evidence."""
    values = []
    for head in (gates.mlp_mha, gates.mlp_ffn):
        if gates.options.gating_type == "global":
            evidence = torch.cat([masked_mean(video, mask), masked_mean(audio, mask)], dim=-1).unsqueeze(1)
        else:
            evidence = torch.cat([video, audio], dim=-1)
        values.append(head(evidence))
    attention = torch.sigmoid((values[0] + gates.mha_bias) / gates.options.mha_gate_temp) * gates.mha_scale
    return attention, torch.tanh(values[1]) * gates.ffn_alpha


def naive_value(layer: AvigateCustomLayer, audio: Tensor) -> Tensor:
    """Value projection as a loop over heads."""
    normed, width = layer.norm1(audio), audio.shape[-1] // layer.num_heads
    heads = [
        F.linear(normed, weight, bias)
        for weight, bias in zip(layer.a_proj.weight.split(width), layer.a_proj.bias.split(width), strict=True)
    ]
    return layer.out_proj(torch.stack(heads, dim=2).flatten(2))


def naive_feed_forward(layers: nn.Sequential, x: Tensor) -> Tensor:
    return layers[2](F.relu(layers[0](x)))


def naive_layer(
    layer: AvigateCustomLayer, video: Tensor, audio: Tensor, mask: Tensor, key_mask: Tensor | None
) -> Tensor:
    """One layer; ``key_mask`` set: the refining attention is ours."""
    attention_gate, ffn_gate = naive_gates(layer.gating_function, video, audio, mask)
    z = video + attention_gate * layer.delta_norm_mha(naive_value(layer, audio))
    z = z + ffn_gate * layer.delta_norm_ffn(naive_feed_forward(layer.ffn1, layer.norm2(z)))
    if key_mask is None:
        query, key, value = layer.norm3(z), layer.norm3(z), layer.norm3(z)
        z = z + layer.self_attention(query, key, value, key_padding_mask=~mask)[0]
    else:
        z = z + layer._refine(layer.norm3(z), key_mask)
    return z + naive_feed_forward(layer.ffn2, layer.norm4(z))


def stacks(args: argparse.Namespace, gating_type: str, dtype: torch.dtype) -> tuple[nn.Module, dict[str, Step]]:
    """The fusion, and both arms as forward passes over one batch with padding."""
    torch.manual_seed(0)
    fusion = AvigateCustomFusion(args.dim, args.layers, args.heads, gating_type).to(dtype)
    video, audio = torch.randn(2, args.batch_size, args.clips, args.dim, dtype=dtype)
    lengths = torch.randint(args.clips // 2, args.clips + 1, (args.batch_size, 1))
    mask = torch.arange(args.clips) < lengths
    video, audio = (stream * mask.unsqueeze(-1) for stream in (video, audio))
    video.requires_grad_()
    key_mask = mask[:, None, None, :] if args.refine == "shared" else None

    def naive() -> Tensor:
        x = video
        for layer in fusion.fusion_layers:
            x = naive_layer(layer, x, audio, mask, key_mask)
        return x[mask]

    return fusion, {"naive": naive, "fused": lambda: fusion(video, audio, x_mask=mask, context_mask=mask)[mask]}


def check_equal(fusion: nn.Module, arms: dict[str, Step]) -> None:
    """Both arms give the same outputs and parameter gradients; to be asked in float64, where rounding hides nothing."""
    found = {}
    for name, arm in arms.items():
        fusion.zero_grad()
        output = arm()
        output.square().mean().backward()
        found[name] = [output.detach(), *(parameter.grad.clone() for parameter in fusion.parameters())]
    for naive, fused in zip(found["naive"], found["fused"], strict=True):
        distance = ((fused - naive).norm() / naive.norm()).item()
        if not distance < 1e-6:  # gradients of gate heads are small differences of large terms
            raise RuntimeError(f"the arms differ: relative distance {distance:.1e} in a tensor {tuple(naive.shape)}")


def measured(fusion: nn.Module, arms: dict[str, Step], train: bool) -> dict[str, Step]:
    """Arms as what is timed: a training step without optimizer, or inference."""

    def step(arm: Step) -> None:
        fusion.zero_grad()
        arm().square().mean().backward()

    def infer(arm: Step) -> None:
        with torch.inference_mode():
            arm()

    run = step if train else infer
    return {name: lambda arm=arm: run(arm) for name, arm in arms.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("dim", 256), ("layers", 4), ("heads", 8), ("batch-size", 32), ("clips", 75), ("rounds", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--refine", choices=("published", "shared"), default="published")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    args = parser.parse_args()
    use_threads(args.threads)
    title = f"{args.layers} layers, batch {args.batch_size} x {args.clips} clips, {torch.get_num_threads()} threads"
    table = Table("gates", "pass", title=title)
    for header in ("naive (ms)", "fused (ms)", "ratio, medians", "ratio, minima", "peak (MiB), naive / fused"):
        table.add_column(header, justify="right")
    for gating_type in GATING_TYPES:
        check_equal(*stacks(args, gating_type, torch.float64))
        fusion, arms = stacks(args, gating_type, torch.float32)
        for train in (True, False):
            timings = time_paired(measured(fusion.train(train), arms, train), args.rounds)
            naive, fused = timings["naive"], timings["fused"]
            table.add_row(
                gating_type,
                "training" if train else "inference",
                f"{naive.median * 1e3:.0f}",
                f"{fused.median * 1e3:.0f}",
                f"{naive.median / fused.median:.2f}",
                f"{naive.fastest / fused.fastest:.2f}",
                f"{mebibytes(naive.peak_bytes)} / {mebibytes(fused.peak_bytes)}",
            )
    Console(width=max(Console().width, 120)).print(table)  # rich folds headers at 80 columns in a pipe


if __name__ == "__main__":
    main()
