"""Names and shapes of a state dict, and the questions that are asked of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

Shape = tuple[int, ...]


class Shapes(dict[str, Shape]):
    """Parameter name to shape."""

    def width(self, name: str, axis: int) -> int:
        """Size of ``name`` along ``axis``; 0 where there is no such parameter or axis."""
        shape = self.get(name, ())
        return shape[axis] if -len(shape) <= axis < len(shape) else 0

    def count(self, prefix: str) -> int:
        """Number of entries of the list at ``prefix`` (``transformer.encoder.layers``): highest index plus one."""
        pattern = re.compile(rf"{re.escape(prefix)}\.(\d+)\.")
        return max((int(match[1]) + 1 for name in self if (match := pattern.match(name))), default=0)

    def under(self, prefix: str) -> list[str]:
        """Names that start with ``prefix`` and a dot."""
        return [name for name in self if name.startswith(f"{prefix}.")]

    def tops(self) -> set[str]:
        """First segments of all names."""
        return {name.split(".", 1)[0] for name in self}

    def matches(self, pattern: str) -> Iterator[re.Match[str]]:
        """Full matches of a regular expression."""
        expression = re.compile(pattern)
        return (match for name in self if (match := expression.fullmatch(name)))
