"""Rules from old to new parameter names: data, applied strictly."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gatefuse_plugins.checkpoints.mismatch import closest
from gatefuse_plugins.errors import CheckpointError

KEEP = "{name}"
_TOKEN = re.compile(r"(\*\*|\*|\{[^{}]*\})")
_LISTED = 20


@dataclass(frozen=True)
class Rule:
    """What becomes of the parameters whose names match ``old``.

    Attributes:
        old: dotted glob: ``*`` within a segment, ``**`` across segments, ``{a,b}`` one of several.
        new: the new name, in which ``{0}``, ``{1}`` stand for what the wildcards of ``old`` matched and ``{name}`` for
            the whole old name; ``None``: dropped on purpose.
        why: the reason, needed where the parameter is dropped.
    """

    old: str
    new: str | None = KEEP
    why: str = ""

    def __post_init__(self) -> None:
        if self.new is None and not self.why:
            raise ValueError(f"rule {self.old!r} drops parameters and does not say why")

    def apply(self, name: str) -> tuple[bool, str | None]:
        """Whether the rule is about ``name``, and the new name (``None``: dropped)."""
        found = _expression(self.old).fullmatch(name)
        if found is None or self.new is None:
            return found is not None, None
        return True, self.new.format(*found.groups(), name=name)


@functools.lru_cache(maxsize=1024)
def _expression(pattern: str) -> re.Pattern[str]:
    parts = {"**": "(.*)", "*": "([^.]*)"}
    expression = ""
    for token in _TOKEN.split(pattern):
        if token.startswith("{"):
            expression += "(?:" + "|".join(map(re.escape, token[1:-1].split(","))) + ")"
        else:
            expression += parts.get(token) or re.escape(token)
    return re.compile(expression)


@dataclass(frozen=True)
class Renamed:
    """Where a parameter goes: ``new``, or ``None`` where it is dropped for the reason ``why``."""

    new: str | None
    why: str = ""


def rename(rules: Sequence[Rule], names: Iterable[str], candidates: Iterable[str] = ()) -> dict[str, Renamed]:
    """New name of every name; the first rule that matches counts.

    Args:
        rules: a table of :mod:`gatefuse_plugins.checkpoints.migration.tables`.
        names: parameters of the checkpoint.
        candidates: names of the new model, for the message.

    Raises:
        CheckpointError: names that no rule is about, each with the nearest candidates; or two names would become one.
    """
    pool = list(candidates)
    renamed: dict[str, Renamed] = {}
    unknown: list[str] = []
    for name in names:
        for rule in rules:
            matches, new = rule.apply(name)
            if matches:
                renamed[name] = Renamed(new, rule.why)
                break
        else:
            unknown.append(name)
    if unknown:
        lines = [f"  {name}{_hint(name, pool)}" for name in unknown[:_LISTED]]
        if len(unknown) > _LISTED:
            lines.append(f"  ... and {len(unknown) - _LISTED} more")
        raise CheckpointError(f"{len(unknown)} parameters that no migration rule is about:\n" + "\n".join(lines))
    _check_one_to_one(renamed)
    return renamed


def _hint(name: str, pool: list[str]) -> str:
    near = closest(name, pool)
    return f" (nearest: {', '.join(near)})" if near else ""


def _check_one_to_one(renamed: dict[str, Renamed]) -> None:
    taken: dict[str, str] = {}
    for old, target in renamed.items():
        if target.new is None:
            continue
        if target.new in taken:
            raise CheckpointError(f"{taken[target.new]} and {old} would both become {target.new}; expected one of them")
        taken[target.new] = old
