"""Collects every fault of a data set before one error reports them together."""

from __future__ import annotations

from collections.abc import Iterable

from gatefuse_plugins.errors import DataError

MAX_LISTED = 10


def capped_list(items: Iterable[object], limit: int = MAX_LISTED) -> str:
    """``items`` joined by commas; past ``limit`` of them the rest is only counted."""
    texts = [str(item) for item in items]
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" and {more} more" if more > 0 else "")


class Faults:
    """Faults grouped by kind, in the order found.

    A *kind* is a sentence saying what is wrong, where, and what was expected; its *items* are the offenders.
    """

    def __init__(self) -> None:
        self.by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, *items: object) -> None:
        """Record ``items`` under ``kind``; without items nothing is recorded."""
        if items:
            self.by_kind.setdefault(kind, []).extend(str(item) for item in items)

    def __bool__(self) -> bool:
        return bool(self.by_kind)

    def __len__(self) -> int:
        return sum(len(items) for items in self.by_kind.values())

    def lines(self) -> list[str]:
        """One line per kind: the kind, how many offenders, and the first ten of them."""
        return [f"{kind} ({len(items)}): {capped_list(items)}" for kind, items in self.by_kind.items()]

    def raise_if_any(self, subject: str) -> None:
        """Raise one :class:`DataError` about ``subject`` that lists everything recorded."""
        if self:
            raise DataError(f"{subject}: {len(self)} fault(s)\n" + "\n".join(f"  - {line}" for line in self.lines()))
