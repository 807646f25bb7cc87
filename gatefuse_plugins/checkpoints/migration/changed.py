"""What a config changes about a checkpoint's model although every parameter finds its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.recognise import recognise, refine
from gatefuse_plugins.checkpoints.migration.source import Source, provenance_of
from gatefuse_plugins.checkpoints.migration.transitions import judge
from gatefuse_plugins.checkpoints.reader import Checkpoint


def changed_options(checkpoint: Checkpoint, config: Mapping[str, Any]) -> list[str]:
    """Options in which ``config`` differs from the model that ``checkpoint`` says it is of, and that change outputs.

    Args:
        checkpoint: with the config of its run, or the record of the migration that made it; of others nothing is told.
        config: the ``model`` node of a resolved config.

    Returns:
        A sentence about each, with both values.

    Raises:
        CheckpointError: its migration record is damaged.
    """
    source = Source(checkpoint, "", provenance=provenance_of(checkpoint))
    if not source.model:
        return []
    findings = judge(refine(recognise(source), config), dict(config), "identity")
    return [finding.message for finding in findings if finding.level != "note"]
