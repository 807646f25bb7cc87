"""What the cells of embedded scenes show, read from a vision encoder's tokens: heads, loss and accuracy."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from gatefuse_plugins.data.scenes.vocabulary import COLOUR_NAMES, GRID, NUM_CELLS, SHAPES, SIZES
from gatefuse_plugins.data.transforms import CLIP_MEAN, CLIP_STD
from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.hosts.blip2_cir.vision.tiny import TinyPatchEncoder

_CLASSES = {"shape": len(SHAPES) + 1, "colour": len(COLOUR_NAMES), "size": len(SIZES), "position": NUM_CELLS}
_EVALUATION_BATCH = 500


class CellHeads(nn.Module):
    """Linear read-outs, shared by all cells, of shape (the last class: empty), colour, size and position.

    Position is asked for too: a Q-Former's cross-attention adds none, so "top left" must be readable from the tokens.
    """

    def __init__(self, width: int, tokens_per_side: int) -> None:
        super().__init__()
        if tokens_per_side % GRID:
            near = max(1, round(tokens_per_side / GRID)) * GRID
            raise ConfigError(f"{tokens_per_side} patches a side do not tile the {GRID}x{GRID} scene grid; try {near}")
        self.tokens_per_side = tokens_per_side
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in _CLASSES.items()})

    def forward(self, tokens: Tensor) -> dict[str, Tensor]:
        """Logits ``(B, 9, classes)`` by attribute, from encoder tokens ``(B, 1 + tokens_per_side ** 2, width)``."""
        side = self.tokens_per_side
        patches = tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        cells = functional.avg_pool2d(patches, side // GRID).flatten(2).transpose(1, 2)
        return {name: head(cells) for name, head in self.heads.items()}


def normalise(images: NDArray[np.uint8]) -> Tensor:
    """Float images ``(B, 3, S, S)``, normalised as CLIP's are, from bytes ``(B, S, S, 3)``."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(CLIP_MEAN).view(3, 1, 1)) / torch.tensor(CLIP_STD).view(3, 1, 1)


def targets(attributes: NDArray[np.int8]) -> dict[str, Tensor]:
    """Class indices ``(B, 9)`` by attribute; -100, which cross-entropy ignores, where an empty cell has none."""
    shape, colour, size = torch.from_numpy(attributes.astype(np.int64)).unbind(-1)
    empty = shape < 0
    return {
        "shape": shape.masked_fill(empty, len(SHAPES)),
        "colour": colour.masked_fill(empty, -100),
        "size": size.masked_fill(empty, -100),
        "position": torch.arange(NUM_CELLS).expand_as(shape),
    }


def attribute_loss(logits: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
    """Sum of the cross-entropies of all attributes."""
    terms = [functional.cross_entropy(logits[name].flatten(0, 1), wanted[name].flatten()) for name in _CLASSES]
    return torch.stack(terms).sum()


@torch.no_grad()
def attribute_accuracy(
    encoder: TinyPatchEncoder, heads: CellHeads, images: NDArray[np.uint8], attributes: NDArray[np.int8]
) -> dict[str, float]:
    """Share of right cells by attribute, where one is asked for, and of images right in all of them (``scene``)."""
    outputs = [heads(encoder(chunk)) for chunk in normalise(images).split(_EVALUATION_BATCH)]
    accuracy, scene_right = {}, torch.ones(len(images), dtype=torch.bool)
    for name, target in targets(attributes).items():
        predicted = torch.cat([output[name].argmax(-1) for output in outputs])
        asked, right = target >= 0, predicted == target
        accuracy[name] = right[asked].float().mean().item()
        scene_right &= (right | ~asked).all(dim=1)
    return accuracy | {"scene": scene_right.float().mean().item()}
