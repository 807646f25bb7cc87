"""Training throughput from the frozen-feature cache against the encoder in every step, paired in one process.

python benchmarks/feature_cache.py [--qformers tiny full --batch-size 4 --rounds 3 --threads 2]

The encoder is a random one of ViT-B's size (12 layers of 768, 257 tokens of 224 x 224 pixels): its speed does not
depend on its weights. Uncached, a step decodes and transforms its images and encodes reference and target; cached,
it reads their tokens from the memory-mapped file. Both then run forward, backward and AdamW of the same model. What
the cache saves depends on what is left, so two Q-Formers are shown: the embedded set's (2 layers of 128) and BLIP-2's
(12 layers of 768). The building of the cache, one encoder pass an image, is shown apart.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from timing import Step, mebibytes, time_paired, use_threads
from torch import Tensor

import gatefuse_plugins.plugins  # noqa: F401  registers the components that the configs name
from gatefuse_plugins.data.cache_builder import build_feature_cache, module_digest
from gatefuse_plugins.data.feature_cache import FeatureCache
from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.data.transforms import build_transform
from gatefuse_plugins.hosts.blip2_cir.model import Blip2ComposedRetrieval, build_blip2_composed_retrieval

IMAGE_SIZE = 224
TRANSFORM = ({"type": "TargetPad", "target_ratio": 1.25}, {"type": "ClipPreprocess", "size": IMAGE_SIZE})
VIT_B_SIZE = {
    "type": "TinyPatchEncoder",
    "image_size": IMAGE_SIZE,
    "patch_size": 14,
    "width": 768,
    "depth": 12,
    "num_heads": 12,
}
TINY_QFORMER = {
    "type": "QFormer",
    "bert": None,
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 64,
    "cross_attention_freq": 1,
}
QFORMERS = {
    "tiny": {"qformer": TINY_QFORMER, "num_query_token": 8, "embed_dim": 128},
    "full": {"qformer": {"type": "QFormer", "bert": None, "vocab_size": 30523}},
}
CAPTION = "make the small red circle large and put a blue square left of it"


def write_photographs(folder: Path, count: int) -> dict[str, Path]:
    """Noise pictures of CIRR's usual size, as PNG; name -> file."""
    generator = np.random.default_rng(0)
    paths = {f"image-{number}": folder / f"image-{number}.png" for number in range(count)}
    for path in paths.values():
        Image.fromarray(generator.integers(0, 256, (384, 512, 3), dtype=np.uint8)).save(path)
    return paths


def build_model(name: str) -> Blip2ComposedRetrieval:
    """The gated host over the random encoder, in train mode."""
    torch.manual_seed(0)
    tokenizer = {"type": "CaptionTokenizer", "vocabulary": "tiny", "max_length": 32}
    fusion = {"type": "TextGuidedImageFusion"}
    return build_blip2_composed_retrieval(
        vision=VIT_B_SIZE, tokenizer=tokenizer, fusion=fusion, **QFORMERS[name]
    ).train()


def training_steps(model: Blip2ComposedRetrieval, images: Mapping[str, Path], cache: FeatureCache) -> dict[str, Step]:
    """The arms ``uncached`` and ``cached``: the first half of ``images`` are references, the second their targets."""
    names, transform = list(images), build_transform(TRANSFORM)
    half = len(names) // 2
    captions = [CAPTION] * half
    optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], lr=1e-5)

    def step(pictures: Tensor) -> None:
        reference, target = pictures.split(half)
        losses = model(mode="loss", reference=reference, target=target, caption=captions)
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()  # here, not before: each call starts without gradients, so peaks of the arms compare

    def uncached() -> None:
        step(torch.stack([transform(read_image(images[name])) for name in names]))

    return {"uncached": uncached, "cached": lambda: step(cache.read(names))}


def measure(name: str, batch_size: int, rounds: int, folder: Path) -> list[str]:
    """The table's row for one Q-Former."""
    images = write_photographs(folder, 2 * batch_size)
    model = build_model(name)
    encoder = model.visual_encoder
    start = time.perf_counter()
    index = build_feature_cache(folder / "features", encoder, module_digest(encoder), images, TRANSFORM)
    building = time.perf_counter() - start
    timings = time_paired(training_steps(model, images, FeatureCache.open(index)), rounds)
    uncached, cached = timings["uncached"], timings["cached"]
    return [
        name,
        f"{batch_size / uncached.median:.2f}",
        f"{batch_size / cached.median:.2f}",
        f"{uncached.median / cached.median:.1f}",
        f"{uncached.fastest / cached.fastest:.1f}",
        f"{mebibytes(uncached.peak_bytes)} / {mebibytes(cached.peak_bytes)}",
        f"{building / len(images) * 1e3:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qformers", nargs="+", choices=tuple(QFORMERS), default=list(QFORMERS))
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3, help="timed steps of each arm")
    parser.add_argument("--threads", type=int, help="torch threads; torch's own choice by default")
    args = parser.parse_args()
    use_threads(args.threads)
    title = f"training from cached features, batch {args.batch_size}, {torch.get_num_threads()} threads"
    table = Table("Q-Former", title=title)
    headers = ("uncached (queries/s)", "cached (queries/s)", "ratio of medians", "of minima")
    for header in (*headers, "peak (MiB), uncached / cached", "building (ms/image)"):
        table.add_column(header, justify="right")
    for name in args.qformers:
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(*measure(name, args.batch_size, args.rounds, Path(folder)))
    Console(width=max(Console().width, 120)).print(table)  # rich folds headers at 80 columns in a pipe


if __name__ == "__main__":
    main()
