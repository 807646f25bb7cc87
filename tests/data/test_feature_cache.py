from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import write_cirr, write_image
from torch import nn

from gatefuse_plugins.data import CIRRDataset, FeatureCache, build_feature_cache, cache_builder, module_digest
from gatefuse_plugins.data.images import read_image
from gatefuse_plugins.data.transforms import build_transform
from gatefuse_plugins.errors import DataError

TRANSFORM = [{"type": "SquarePad"}, {"type": "ClipPreprocess", "size": 8}]


class Encoder(nn.Module):
    num_features, num_tokens, image_size = 4, 3, 8

    def __init__(self, scale: float = 1.0, die_after: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-scale, scale, 12 * 192).view(12, 192))
        self.seen, self.die_after = 0, die_after

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen += len(images)
        if self.die_after is not None and self.seen > self.die_after:
            os.kill(os.getpid(), signal.SIGKILL)
        return (images.flatten(1) @ self.weight.T).view(-1, 3, 4)


def pictures(folder: Path, count: int = 10) -> dict[str, Path]:
    for seed in range(count):
        write_image(folder / f"{seed}.png", seed)
    return {f"name{seed}": folder / f"{seed}.png" for seed in range(count)}


def build(root: Path, images: dict[str, Path], encoder: Encoder, dtype: str = "float32", **options) -> Path:
    return build_feature_cache(root, encoder, "digest", images, TRANSFORM, dtype, batch_size=4, **options)


def test_rows_equal_the_encoder_and_equal_pictures_share_one(tmp_path: Path) -> None:
    images = pictures(tmp_path)
    images["twin"] = tmp_path / "twin.png"
    images["twin"].write_bytes(images["name3"].read_bytes())
    encoder, reports = Encoder(), []
    path = build(tmp_path / "c", images, encoder, progress=lambda done, total: reports.append((done, total)))
    assert encoder.seen == 10 and reports == [(4, 10), (8, 10), (10, 10)]
    cache = pickle.loads(pickle.dumps(FeatureCache.open(path)))
    names = ["twin", "name0", "name3"]
    pixels = torch.stack([build_transform(TRANSFORM)(read_image(images[name])) for name in names])
    torch.testing.assert_close(cache.read(names), Encoder()(pixels).detach())
    assert (cache.num_tokens, cache.width, cache.encoder_digest) == (3, 4, "digest")
    with pytest.raises(DataError, match="did you mean 'name1'"):
        cache.read(["nam1"])


def test_changed_picture_gets_a_new_row_and_half_is_smaller(tmp_path: Path) -> None:
    images = pictures(tmp_path)
    build(tmp_path / "c", images, Encoder())
    write_image(images["name2"], 99, (20, 9))
    encoder = Encoder()
    path = build(tmp_path / "c", images, encoder)
    assert encoder.seen == 1
    half = build(tmp_path / "c", images, Encoder(), "float16")
    assert half.parent != path.parent
    assert (half.parent / "features.bin").stat().st_size == 10 * 12 * 2


def _build_and_die(root: Path, images: dict[str, Path]) -> None:
    torch.set_num_threads(1)
    build(root, images, Encoder(die_after=8))


def test_killed_build_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    images = pictures(tmp_path)
    process = multiprocessing.get_context("spawn").Process(target=_build_and_die, args=(tmp_path / "c", images))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    (folder,) = (entry for entry in (tmp_path / "c").iterdir() if entry.is_dir())
    with open(folder / "features.bin", "ab") as stream:  # a batch half written, and its line half recorded
        stream.write(b"x" * 50)
    with open(folder / "rows.txt", "ab") as stream:
        stream.write(b"0123 45")
    encoder = Encoder()
    resumed = build(tmp_path / "c", images, encoder)
    assert encoder.seen == 2
    whole = build(tmp_path / "whole", images, Encoder())
    assert (resumed.parent / "features.bin").read_bytes() == (whole.parent / "features.bin").read_bytes()
    assert resumed.read_bytes() == whole.read_bytes()


def _build_and_count(root: Path, images: dict[str, Path], queue) -> None:
    torch.set_num_threads(1)
    encoder = Encoder()
    queue.put((str(build(root, images, encoder)), encoder.seen))


def test_two_processes_compute_each_row_once(tmp_path: Path) -> None:
    images, context = pictures(tmp_path, 24), multiprocessing.get_context("spawn")
    queue = context.Queue()
    arguments = (tmp_path / "c", images, queue)
    processes = [context.Process(target=_build_and_count, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    (first, seen_first), (second, seen_second) = queue.get(timeout=60), queue.get(timeout=60)
    for process in processes:
        process.join(60)
    assert first == second and sorted([seen_first, seen_second]) == [0, 24]


def test_bad_images_are_listed_after_the_rest_is_stored(tmp_path: Path) -> None:
    images = pictures(tmp_path)
    images["name1"].write_bytes(b"no picture")
    images["gone"] = tmp_path / "gone.png"
    with pytest.raises(DataError, match=r"(?s)gone\.png.*1\.png"):
        build(tmp_path / "c", images, Encoder())
    del images["gone"]
    write_image(images["name1"], 1)
    encoder = Encoder()
    build(tmp_path / "c", images, encoder)
    assert encoder.seen == 1


def test_overflow_and_full_disk_are_clear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(tmp_path, 2)
    with pytest.raises(DataError, match=r"exceed float16 .*float32.*name0"):
        build(tmp_path / "c", images, Encoder(scale=1e6), "float16")
    usage = type("Usage", (), {"free": 7})
    monkeypatch.setattr(cache_builder.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(DataError, match=r"needs 96 bytes .* but 7 bytes are free"):
        build(tmp_path / "d", images, Encoder())


def test_truncated_features_are_refused(tmp_path: Path) -> None:
    path = build(tmp_path / "c", pictures(tmp_path), Encoder())
    os.truncate(path.parent / "features.bin", 100)
    with pytest.raises(DataError, match="100 bytes, expected at least 480"):
        FeatureCache.open(path)


def test_digest_follows_every_byte() -> None:
    module = nn.Linear(2, 2).to(torch.bfloat16)
    before = module_digest(module)
    assert before == module_digest(module)
    with torch.no_grad():
        module.bias[0] += 1
    assert module_digest(module) != before


def test_dataset_reads_tokens_in_place_of_pictures(tmp_path: Path) -> None:
    root = write_cirr(tmp_path / "set")
    images = CIRRDataset(root, "val", "eval").image_paths
    path = build(tmp_path / "c", images, Encoder())
    batch = CIRRDataset(root, "val", "train", features=path)[[0, 3]]
    expected = FeatureCache.open(path).read(["dev-0-0", "dev-1-1"])
    assert batch["reference"].shape == (2, 3, 4) and np.array_equal(batch["reference"], expected)
    few = build(tmp_path / "c", dict(list(images.items())[:10]), Encoder())
    with pytest.raises(DataError, match=r"without a row .*\(2\): dev-1-4, dev-1-5"):
        CIRRDataset(root, "val", "eval", features=few)
