"""Time and memory of QD-DETR: a training step and a prediction, against an upstream checkout where one is given.

python benchmarks/qd_detr_speed.py [--upstream PATH --batch-size 32 --clips 75 --words 20 --rounds 5 --threads 2]

PATH is a checkout of wjun0830/QD-DETR. A training step is forward, losses, backward, gradient clipping and AdamW of the
audio model (features concatenated, 2818 + 2050 columns); a prediction is the forward pass in eval mode, without
post-processing. Both models get the same weights and batch. "ratio" is the median over the rounds of upstream's time
over ours within a round. Upstream's `.cuda()` calls are made identities where the device is the CPU.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from timing import Step, Timing, mebibytes, paired_ratio, time_paired, use_threads
from torch import Tensor, nn

from gatefuse_plugins.hosts.qd_detr import QDDETR

VIDEO_DIM, AUDIO_DIM, TEXT_DIM = 2818, 2050, 512
# what upstream's command line sets where nothing is given
UPSTREAM_OPTIONS: dict[str, Any] = {
    "hidden_dim": 256, "dropout": 0.1, "nheads": 8, "dim_feedforward": 1024, "enc_layers": 2, "dec_layers": 2,
    "pre_norm": False, "position_embedding": "sine", "max_q_l": 32, "input_dropout": 0.5, "num_queries": 10,
    "aux_loss": True, "contrastive_align_loss": False, "contrastive_hdim": 64, "span_loss_type": "l1",
    "use_txt_pos": False, "n_input_proj": 2, "set_cost_class": 4, "set_cost_span": 10, "set_cost_giou": 1,
    "span_loss_coef": 10, "giou_loss_coef": 1, "label_loss_coef": 4, "lw_saliency": 1.0, "dset_name": "hl",
    "eos_coef": 0.1, "temperature": 0.07, "max_v_l": 75, "saliency_margin": 0.2, "t_feat_dim": TEXT_DIM,
    "v_feat_dim": VIDEO_DIM, "a_feat_dim": AUDIO_DIM, "a_feat_dir": "given",
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Samples, clips and words of a batch, and where it lies."""

    batch: int
    clips: int
    words: int
    device: str


def make_batch(size: Size) -> dict[str, Any]:
    """A moment batch with three windows a sample, all clips and words valid."""
    generator = torch.Generator().manual_seed(0)

    def features(length: int, width: int) -> Tensor:
        return torch.randn(size.batch, length, width, generator=generator).to(size.device)

    def valid(length: int) -> Tensor:
        return torch.ones(size.batch, length, dtype=torch.bool, device=size.device)

    ranks = torch.randint(0, 13, (size.batch, size.clips), generator=generator).float()
    clips = torch.randint(0, size.clips, (2, size.batch, 2), generator=generator).to(size.device)
    spans = torch.rand(size.batch, 3, 2, generator=generator).mul(0.4).add(0.1).to(size.device)
    return {
        "video": features(size.clips, VIDEO_DIM),
        "video_mask": valid(size.clips),
        "text": features(size.words, TEXT_DIM),
        "text_mask": valid(size.words),
        "audio": features(size.clips, AUDIO_DIM),
        "audio_mask": valid(size.clips),
        "spans": list(spans),
        "saliency_pos": clips[0],
        "saliency_neg": clips[1],
        "saliency_labels": ranks.to(size.device),
    }


def our_arms(model: QDDETR, batch: dict[str, Any]) -> dict[str, Step]:
    """One training step, one prediction."""

    def loss() -> Tensor:
        return sum(value for name, value in model(mode="loss", **batch).items() if "loss" in name)  # type: ignore[return-value]

    return {"training step": _training_step(model, loss), "prediction": _prediction(model, lambda: model(**batch))}


def upstream_arms(checkout: Path, state: dict[str, Tensor], batch: dict[str, Any], device: str) -> dict[str, Step]:
    """The same of the checkout's model with the weights ``state``."""
    sys.path.insert(0, str(checkout.resolve()))
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    build = importlib.import_module("qd_detr.model").build_model
    model, criterion = build(argparse.Namespace(**UPSTREAM_OPTIONS, device=device))
    model.load_state_dict(state)
    model.to(device)
    names = {"src_vid": "video", "src_txt": "text", "src_aud": "audio"}
    inputs = {short: batch[name] for short, name in names.items()}
    inputs |= {f"{short}_mask": batch[f"{name}_mask"].float() for short, name in names.items()}
    targets = {
        "span_labels": [{"spans": spans} for spans in batch["spans"]],
        "saliency_pos_labels": batch["saliency_pos"],
        "saliency_neg_labels": batch["saliency_neg"],
        "saliency_all_labels": batch["saliency_labels"],
    }

    def loss() -> Tensor:
        terms, weights = criterion(model(**inputs), targets), criterion.weight_dict
        return sum(terms[name] * weights[name] for name in terms if name in weights)  # type: ignore[return-value]

    return {"training step": _training_step(model, loss), "prediction": _prediction(model, lambda: model(**inputs))}


def _training_step(model: nn.Module, loss: Step) -> Step:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=1e-4)

    def step() -> None:
        model.train()
        loss().backward()  # type: ignore[attr-defined]
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()  # here, not before: each call starts without gradients, so peaks of the arms compare

    return step


def _prediction(model: nn.Module, forward: Step) -> Step:
    def step() -> None:
        model.eval()
        with torch.no_grad():
            forward()

    return step


def _waiting(step: Step, device: str) -> Step:
    """On a GPU: the step and the end of its kernels."""

    def waited() -> None:
        step()
        torch.cuda.synchronize()

    return step if device == "cpu" else waited


def report(table: Table, what: str, timings: dict[str, Timing]) -> None:
    """One row of the table."""
    ours, theirs = timings["ours"], timings.get("upstream")
    row = [what, f"{ours.median * 1e3:.0f}", mebibytes(ours.peak_bytes)]
    if theirs is not None:
        row += [f"{theirs.median * 1e3:.0f}", mebibytes(theirs.peak_bytes), f"{paired_ratio(theirs, ours):.2f}"]
    table.add_row(*row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, help="checkout of wjun0830/QD-DETR")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--clips", type=int, default=75)
    parser.add_argument("--words", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="timed calls of each arm")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    use_threads(args.threads)
    torch.manual_seed(0)
    size = Size(args.batch_size, args.clips, args.words, args.device)
    batch = make_batch(size)
    model = QDDETR(VIDEO_DIM, TEXT_DIM, AUDIO_DIM, fusion={"type": "Concat"}).to(args.device)
    models = {"ours": our_arms(model, batch)}
    if args.upstream is not None:
        models["upstream"] = upstream_arms(args.upstream, model.state_dict(), batch, args.device)
    table = Table("", title=f"QD-DETR with audio, {size}, {torch.get_num_threads()} threads, {args.rounds} rounds")
    for header in ("ours (ms)", "peak (MiB)", *(("upstream (ms)", "peak (MiB)", "ratio") if args.upstream else ())):
        table.add_column(header, justify="right")
    for what in ("prediction", "training step"):
        arms = {name: _waiting(steps[what], args.device) for name, steps in models.items()}
        report(table, what, time_paired(arms, args.rounds))
    Console().print(table)


if __name__ == "__main__":
    main()
