"""What importing the package loads, measured in fresh interpreters."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"lavis", "torchvision", "matplotlib", "pandas"}


def modules_after(statement: str) -> set[str]:
    """Names in ``sys.modules`` of a fresh interpreter that ran ``statement``."""
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_package_imports_next_to_nothing() -> None:
    loaded = modules_after("import gatefuse_plugins")
    assert "gatefuse_plugins" in loaded
    assert loaded & (HEAVY | {"torch", "numpy", "mmengine"}) == set()


def test_plugins_register_everything_and_import_nothing_heavy() -> None:
    loaded = modules_after("import gatefuse_plugins.plugins")
    assert loaded & HEAVY == set()
    registering = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "gatefuse_plugins").rglob("*.py")
        if re.search(r"^@\w+\.register_module\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        and not {"lavis", "mm"} & set(path.relative_to(ROOT).parts[:2])
    }
    assert len(registering) > 5
    assert registering - loaded == set(), "modules that register a component but that plugins.py does not import"


def test_the_measurement_sees_a_heavy_import() -> None:
    pytest.importorskip("matplotlib", reason="needs the extra 'report'")
    assert "matplotlib" in modules_after("import matplotlib")
