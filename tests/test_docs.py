"""Names of this package that README and docs tell readers to import, or speak of, exist."""

from __future__ import annotations

import ast
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTRAS = {"lavis": "lavis", "mm": "mmcv"}  # subpackages, and what they need to be imported
IMPORT = re.compile(r"^from gatefuse_plugins[\w.]* import (?:\([^)]*\)|.*)", re.MULTILINE)


def names_in(text: str) -> set[str]:
    """Dotted names below the package: imported from it, or spelt out."""
    names = set(re.findall(r"\bgatefuse_plugins(?:\.\w+)+", text))
    for statement in IMPORT.findall(text):
        (node,) = ast.parse(statement).body  # of the statement alone: examples with `...` are not always Python
        names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


DOCUMENTED = [(page.name, name) for page in PAGES for name in sorted(names_in(page.read_text(encoding="utf-8")))]


@pytest.mark.parametrize(("page", "name"), DOCUMENTED)
def test_a_documented_name_exists(page: str, name: str) -> None:
    if needed := EXTRAS.get(name.split(".")[1]):
        pytest.importorskip(needed, reason=f"{page} names {name}")
    pkgutil.resolve_name(name)


def test_the_check_finds_what_it_looks_for() -> None:
    imports = (
        "from gatefuse_plugins.gates import TanhGate  # a gate\nfrom gatefuse_plugins.gates import (\n    gone,\n)\n"
    )
    names = names_in(f"See `gatefuse_plugins.gates.tap`.\n```python\n{imports}```\n")
    assert names == {"gatefuse_plugins.gates" + rest for rest in ("", ".tap", ".TanhGate", ".gone")}
    with pytest.raises(AttributeError, match="gone"):
        pkgutil.resolve_name("gatefuse_plugins.gates.gone")
    assert len(DOCUMENTED) > 10
