"""Which of a host's many names a pattern can match at all: thousands of rules are not compared with all of them."""

from __future__ import annotations

import bisect
import itertools
import re
from collections.abc import Sequence

_PLAIN = re.compile(r"[^*?{},]+|\{[^*?{}]+\}")
_MOST_HEADS = 1000


class NameIndex:
    """Names, sorted so that those below a module are found at once.

    Args:
        names: dotted, in module order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._position = {name: index for index, name in enumerate(names)}
        self._sorted = sorted(names)

    def candidates(self, pattern: str) -> list[str]:
        """In module order, a superset of the names that the dotted glob ``pattern`` matches.

        The segments before the first one with a wildcard say under which modules they lie. A malformed pattern is no
        matter here.
        """
        heads = [""]
        for segment in itertools.takewhile(_PLAIN.fullmatch, pattern.split(".")):
            choices = segment[1:-1].split(",") if segment.startswith("{") else [segment]
            if len(heads) * len(choices) > _MOST_HEADS:
                break
            heads = [f"{head}{choice}." for head, choice in itertools.product(heads, choices)]
        if heads == [""]:
            return list(self._position)
        found = {name for head in heads for name in self._below(head)}
        return sorted(found, key=self._position.__getitem__)

    def _below(self, head: str) -> list[str]:
        """``head`` without its last dot, where there is such a module, and all names that start with ``head``."""
        start = bisect.bisect_left(self._sorted, head)
        end = bisect.bisect_left(self._sorted, head[:-1] + "/", lo=start)  # "/" comes right after "."
        own = [head[:-1]] if head[:-1] in self._position else []
        return own + self._sorted[start:end]
