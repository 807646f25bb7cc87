"""Pre-trains the tiny vision encoder on the attributes of the embedded scenes; afterwards it is frozen, as a ViT is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gatefuse_plugins.data.scenes.reading import attributes_file, read_training_images
from gatefuse_plugins.data.scenes.vocabulary import NUM_CELLS
from gatefuse_plugins.engine.cell_heads import CellHeads, attribute_accuracy, attribute_loss, normalise, targets
from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.files import atomic_writer, file_digest
from gatefuse_plugins.hosts.blip2_cir.vision.tiny import TinyPatchEncoder
from gatefuse_plugins.registry import MODELS

_MIN_HELD_OUT = 64

Progress = Callable[[int, int, float], None]


def pretrain_tiny_encoder(
    encoder: TinyPatchEncoder,
    images: NDArray[np.uint8],
    attributes: NDArray[np.int8],
    steps: int = 300,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    held_out: float = 0.1,
    progress: Progress | None = None,
) -> dict[str, float]:
    """Train ``encoder`` in place (AdamW, OneCycle) to predict each cell's attributes; the heads are thrown away.

    Args:
        images: ``(N, S, S, 3)``.
        attributes: ``(N, 9, 3)`` shape, colour and size indices, -1 where a cell is empty.
        steps: optimizer steps; the result depends on these and the seed alone, never on the clock.
        held_out: share of the images that is never trained on, at least 64 images.
        progress: called with (steps done, steps in all, loss).

    Returns:
        Held-out accuracy by attribute (shape, colour, size, position, and ``scene``: all cells of an image right in
        everything) and the last ``loss``. Colour and size count over filled cells.

    Raises:
        DataError: images and attributes do not fit each other or the encoder, or are too few.
        ConfigError: ``steps`` is not positive, or the encoder's patches do not tile the scene grid.
    """
    if steps < 1:
        raise ConfigError(f"pretrain_tiny_encoder: steps={steps} must be positive; nearest: 1")
    num_held_out = max(_MIN_HELD_OUT, round(held_out * len(images)))
    _check_arrays(encoder.image_size, images, attributes, num_held_out)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = CellHeads(encoder.num_features, encoder.image_size // encoder.patch_size)
        order = torch.randperm(len(images)).numpy()
        test, train = np.split(order, [num_held_out])
        encoder.train()
        parameters = [*encoder.parameters(), *heads.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2))
        for step in range(steps):
            chosen = train[torch.randint(len(train), (batch_size,)).numpy()]
            loss = attribute_loss(heads(encoder(normalise(images[chosen]))), targets(attributes[chosen]))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, steps, loss.item())
    encoder.eval()
    return attribute_accuracy(encoder, heads, images[test], attributes[test]) | {"loss": loss.item()}


def load_or_pretrain(
    root: Path,
    encoder_cfg: dict[str, Any],
    steps: int = 300,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    progress: Progress | None = None,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Path:
    """The weights file ``root/vision/tiny-HASH.safetensors``, pre-trained on the embedded set at ``root`` if absent.

    The hash covers the encoder's config, the schedule and the set's attributes. Only the training split is used.

    Args:
        encoder_cfg: MODELS config of the encoder; its ``weights`` are ignored.
        report: called with the held-out accuracy after pre-training (not when the file was there already).

    Raises:
        DataError: ``root`` holds no embedded set.
    """
    root = Path(root)
    shape_cfg = {key: value for key, value in encoder_cfg.items() if key != "weights"}
    schedule = {"steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed}
    recipe = json.dumps(
        {"encoder": shape_cfg, **schedule, "attributes": file_digest(attributes_file(root))}, sort_keys=True
    )
    path = root / "vision" / f"tiny-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        return path
    images, attributes = read_training_images(root)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = MODELS.build(shape_cfg)
    accuracy = pretrain_tiny_encoder(encoder, images, attributes, steps, batch_size, lr, seed, progress=progress)
    _save(encoder, path, {"recipe": recipe, "accuracy": json.dumps(accuracy)})
    if report is not None:
        report(accuracy)
    return path


def _check_arrays(side: int, images: NDArray[np.uint8], attributes: NDArray[np.int8], num_held_out: int) -> None:
    if images.shape[1:] != (side, side, 3):
        raise DataError(f"images of shape {images.shape}: the encoder expects (N, {side}, {side}, 3)")
    if attributes.shape != (len(images), NUM_CELLS, 3):
        raise DataError(f"attributes of shape {attributes.shape}: expected ({len(images)}, {NUM_CELLS}, 3)")
    if len(images) <= num_held_out:
        raise DataError(f"{len(images)} images: expected more than the {num_held_out} that are held out")


def _save(encoder: nn.Module, path: Path, metadata: dict[str, str]) -> None:
    from safetensors.torch import save

    with atomic_writer(path) as stream:
        stream.write(save({name: value.contiguous() for name, value in encoder.state_dict().items()}, metadata))
