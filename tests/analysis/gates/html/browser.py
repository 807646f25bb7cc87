"""A headless browser: what a page looks like after its script ran."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_VOID = ("meta", "link", "input", "img", "br", "hr")


@dataclass
class Node:
    """An element; ``text`` is that of all it holds, in order."""

    tag: str
    attributes: dict[str, str | None]
    children: list[Node] = field(default_factory=list)
    parts: list[str | Node] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def all(self, tag: str, **attributes: str) -> list[Node]:
        """Elements below this one, in the order of the page; ``class_`` is one of an element's classes."""
        found = [node for child in self.children for node in (child, *child.all("*"))]
        return [node for node in found if tag in ("*", node.tag) and node._has(attributes)]

    def one(self, tag: str, **attributes: str) -> Node:
        (found,) = self.all(tag, **attributes)
        return found

    def _has(self, attributes: dict[str, str]) -> bool:
        classes = (self.attributes.get("class") or "").split()
        return all(
            value in classes if name == "class_" else self.attributes.get(name.replace("_", "-")) == value
            for name, value in attributes.items()
        )


class _Tree(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Node("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, dict(attrs))
        self._open[-1].children.append(node)
        self._open[-1].parts.append(node)
        if tag not in _VOID:
            self._open.append(node)

    def handle_endtag(self, tag: str) -> None:
        if tag in [node.tag for node in self._open]:
            while self._open.pop().tag != tag:
                pass

    def handle_data(self, data: str) -> None:
        self._open[-1].parts.append(data)


def rendered(page: Path, fragment: str, profile: Path) -> Node:
    """The page after its script ran, opened with ``#fragment``; skips the test where there is no browser."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no headless browser on PATH that can print a page; looked for {', '.join(BROWSERS)}")
    address = page.resolve().as_uri() + (f"#{fragment}" if fragment else "")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", "--dump-dom"]
    command = [browser, *options, f"--user-data-dir={profile}", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    tree = _Tree()
    tree.feed(done.stdout)
    return tree.root
