"""Where panels stand in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatefuse_plugins.analysis.gates.plots.style import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Sheet:
    """A figure of rows of panels, laid out in inches from the top.

    Fixed places cost a tenth of a layout engine's passes over all text.

    Args:
        width: inches.
        heights: of the rows of panels, without their titles and labels.
        title, note: above all, the note smaller; both may have several lines.
        below: inches for labels below each row.

    Raises:
        ImportError: matplotlib is not installed.
    """

    def __init__(self, width: float, heights: Sequence[float], title: str, note: str = "", below: float = 0.55) -> None:
        lines = 0.27 * (title.count("\n") + 1) + (0.19 * (note.count("\n") + 1) if note else 0.0)
        self.figure = new_figure(width, 0.2 + lines + sum(0.35 + height + below for height in heights))
        self._heights, self._below = list(heights), below
        self._width, self._height = self.figure.get_size_inches()
        self._top = self._height - 0.2 - lines
        self._text(self._height - 0.1, title, 12.5, "black")
        if note:
            self._text(self._height - 0.14 - 0.27 * (title.count("\n") + 1), note, 9, "0.3")

    def row(
        self, widths: int | Sequence[float], left: float = 0.8, gap: float = 0.8, right: float = 0.3, **options: Any
    ) -> list[Axes]:
        """Panels of the next row, equally wide or as ``widths`` says; ``right`` has room for a legend."""
        shares = [1.0] * widths if isinstance(widths, int) else list(widths)
        height = self._heights.pop(0)
        bottom = self._top - 0.35 - height
        self._top = bottom - self._below
        free = self._width - left - right - gap * (len(shares) - 1)
        found, at = [], left
        for share in shares:
            width = free * share / sum(shares)
            box = (at / self._width, bottom / self._height, width / self._width, height / self._height)
            found.append(self.figure.add_axes(box, **options))
            at += width + gap
        return found

    def _text(self, top: float, text: str, size: float, colour: str) -> None:
        place = 0.15 / self._width, top / self._height
        self.figure.text(*place, text, fontsize=size, va="top", ha="left", color=colour, linespacing=1.3)
