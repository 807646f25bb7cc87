"""Scoring texts against videos with AVIGATE: all pairs in chunks against a loop over pairs, and what two stages lose.

python benchmarks/avigate_scoring.py [--parts all_pairs text_free two_stage memory --widths 512 64 --threads 1]

Random weights and features: 12 frames, 12 audio tokens after the resampler, 4 blocks, heads of 64. Parts:

all_pairs  text-conditioned scores of a block of texts x videos, ``score_all_pairs`` against a loop that gives each pair
           to the model alone. Both get the resampled audio. The loop runs on ``--loop-pairs`` pairs and is scaled up.
text_free  text-free scores of the same block: each video fused once, against fusing it again for every text.
two_stage  recall@10 of ``two_stage_scores`` (k = 50) against all pairs; texts share some direction with their video.
memory     peak of ``score_all_pairs``: at width 64 for ``--grid`` texts and videos with its default bound, and for some
           of them with one of 4 GiB, which is filled; and what the fused query adds at width 512.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from timing import Step, mebibytes, paired_ratio, peak_bytes, time_paired, use_threads

from gatefuse_plugins.evaluation.recall import recall_at, target_ranks
from gatefuse_plugins.hosts.avigate import (
    AVIGATE,
    EncodedTexts,
    EncodedVideos,
    build_avigate,
    score_all_pairs,
    text_free_scores,
    two_stage_scores,
)
from gatefuse_plugins.hosts.avigate.similarity import pair_similarity, text_vectors, video_vectors

FRAMES = AUDIO = 12
BOUND = 4 << 30
PARTS = ("all_pairs", "text_free", "two_stage", "memory")
TARGETS = {512: 2.0, 64: 5.0}


def make_model(width: int, **options: object) -> AVIGATE:
    torch.manual_seed(0)
    return build_avigate(width=width, num_heads=max(1, width // 64), resampler_layers=1, **options).eval()  # type: ignore[arg-type]


def make_sets(width: int, texts: int, videos: int, likeness: float = 0.0) -> tuple[EncodedTexts, EncodedVideos]:
    """Random sets; text i shares ``likeness`` of its direction with the frames of video i."""
    frames = torch.randn(videos, FRAMES, width)
    tokens = torch.randn(texts, 1, width)
    if likeness:
        tokens = likeness * frames[:texts].mean(dim=1, keepdim=True) * FRAMES**0.5 + (1 - likeness) * tokens
    valid = torch.ones(max(texts, videos), FRAMES, dtype=torch.bool)
    encoded = EncodedVideos(frames, valid[:videos], torch.randn(videos, AUDIO, width), valid[:videos, 0])
    return EncodedTexts(tokens, valid[:texts, :1]), encoded


def loop_over_pairs(model: AVIGATE, texts: EncodedTexts, videos: EncodedVideos, pairs: int, conditioned: bool) -> None:
    """``pairs`` pairs along the rows of the grid, each through the whole forward."""
    for pair in range(pairs):
        row, column = divmod(pair, len(videos))
        text, video = texts[row : row + 1], videos[column : column + 1]
        vectors = video_vectors(model.fuse(video, text if conditioned else None), video.mask)
        pair_similarity(text_vectors(text.tokens, text.mask), vectors, model.scale)


def speed_row(name: str, width: int, model: AVIGATE, args: argparse.Namespace, conditioned: bool) -> list[str]:
    """One comparison of the loop and the whole block, both scaled to a pair."""
    texts, videos = make_sets(width, args.block, args.block)
    arms: dict[str, Step] = {
        "loop": lambda: loop_over_pairs(model, texts, videos, args.loop_pairs, conditioned),
        "block": lambda: (score_all_pairs if conditioned else text_free_scores)(model, texts, videos),
    }
    timings = time_paired(arms, args.rounds)
    ratio = paired_ratio(timings["loop"], timings["block"]) * args.block**2 / args.loop_pairs
    target = TARGETS.get(width, 1.0) if conditioned else 10.0
    return [
        f"{name}, width {width}",
        f"{timings['loop'].median / args.loop_pairs * 1e3:.3f}",
        f"{timings['block'].median / args.block**2 * 1e3:.4f}",
        f"{ratio:.1f}",
        f"{target:.0f}",
        mebibytes(timings["block"].peak_bytes),
    ]


def speed_table(args: argparse.Namespace) -> Table:
    title = f"{args.block} x {args.block} pairs, {torch.get_num_threads()} threads, {args.rounds} rounds"
    table = Table("scores", title=title)
    for header in ("loop, a pair (ms)", "ours, a pair (ms)", "ratio", "target", "peak (MiB)"):
        table.add_column(header, justify="right")
    for width in args.widths:
        if "all_pairs" in args.parts:
            table.add_row(*speed_row("text-conditioned", width, make_model(width, query_gate="scalar"), args, True))
        if "text_free" in args.parts:
            table.add_row(*speed_row("text-free", width, make_model(width), args, False))
    return table


def recall_at_10(scores: torch.Tensor) -> float:
    return recall_at(target_ranks(scores.numpy(), np.arange(len(scores))), [10])[0]


def two_stage_table(args: argparse.Namespace) -> Table:
    """Recall@10 of both ways; at a mix of 1 the text matters most, 0.05 is the model's own."""
    table = Table("fusion mix", title=f"{args.queries} queries, {args.gallery} videos, width 64, k = {args.k}")
    for header in ("free R@10", "2-stage R@10", "all R@10", "lost", "text shifts (std)", "2-stage (s)", "all (s)"):
        table.add_column(header, justify="right")
    for mix in (0.05, 1.0):
        model = make_model(64, query_gate="scalar", fusion_mix=mix)
        for parameter in model.transformerClip.parameters():
            parameter.add_(torch.randn_like(parameter) * args.spread)  # at their start gates are all but closed
        texts, videos = make_sets(64, args.queries, args.gallery, likeness=0.3)
        free = text_free_scores(model, texts, videos)
        start = time.perf_counter()
        staged = two_stage_scores(model, texts, videos, args.k)
        middle = time.perf_counter()
        every = score_all_pairs(model, texts, videos)
        seconds = (middle - start, time.perf_counter() - middle)
        recalls = [recall_at_10(scores) for scores in (free, staged, every)]
        shift = float((every - free).std() / every.std())
        figures = (*recalls, recalls[2] - recalls[1], shift, *seconds)
        table.add_row(f"{mix}", *(f"{figure:.2f}" for figure in figures))
    return table


