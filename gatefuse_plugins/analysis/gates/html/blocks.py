"""What a page is made of: sections of blocks. ``assets/main.js`` names the function that draws each type of block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

Block = dict[str, Any]
"""Plain JSON; ``type`` says how it is drawn."""


class Section(TypedDict):
    """Part of a page.

    Attributes:
        id: what a link to it ends in.
        title: heading, and entry of the page's menu.
        blocks: what it holds, from top to bottom.
    """

    id: str
    title: str
    blocks: list[Block]


def paragraph(text: str) -> Block:
    return {"type": "paragraph", "text": text}


def notice(text: str) -> Block:
    return {"type": "notice", "text": text}


def table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Block:
    """Cells are text, :func:`~gatefuse_plugins.analysis.gates.html.rounding.rounded` numbers, or ``None``."""
    return {"type": "table", "caption": caption, "columns": list(columns), "rows": [list(row) for row in rows]}


def beside(blocks: Sequence[Block]) -> Block:
    """``blocks`` side by side where the window is wide enough."""
    return {"type": "columns", "blocks": list(blocks)}
