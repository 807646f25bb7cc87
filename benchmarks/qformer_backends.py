"""Time of the composed-retrieval host with LAVIS's Q-Former and with that of transformers, in two environments.

python benchmarks/qformer_backends.py --other-python VENV/bin/python [--sizes tiny full --batch-size 8 --rounds 5]

No environment holds both backends, so this interpreter and the other each run a worker on its own backend (`auto`).
The two take turns, one call at a time, so that a slower or busier machine slows both alike. Both models get the same
weights and batch; "difference" is the largest between their similarities. A training step is the three losses, their
backward pass and AdamW; images come as cached vision tokens. "ratio" is the median over the rounds of this
interpreter's time over the other's within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

TINY = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"tokens": 10, "width": 128, "queries": 8, "qformer": {**TINY, "cross_attention_freq": 1}},
    "full": {"tokens": 257, "width": 1408, "queries": 32, "qformer": {"vocab_size": 30523}},
}
ARMS = ("training step", "queries", "gallery")
CAPTIONS = ["make it red", "remove the small blue square", "add a circle", "move the triangle to the left"]
MARK = "@"  # libraries print too


def like(name: str, shape: tuple[int, ...]) -> Tensor:
    """The same in every process, whatever its library versions."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(np.asarray(values))


def build(size: dict[str, Any], device: str) -> torch.nn.Module:
    """The host on cached tokens, weights by name."""
    from gatefuse_plugins.hosts.blip2_cir import build_blip2_composed_retrieval

    vision = {"type": "CachedVision", "num_features": size["width"], "num_tokens": size["tokens"]}
    model = build_blip2_composed_retrieval(
        vision={**vision, "image_size": 224, "digest": ""},
        qformer={"type": "QFormer", "bert": None, "dropout": 0.0, **size["qformer"]},
        tokenizer={"type": "CaptionTokenizer", "vocabulary": "tiny", "max_length": 32},
        num_query_token=size["queries"],
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(
                like(name, tuple(parameter.shape)) * 0.02 + float(parameter.dim() == 1 and "weight" in name)
            )
        model.temp.fill_(0.07)
    return model.to(device)


def arms_of(model: torch.nn.Module, size: dict[str, Any], batch: int, device: str) -> dict[str, Callable[[], Any]]:
    """What is timed, by name, and ``similarity``, which is not."""
    shape = (batch, size["tokens"], size["width"])
    reference, target = (like(name, shape).to(device) for name in ("reference", "target"))
    captions = [CAPTIONS[row % len(CAPTIONS)] for row in range(batch)]
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-6)

    def train() -> None:
        optimizer.zero_grad()
        sum(model("loss", reference=reference, target=target, caption=captions).values()).backward()
        optimizer.step()

    def inferred(**inputs: Any) -> Any:
        model.eval()
        with torch.no_grad():
            found = model("tensor" if len(inputs) == 3 else "predict", **inputs)
        model.train()
        return found

    return {
        "training step": train,
        "queries": lambda: inferred(reference=reference, caption=captions),
        "gallery": lambda: inferred(image=target),
        "similarity": lambda: inferred(reference=reference, caption=captions, target=target).tolist(),
    }


def work(args: argparse.Namespace) -> None:
    """Run the arm that each line of the standard input names; answer with its seconds, or with the similarity."""
    import transformers

    from gatefuse_plugins import plugins  # noqa: F401  registers the parts
    from gatefuse_plugins.hosts.blip2_cir.qformer import choose_backend

    if args.threads:
        torch.set_num_threads(args.threads)
    size = SIZES[args.worker]
    arms = arms_of(build(size, args.device), size, args.batch_size, args.device)
    versions = f"python {sys.version.split()[0]}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(MARK + json.dumps([choose_backend("auto"), versions]), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        found = arms[line.strip()]()
        if args.device != "cpu":
            torch.cuda.synchronize()
        taken = time.perf_counter() - start
        print(MARK + json.dumps(found if line.strip() == "similarity" else taken), flush=True)


class Worker:
    """A process of one interpreter, asked one call at a time."""

    def __init__(self, python: str, size: str, args: argparse.Namespace) -> None:
        command = [python, "-W", "ignore", __file__, "--worker", size, "--batch-size", str(args.batch_size)]
        command += ["--device", args.device, *(["--threads", str(args.threads)] if args.threads else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.backend, self.versions = self._answer()

    def ask(self, arm: str) -> Any:
        """Seconds of one call, or the similarity."""
        assert self.process.stdin is not None
        print(arm, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(MARK):
                return json.loads(line[len(MARK) :])
        raise RuntimeError(f"{self.process.args[0]} ended without an answer")  # type: ignore[index]


def compare(size: str, args: argparse.Namespace) -> None:
    """Print one table line an arm."""
    workers = [Worker(python, size, args) for python in (sys.executable, args.other_python)]
    try:
        first, second = workers
        for worker in workers:
            print(f"{size}, {worker.backend}: {worker.versions}")
        similarity = [torch.tensor(worker.ask("similarity")) for worker in workers]
        print(f"{size}, difference of similarities {(similarity[0] - similarity[1]).abs().max():.1e}")
        for arm in ARMS:
            seconds: list[list[float]] = [[], []]
            for turn in range(args.warmup + args.rounds):
                for index in (0, 1) if turn % 2 == 0 else (1, 0):
                    seconds[index].append(workers[index].ask(arm))
            timed = [taken[args.warmup :] for taken in seconds]
            ratio = statistics.median(a / b for a, b in zip(*timed, strict=True))
            medians = [f"{w.backend} {1e3 * statistics.median(t):.1f} ms" for w, t in zip(workers, timed, strict=True)]
            print(f"{size}, {arm}: {', '.join(medians)}, ratio {first.backend} / {second.backend} {ratio:.2f}")
    finally:
        for worker in workers:
            worker.process.communicate()  # closes its input, which ends it


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other-python", help="interpreter of the environment with the other backend")
    parser.add_argument("--sizes", nargs="+", choices=tuple(SIZES), default=list(SIZES))
    for name, default in (("batch-size", 8), ("rounds", 5), ("warmup", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--threads", type=int, help="torch threads of each worker")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--worker", choices=tuple(SIZES), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args)
    elif not args.other_python:
        parser.error("--other-python is needed: no environment holds both backends")
    else:
        for size in args.sizes:
            compare(size, args)


if __name__ == "__main__":
    main()
