"""Cost of the text-guided image fusion in a training step: gated against ungated, paired in one process.

python benchmarks/gate_overhead.py [--cases 768 1408 vit --batch-size 4 --rounds 6 --threads 2]

Both arms are one model whose fusion is put in and taken out, so weights, inputs and optimizer are the same. A step is
forward, backward and AdamW of the full-size Q-Former (12 layers of 768, from scratch), with 32 queries, 32 text tokens
and 257 image tokens. Cached features: the image tokens are given, as in training from a feature cache. With the ViT in
the loop: a random encoder of ViT-B's size (12 layers of 768, 257 tokens), far below EVA ViT-g, so the ratio is an upper
bound for that one. "pairs" is the median over the rounds of gated / ungated within a round.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table
from timing import Step, Timing, mebibytes, paired_ratio, time_paired, use_threads
from torch import Tensor

import gatefuse_plugins.plugins  # noqa: F401  registers the components that the configs name
from gatefuse_plugins.hosts.blip2_cir.model import Blip2ComposedRetrieval, build_blip2_composed_retrieval

IMAGE_TOKENS = 257
IMAGE_SIZE = 224
CAPTION = "make the small red circle large and put a blue square left of it , then remove the green triangle above"


@dataclass(frozen=True)
class Case:
    """One comparison: where the image tokens come from, their width D, and the most overhead allowed, percent."""

    name: str
    width: int
    vit_in_loop: bool
    target_percent: float


CASES = {
    "768": Case("768, cached", 768, False, 3.0),
    "1408": Case("1408, cached", 1408, False, 6.0),
    "vit": Case("768, ViT in the loop", 768, True, 2.0),
}


def build_model(case: Case) -> Blip2ComposedRetrieval:
    """The gated host with a full-size Q-Former from scratch; in train mode."""
    vision = {"type": "CachedVision", "num_features": case.width, "num_tokens": IMAGE_TOKENS}
    vision |= {"image_size": IMAGE_SIZE, "digest": "random"}
    if case.vit_in_loop:
        vision = {"type": "TinyPatchEncoder", "image_size": IMAGE_SIZE, "patch_size": 14, "width": case.width}
        vision |= {"depth": 12, "num_heads": 12}
    model = build_blip2_composed_retrieval(
        vision=vision,
        qformer={"type": "QFormer", "bert": None, "vocab_size": 30523},
        tokenizer={"type": "CaptionTokenizer", "vocabulary": "tiny", "max_length": 32, "padding": "max_length"},
        fusion={"type": "TextGuidedImageFusion"},
    )
    return model.train()


def training_steps(case: Case, batch_size: int) -> dict[str, Step]:
    """The arms ``ungated`` and ``gated`` over one model, one batch and one optimizer."""
    torch.manual_seed(0)
    model = build_model(case)
    fusion = model.fusion
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=1e-5,
        betas=(0.9, 0.98),
        weight_decay=0.05,
    )
    shape = (3, IMAGE_SIZE, IMAGE_SIZE) if case.vit_in_loop else (IMAGE_TOKENS, case.width)
    reference, target = torch.randn(2, batch_size, *shape)
    captions = [CAPTION] * batch_size

    def step(gated: bool) -> Tensor:
        model.fusion = fusion if gated else None
        losses = model(mode="loss", reference=reference, target=target, caption=captions)
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        optimizer.step()
        optimizer.zero_grad()  # here, not before: each call starts without gradients, so peaks of the arms compare
        return total.detach()

    return {"ungated": lambda: step(False), "gated": lambda: step(True)}


def overhead(timings: dict[str, Timing], case: Case) -> list[str]:
    """The table's row."""
    plain, gated = timings["ungated"], timings["gated"]
    by_pairs = 100 * (paired_ratio(gated, plain) - 1)
    by_minimum = 100 * (gated.fastest / plain.fastest - 1)
    return [
        case.name,
        f"{plain.median * 1e3:.0f}",
        f"{gated.median * 1e3:.0f}",
        f"{by_pairs:+.1f}",
        f"{by_minimum:+.1f}",
        f"{case.target_percent:.0f}",
        f"{mebibytes(plain.peak_bytes)} / {mebibytes(gated.peak_bytes)}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=tuple(CASES), default=list(CASES))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6, help="timed steps of each arm")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    args = parser.parse_args()
    use_threads(args.threads)
    # folding headers at 80 columns, as rich does in a pipe, would make the table unreadable
    console = Console(width=max(Console().width, 120))
    console.print(f"training step, batch {args.batch_size}, {torch.get_num_threads()} threads, {args.rounds} pairs")
    table = Table("width, image tokens")
    headers = ("ungated (ms)", "gated (ms)", "pairs (%)", "minima (%)", "target (%)", "peak (MiB)")
    for header in headers:
        table.add_column(header, justify="right")
    for name in args.cases:
        case = CASES[name]
        row = overhead(time_paired(training_steps(case, args.batch_size), args.rounds), case)
        console.print(f"{row[0]}: {row[3]} % by pairs")  # a case takes minutes
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
