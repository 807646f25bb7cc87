"""From a foreign checkpoint and the code that it belongs to, to a model whose gates can be recorded."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from torch import nn

from gatefuse_plugins.checkpoints.legacy.adapt import AdaptedModel, Rules, adapt_legacy_model
from gatefuse_plugins.checkpoints.loading import load_into
from gatefuse_plugins.checkpoints.reader import Checkpoint, read_checkpoint


def load_legacy_model_with_gate_tracking(
    path: str | os.PathLike[str],
    model_factory: Callable[[Checkpoint], nn.Module],
    rules: Rules | None = None,
    trust: bool = False,
    drop: Sequence[str] = (),
    allow_missing: Sequence[str] = (),
) -> AdaptedModel:
    """Read a checkpoint safely, build the foreign model, load it strictly, put it in eval mode and tap its gates.

    >>> adapted = load_legacy_model_with_gate_tracking("model_best.ckpt", lambda ckpt: build_model(ckpt.meta["opt"])[0])
    >>> with record_gates(adapted.model) as gates: ...

    Args:
        path: any file that :func:`~gatefuse_plugins.checkpoints.reader.read_checkpoint` reads.
        model_factory: builds the foreign model; given the checkpoint, whose ``meta`` may hold its options.
        rules: see :func:`~gatefuse_plugins.checkpoints.legacy.adapt.adapt_legacy_model`.
        trust: unpickle without restrictions, which runs whatever code the file carries.
        drop: see :func:`~gatefuse_plugins.checkpoints.loading.load_into`, likewise ``allow_missing``.

    Raises:
        CheckpointError: the file cannot be read or does not fit the model.
        ConfigError, PatternError: the rules do not fit the model.
    """
    checkpoint = read_checkpoint(path, trust)
    model = model_factory(checkpoint)
    load_into(model, checkpoint, drop, allow_missing)
    return adapt_legacy_model(model.eval(), rules)
