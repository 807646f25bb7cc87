"""What fusions do to each image token of one query: gate values, and how far the token moved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import gate_taps
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.recording.recorder import record_gates
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink

CHANGE = "change"
"""Kind of the signal that tells how far a fusion moved a token: mean over channels of |x' - x|."""


@dataclass(frozen=True)
class TokenSignal:
    """One figure for each token, or one for all.

    Attributes:
        name: dotted name of the tap; of the fusion for a ``CHANGE``.
        kind: of the tap, or ``CHANGE``.
        neutral: the value at which the context changes nothing; 0 where ``distance``.
        values: (L,), or (1,) where one value is for all tokens; channels averaged.
        distance: averaged were |value - neutral|, for values on both sides of neutral would cancel out.
    """

    name: str
    kind: str
    neutral: float
    values: NDArray[np.float64]
    distance: bool


@torch.no_grad()
def run_query(model: nn.Module, batch: Mapping[str, Any]) -> tuple[Mapping[str, Tensor], list[TokenSignal]]:
    """Run a batch of one query through a composed-retrieval host in eval mode.

    Returns:
        The host's prediction, and the signals of its fusions: taps in the model's order, then one ``CHANGE`` for each
        outermost fusion. Taps whose values belong neither to tokens nor to the whole picture are left out.

    Raises:
        ConfigError: the model is no composed-retrieval host, or has no fusion.
        GatefuseError: a part of the model that holds a tap is compiled.
    """
    fusions = _fusions_of(model)
    changes: dict[str, Tensor] = {}
    passed: list[TapValues] = []
    taps = [f"{name}.{tap}".lstrip(".") for name, fusion in fusions.items() for tap, _ in gate_taps(fusion)]
    with ExitStack() as scope:
        for name, fusion in fusions.items():
            scope.callback(fusion.register_forward_hook(_keep(changes, name), with_kwargs=True).remove)
        if taps:
            sink = ValuesSink(lambda _, values: passed.extend(values))
            scope.enter_context(record_gates(model, taps, reduce="moments", sample_ids=lambda *_: [0], sinks=[sink]))
        (prediction,) = model.test_step(batch)
    moved = {name: change.cpu().double().numpy() for name, change in changes.items()}
    counts = {1, *(len(change) for change in moved.values())}
    signals = [_signal(found) for found in passed]
    return prediction, [
        *(signal for signal in signals if len(signal.values) in counts),
        *(TokenSignal(name, CHANGE, 0.0, change, True) for name, change in moved.items()),
    ]


def _fusions_of(model: nn.Module) -> dict[str, Fusion]:
    """The outermost fusions by name; what stands inside of one is a part of it."""
    if not isinstance(model, ComposedRetrievalNetwork):
        raise ConfigError(
            f"gate maps show what a caption does to image tokens, and a {type(model).__name__} has none; expected"
            " Blip2ComposedRetrieval"
        )
    found: dict[str, Fusion] = {}
    for name, module in model.named_modules():
        if isinstance(module, Fusion) and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = module
    if not found:
        raise ConfigError(
            f"gate maps: {type(model).__name__} has no fusion that changes image tokens; set fusion, such as"
            " dict(type='TextGuidedImageFusion')"
        )
    return found


def _keep(changes: dict[str, Tensor], name: str) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        x = args[0] if args else kwargs["x"]
        changes[name] = (output.float() - x.float()).abs().mean(dim=-1)[0]

    return hook


def _signal(found: TapValues) -> TokenSignal:
    tap, sample = found.tap, found.sample(0).astype(np.float64)
    values = sample.reshape(len(sample), -1)
    one_sided = tap.neutral in (tap.low, tap.high)
    distance = values.shape[1] > 1 and not one_sided
    figures = np.abs(values - tap.neutral) if distance else values
    neutral = 0.0 if distance else tap.neutral
    return TokenSignal(found.name, tap.kind, neutral, figures.mean(axis=1), distance)


def token_grid(count: int, grid: tuple[int, int] | None = None) -> tuple[int, int]:
    """Height and width of the grid that the last H * W of ``count`` tokens form; those before it are no places.

    Without ``grid``: the square of all tokens, or of all but a leading CLS token.

    Raises:
        DataError: the tokens form no square, or are fewer than ``grid`` has places.
    """
    if grid is not None:
        height, width = grid
        if height < 1 or width < 1 or height * width > count:
            raise DataError(f"gate map grid={height} x {width}: the fusion saw {count} image tokens, expected at most")
        return height, width
    for places in (count - 1, count):
        if places > 0 and isqrt(places) ** 2 == places:
            return isqrt(places), isqrt(places)
    raise DataError(
        f"gate map: {count} image tokens are no square, with or without a CLS token; expected grid=(height, width)"
    )
