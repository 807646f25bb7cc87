"""The complete mapping from a checkpoint to a model, computed before anything is read in full or written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gatefuse_plugins.checkpoints.migration.families import Config, Family, family_of
from gatefuse_plugins.checkpoints.migration.hosts import host_type
from gatefuse_plugins.checkpoints.migration.mapped import STATUSES, Row
from gatefuse_plugins.checkpoints.migration.mapping import map_names
from gatefuse_plugins.checkpoints.migration.moves import Move
from gatefuse_plugins.checkpoints.migration.recognise import Identity, recognise, refine
from gatefuse_plugins.checkpoints.migration.source import Source, open_source
from gatefuse_plugins.checkpoints.migration.start import start
from gatefuse_plugins.checkpoints.migration.tables import VERSION
from gatefuse_plugins.checkpoints.migration.transitions import Finding, judge
from gatefuse_plugins.errors import CheckpointError, ConfigError


@dataclass(frozen=True)
class Plan:
    """What a migration would do.

    Attributes:
        source: the opened checkpoint.
        found: what it is.
        config: the new model's config.
        rows: every parameter of either side, once.
        moves: the rows that carry values.
        findings: judgements on the change of fusion.
        init: start of the new parameters, ``seed`` its seed.
        allow_inexact: inexact changes were asked for.
    """

    source: Source
    found: Identity
    config: Config
    rows: tuple[Row, ...]
    moves: tuple[Move, ...]
    findings: tuple[Finding, ...] = ()
    init: str = "identity"
    seed: int = 0
    allow_inexact: bool = False
    drop: tuple[str, ...] = field(default=())

    @property
    def family(self) -> Family:
        """The family of hosts that the new model belongs to."""
        return family_of(self.config)

    @property
    def faults(self) -> list[str]:
        """Why it must not be run; empty where it may."""
        allowed = ("note", "inexact") if self.allow_inexact else ("note",)
        advice = "; --allow-inexact does it and shows the measured error"
        found = [f.message + (advice if f.level == "inexact" else "") for f in self.findings if f.level not in allowed]
        return found + [f"{row.old or row.new}: {row.note}" for row in self.rows if row.status == "conflicting"]

    @property
    def exact(self) -> bool:
        """Whether the outputs are meant to stay what they were."""
        changed = self.init != "identity" and any(row.status == "new" for row in self.rows)
        return not (changed or self.drop or any(finding.level == "inexact" for finding in self.findings))

    def named(self, status: str) -> list[Row]:
        """The rows of one status."""
        return [row for row in self.rows if row.status == status]

    def counts(self) -> dict[str, int]:
        """Number of rows by status, those that occur."""
        return {status: len(self.named(status)) for status in STATUSES if self.named(status)}

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {
            "source": str(self.source.path),
            "found": dataclasses.asdict(self.found),
            "rule_table_version": VERSION,
            "init": self.init,
            "seed": self.seed,
            "exact": self.exact,
            "runnable": not self.faults,
            "faults": self.faults,
            "findings": [dataclasses.asdict(finding) for finding in self.findings],
            "counts": self.counts(),
            "rows": [dataclasses.asdict(row) for row in self.rows],
        }


def make_plan(
    checkpoint: Source | str | os.PathLike[str],
    config: Mapping[str, Any],
    init: str = "identity",
    seed: int = 0,
    allow_inexact: bool = False,
    drop: Sequence[str] = (),
    trust: bool = False,
) -> Plan:
    """Plan the migration of ``checkpoint`` to the model of ``config``; writes nothing.

    Args:
        checkpoint: a path, or what :func:`open_source` gave.
        config: the ``model`` node of a resolved config.
        init: see :func:`~gatefuse_plugins.checkpoints.migration.start.start`.
        seed: of all random starts.
        allow_inexact: do what changes outputs too.
        drop: dotted globs over the checkpoint's names to leave out.
        trust: see :func:`open_source`.

    Raises:
        CheckpointError: unreadable; names that no rule is about; a checkpoint of another kind of model.
        ConfigError: the config's model cannot be migrated to, or cannot be built.
        PatternError: a pattern of ``drop`` matches nothing.
    """
    source = open_source(checkpoint, trust)
    if source.provenance.get("kind") == "gates":
        raise CheckpointError(
            f"{source.path}: holds gates alone (export-gates wrote it); put them into a checkpoint first: python"
            " tools/migrate.py import-gates GATES CHECKPOINT --out NAME.safetensors"
        )
    found = refine(recognise(source), config)
    family = family_of(config)
    if found.family not in (family.name, "unknown"):
        raise CheckpointError(
            f"{source.path}: holds {found.description}; the config's model is a {host_type(config)}, which is another"
            " kind. Choose a config of the checkpoint's kind"
        )
    findings = judge(found, dict(config), init)
    mapped = map_names(source, found, family, dict(config), drop, any(f.level == "inexact" for f in findings))
    rows, moves = mapped.rows_and_moves()
    rows, findings = _with_starts(rows, findings, family, dict(config), init, seed)
    return Plan(
        source, found, dict(config), tuple(rows), tuple(moves), tuple(findings), init, seed, allow_inexact, tuple(drop)
    )


def _with_starts(
    rows: list[Row], findings: list[Finding], family: Family, config: Config, init: str, seed: int
) -> tuple[list[Row], list[Finding]]:
    names = [row.new for row in rows if row.status == "new" and row.new]
    if not names:
        return rows, findings
    try:
        told = start(family.starting(config, seed), names, init, seed)
    except ConfigError as error:
        return rows, [*findings, Finding("refused", str(error))]
    return [dataclasses.replace(row, note=told.get(row.new or "", row.note)) for row in rows], findings


__all__ = ["STATUSES", "Plan", "Row", "make_plan"]
