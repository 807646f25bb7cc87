"""Scoped recorder of gate values: statistics of every matched tap, reduced where the values are.

>>> with record_gates(model, "**.gate_tap") as gates:
...     model(batch)
>>> gates.summary()["fusion.gate_tap"].mean
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.errors import ConfigError, GatefuseError, PatternError, suggestion
from gatefuse_plugins.gates.tap import GateTap, gate_taps
from gatefuse_plugins.hosts.distributed import unwrapped
from gatefuse_plugins.patterns import compile_pattern, match_names
from gatefuse_plugins.recording.recording import REDUCTIONS, GateRecording
from gatefuse_plugins.recording.sample_ids import SampleIds
from gatefuse_plugins.recording.sinks import GateSink, check_sinks
from gatefuse_plugins.recording.tap_hooks import recomputing, refuse_compiled, tap_mask, warn_if_silent

EVERYTHING = "**"


def find_taps(model: nn.Module, select: str | Sequence[str] = EVERYTHING) -> dict[str, GateTap]:
    """Taps of ``model`` whose names match a pattern of ``select``, in the model's order.

    ``'**'`` asks for whatever there is, so a model without taps gives an empty dict.

    Raises:
        PatternError: ``select`` is empty or no patterns, or one is malformed or (other than ``'**'``) matches no tap.
    """
    patterns = [select] if isinstance(select, str) else select
    if not isinstance(patterns, Iterable) or not (patterns := list(patterns)):
        raise PatternError(f"select={select!r} names no gates; expected a pattern or several, such as '**' for all")
    taps = dict(gate_taps(model))
    chosen: set[str] = set()
    for pattern in patterns:
        compile_pattern(pattern)
        if pattern == EVERYTHING:
            chosen.update(taps)
        else:
            chosen.update(match_names(pattern, taps, host=f"the gate taps of {type(model).__name__}"))
    return {name: tap for name, tap in taps.items() if name in chosen}


@contextlib.contextmanager
def record_gates(
    model: nn.Module,
    select: str | Sequence[str] = EVERYTHING,
    reduce: str | None = "statistics",
    sample_ids: SampleIds = None,
    sinks: Sequence[GateSink] = (),
    seed: int = 0,
    warn: bool = True,
) -> Iterator[GateRecording]:
    """Record gate values for the length of the ``with`` block.

    Forward hooks sit on the model and the matched taps and are removed on the way out, also on an error. Values are
    detached and reduced on their own device, padded positions (the tap's mask) left out; outputs, gradients and the
    random state stay bit-identical. Scopes nest and work in train mode, under autocast and under distributed data
    parallelism, where each rank records its own samples (see :meth:`GateRecording.gathered`). What gradient
    checkpointing computes again in the backward pass is not counted again.

    Values that pass a tap outside a forward of ``model`` (a scorer that calls parts of it) enter the statistics of
    taps, but belong to no sample.

    Args:
        model: any module that holds :class:`GateTap` modules; a distributed data parallel wrapper is looked into.
        select: dotted glob or globs over tap names; ``'**'`` takes every tap there is, if any.
        reduce: ``statistics``: everything in :class:`TapStatistics` for each tap, and moments of every sample;
            ``moments``: the exact figures of each tap alone, the cheapest; ``None``: the values themselves too, as
            float32 in memory (see :meth:`GateRecording.values`).
        sample_ids: ids of the samples: a sequence over all samples in their order; the name of the argument of
            ``model.forward`` that holds a batch's ids; or a function of the forward's (args, kwargs) that returns them.
            ``None`` numbers the samples from 0. A forward that is given an empty list belongs to no sample.
        sinks: see :class:`~gatefuse_plugins.recording.sinks.GateSink`; more takers of the same values.
        seed: of the subsamples behind quantiles and entropy.
        warn: warn at the end where no value passed any gate. What is recorded has to be what is called, uncompiled: a
            wrapper of ``torch.compile`` skips hooks without a word.

    Raises:
        PatternError: an explicit selection is malformed or matches no tap.
        ConfigError: ``reduce`` is unknown, ``sinks`` are none, or ``sample_ids`` are none of the above.
        GatefuseError: a part of the model that holds a matched tap is compiled, or the model runs in replicas; or, in
            the block, ``sample_ids`` do not fit the batches.
    """
    if reduce is not None and reduce not in REDUCTIONS:
        raise ConfigError(f"record_gates reduce {reduce!r} is unknown{suggestion(str(reduce), REDUCTIONS)}, or None")
    if isinstance(model, nn.DataParallel) and len(model.device_ids) > 1:
        raise GatefuseError(
            "gates cannot be recorded under nn.DataParallel, whose replicas run at once and are thrown away; use"
            " DistributedDataParallel, or record model.module on one device"
        )
    check_sinks(sinks)
    refuse_compiled(model)
    root = unwrapped(model)
    taps = find_taps(root, select)
    refuse_compiled(root, taps)
    recording = GateRecording(root, taps, reduce, sample_ids, sinks, seed)
    with contextlib.ExitStack() as hooks:
        hooks.callback(recording.close)
        hooks.callback(root.register_forward_pre_hook(_starts(recording), with_kwargs=True).remove)
        # first of the forward hooks: another one may already ask this recording for the batch
        hooks.callback(root.register_forward_hook(_finishes(recording), prepend=True).remove)
        for name, tap in taps.items():
            hooks.callback(_listen(tap, name, recording).remove)
        yield recording
    if warn:
        warn_if_silent(recording.passed, len(taps), "record_gates")


def _starts(recording: GateRecording) -> Any:
    @torch._dynamo.disable
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not recomputing():
            recording.start(args, kwargs)

    return hook


def _finishes(recording: GateRecording) -> Any:
    @torch._dynamo.disable
    def hook(*_: Any) -> None:
        if not recomputing():
            recording.finish()

    return hook


def _listen(tap: GateTap, name: str, recording: GateRecording) -> RemovableHandle:
    @torch._dynamo.disable
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if not recomputing():
            recording.observe(name, output, tap_mask(args, kwargs))

    return tap.register_forward_hook(hook, with_kwargs=True)