def memory_table(args: argparse.Namespace) -> Table:
    table = Table("scores", title="peak of temporaries and result")
    for header in ("pairs", "bound (MiB)", "peak (MiB)", "seconds"):
        table.add_column(header, justify="right")
    part, small = min(args.grid, 300), min(args.grid, 40)
    cases: list[tuple[str, int, dict, int, int | None]] = [
        ("scalar query gate, width 64", 64, {"query_gate": "scalar"}, args.grid, None),
        ("scalar query gate, width 64", 64, {"query_gate": "scalar"}, part, BOUND),
        ("text gates alone, width 512", 512, {"text_gates": True}, small, BOUND),
        ("scalar query gate, width 512", 512, {"query_gate": "scalar"}, small, BOUND),
        ("headwise query gate, width 512", 512, {"query_gate": "headwise"}, small, BOUND),
    ]
    for name, width, options, count, bound in cases:
        model, sets = make_model(width, **options), make_sets(width, count, count)
        start = time.perf_counter()
        peak = peak_bytes(lambda model=model, sets=sets, bound=bound: score_all_pairs(model, *sets, bound))
        seconds = time.perf_counter() - start  # traced, so a little slower than alone
        table.add_row(
            name,
            f"{count} x {count}",
            "default" if bound is None else mebibytes(bound),
            mebibytes(peak),
            f"{seconds:.1f}",
        )
    return table


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--widths", nargs="+", type=int, default=[512, 64])
    parser.add_argument("--block", type=int, default=100, help="texts and videos of the timed block")
    parser.add_argument("--loop-pairs", type=int, default=200, help="pairs that the loop is timed on")
    parser.add_argument("--rounds", type=int, default=3, help="timed runs of each arm")
    for name, default, what in (
        ("queries", 500, "texts"),
        ("gallery", 1000, "videos"),
        ("k", 50, "candidates a query"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"two_stage: {what}")
    parser.add_argument("--spread", type=float, default=0.1, help="two_stage: noise on the weights of the fusion")
    parser.add_argument("--grid", type=int, default=1000, help="memory: texts and videos at width 64")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    return parser.parse_args()


@torch.no_grad()
def main() -> None:
    args = parse_args()
    use_threads(args.threads)
    tables = {"all_pairs": speed_table, "text_free": speed_table, "two_stage": two_stage_table, "memory": memory_table}
    for table in dict.fromkeys(tables[part] for part in args.parts):
        Console().print(table(args))


if __name__ == "__main__":
    main()
