"""Do gates of one block move together? Correlations of the query gate with attention and FFN gates, at evaluation."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.recording.recorder import find_taps
from gatefuse_plugins.recording.running_moments import wide_dtype
from gatefuse_plugins.recording.tap_hooks import tap_mask
from gatefuse_plugins.registry import HOOKS

PARTNERS = ("attention", "ffn")
_ROUNDING = 4 * torch.finfo(torch.float32).eps
"""Relative deviation of a constant that was averaged in float32, as gates are over their heads."""


class RunningCorrelation:
    """Pearson correlation of two streams of numbers, in float64 on their own device.

    Batches are merged by the pairwise update of Chan, Golub and LeVeque (1979).
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor | None = None
        self._products: Tensor | None = None

    def update(self, first: Tensor, second: Tensor) -> None:
        """Merge in (n,) numbers of each."""
        if not len(first):
            return
        wide = wide_dtype(first)
        rows = torch.stack([first.detach().to(wide), second.detach().to(wide)])
        count, mean = rows.shape[1], rows.mean(dim=1)
        centred = rows - mean[:, None]
        products = centred @ centred.T
        if self._mean is not None and self._products is not None:
            total, delta = self.count + count, mean - self._mean
            products = self._products + products + torch.outer(delta, delta) * (self.count * count / total)
            mean = self._mean + delta * (count / total)
        self.count, self._mean, self._products = self.count + count, mean, products

    @property
    def value(self) -> float:
        """In -1..1; NaN where one of the streams never varied by more than the rounding of float32."""
        if self._products is None or self._mean is None:
            return math.nan
        noise = self.count * (_ROUNDING * self._mean).square()
        if not (self._products.diagonal() > noise).all():
            return math.nan
        (first, product), (_, second) = self._products.tolist()
        return product / math.sqrt(first * second)


@HOOKS.register_module()
class GateCorrelationHook(Hook):
    """Add ``gate_correlation/query_attention_LAYER`` and ``.../query_ffn_LAYER`` to the metrics of an evaluation.

    Every scoring of a text with a video counts, heads averaged, before any layer decay (which scales a layer's gate and
    so changes no correlation): each pair once, or with ``MSRVTTMetric(rerank=...)`` once for each direction that
    re-ranks it. Samples that the query gate's mask leaves out (videos without audio, whose gates all stand at their
    neutral values) do not count. Models without a query gate add nothing. Pairs are scored by the main process, which
    sees them all.

    Args:
        prefix: put in front of the metrics' names.
    """

    priority = "HIGHEST"  # before RuntimeInfoHook (VERY_HIGH), which hands the metrics to log, TensorBoard and files

    def __init__(self, prefix: str = "gate_correlation") -> None:
        self.prefix = prefix
        self._found: dict[str, RunningCorrelation] = {}
        self._handles: list[RemovableHandle] = []

    def before_val_epoch(self, runner: Runner) -> None:
        self._open(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        self._open(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._close(metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._close(metrics)

    def _open(self, runner: Runner) -> None:
        self._release()
        layers: dict[int | None, dict[str, GateTap]] = {}
        for tap in find_taps(unwrapped(runner.model, compiled=True)).values():
            layers.setdefault(tap.layer, {}).setdefault(tap.kind, tap)  # a gate's own tap stands before its decay's
        for layer, taps in layers.items():
            if "query" in taps:
                self._listen("" if layer is None else f"_{layer}", taps)

    def _listen(self, suffix: str, taps: dict[str, GateTap]) -> None:
        """Keep the partners' values until the query gate of the same block has spoken."""
        query, latest = taps["query"], dict[str, Tensor]()
        partners = {kind: taps[kind] for kind in PARTNERS if kind in taps}
        self._found |= {f"query_{kind}{suffix}": RunningCorrelation() for kind in partners}

        def keep(kind: str) -> Any:
            return lambda tap, args, value: latest.__setitem__(kind, _one_each(value))

        def compare(tap: GateTap, args: tuple[Any, ...], kwargs: dict[str, Any], value: Tensor) -> None:
            own, mask = _one_each(value), tap_mask(args, kwargs)
            kept = slice(None) if mask is None else mask.flatten(1).any(dim=1)
            for kind, other in latest.items():
                self._found[f"query_{kind}{suffix}"].update(own[kept], other[kept])
            latest.clear()

        self._handles += [tap.register_forward_hook(keep(kind)) for kind, tap in partners.items()]
        self._handles.append(query.register_forward_hook(compare, with_kwargs=True))

    def _close(self, metrics: dict[str, float] | None) -> None:
        if metrics is not None:
            metrics |= {f"{self.prefix}/{name}": found.value for name, found in self._found.items() if found.count}
        self._release()

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._found = [], {}


def _one_each(value: Tensor) -> Tensor:
    """(B, ...) -> (B,), heads and channels averaged."""
    return value.detach().flatten(1).float().mean(dim=1)
