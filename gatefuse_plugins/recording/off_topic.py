"""Does a gate tell useful audio from useless? Its AUC against the mask that an embedded event set comes with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.data.events import off_topic_mask
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.registry import HOOKS

AUDIO_KINDS = ("attention", "ffn")
"""Kinds of taps that gate audio; shifts and deltas have no openness."""

Scored = tuple[NDArray[np.float32], NDArray[np.bool_]]


def audio_taps(model: nn.Module) -> dict[str, GateTap]:
    """By dotted name: the taps that gate audio. Gates on a host's own layers lie outside its fusion and gate none."""
    return {
        f"{name}.{inner}" if name else inner: tap
        for name, module in model.named_modules()
        if isinstance(module, Fusion)
        for inner, tap in gate_taps(module)
        if tap.kind in AUDIO_KINDS
    }


def openness(value: Tensor, neutral: float) -> Tensor:
    """How far a gate (B, ...) stands from its neutral value: mean absolute distance over channels, (B, 1) or (B, L)."""
    return (value.detach().float() - neutral).abs().mean(dim=-1)


def area_under_curve(score: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties counted half; NaN where either is missing."""
    count = int(positive.sum())
    if count in (0, positive.size):
        return float("nan")
    ranks = rankdata(score)
    above = ranks[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (positive.size - count)))


@HOOKS.register_module()
class OffTopicGateHook(Hook):
    """Add ``gate_auc/KIND_LAYER`` to the metrics of an evaluation on an embedded event set.

    The AUC of a gate's openness (distance from its neutral value, channels averaged) as a detector of clips whose
    audio belongs to the picture: 1 opens there and closes elsewhere, 0.5 does not know, 0 does the reverse. A gate of
    one value a sample is scored by sample, against those whose audio is off-topic throughout. Real data has no such
    mask: nothing is added. Masked clips are left out.

    Args:
        prefix: put in front of the metrics' names.
    """

    priority = "VERY_HIGH"  # before the hooks that record and write the metrics

    def __init__(self, prefix: str = "gate_auc") -> None:
        self.prefix = prefix
        self._taps: dict[str, GateTap] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._vids: list[str] = []
        self._values: dict[str, Tensor] = {}
        self._scored: dict[str, list[Scored]] = {}
        self._handles: list[RemovableHandle] = []

    def before_val_epoch(self, runner: Runner) -> None:
        self._open(runner, runner.val_dataloader.dataset)

    def before_test_epoch(self, runner: Runner) -> None:
        self._open(runner, runner.test_dataloader.dataset)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._take(data_batch)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None) -> None:
        self._take(data_batch)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._close(metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._close(metrics)

    def _open(self, runner: Runner, dataset: Any) -> None:
        self._release()
        info = dataset.metainfo
        if not info["identity"]["embedded"]:
            return
        model = unwrapped(runner.model)
        self._taps = audio_taps(model)
        self._masks = off_topic_mask(dataset.data_root)
        self._vids = [str(line["vid"]) for line in info["annotations"]]
        self._scored = {name: [] for name in self._taps}
        self._handles = [tap.register_forward_hook(self._keep(name)) for name, tap in self._taps.items()]

    def _keep(self, name: str) -> Any:
        def hook(tap: GateTap, args: tuple[Any, ...], value: Tensor) -> None:
            self._values[name] = openness(value, tap.neutral)

        return hook

    def _take(self, batch: Mapping[str, Any]) -> None:
        for name, value in self._values.items():
            scores = value.cpu().numpy()
            for row, (index, valid) in enumerate(
                zip(batch["sample_index"].tolist(), batch["video_mask"].cpu().numpy(), strict=True)
            ):
                self._scored[name].append(self._score(scores[row], self._masks[self._vids[index]], valid))
        self._values.clear()

    @staticmethod
    def _score(score: NDArray[np.float32], off_topic: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Scored:
        if score.shape == (1,):  # one value a sample
            return score, np.array([not off_topic.all()])
        length = min(int(valid.sum()), off_topic.size)
        return score[:length], ~off_topic[:length]

    def _close(self, metrics: dict[str, float] | None) -> None:
        gathered: list[dict[str, list[Scored]]] = all_gather_object(self._scored)
        for name, tap in self._taps.items():
            parts = [part for rank in gathered for part in rank[name]]
            if parts and metrics is not None:
                scores, wanted = (np.concatenate([part[side] for part in parts]) for side in (0, 1))
                key = f"{self.prefix}/{tap.kind}" + ("" if tap.layer is None else f"_{tap.layer}")
                metrics[key] = area_under_curve(scores, wanted)
        self._release()

    def _release(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._taps, self._scored = [], {}, {}
        self._values.clear()
