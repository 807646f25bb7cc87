"""Copies of real checkouts, patched or not, and their scripts run as a user runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from gatefuse_plugins.upstream.manifest import PatchSet, load_patch_sets

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {"qd_detr": "GATEFUSE_QD_DETR", "sprc": "GATEFUSE_SPRC", "avigate": "GATEFUSE_AVIGATE"}
CODE = {
    "qd_detr": ("qd_detr", "utils", "standalone_eval"),
    "sprc": ("src",),
    "avigate": ("modules", "main_task_retrieval.py", "util.py", "metrics.py", "dataloaders"),
}
# What upstream imports for printing and for one figure of its evaluation, where it is not installed
STUBS = {
    "tabulate.py": "__version__ = '0.9.0'\ndef tabulate(*args, **kwargs):\n    return str(args[0])\n",
    "sklearn/__init__.py": "",
    "sklearn/metrics.py": """
import numpy as np

def precision_recall_curve(truth, scores):
    order = np.argsort(-np.asarray(scores), kind="stable")
    hits = np.cumsum(np.asarray(truth)[order])
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / max(hits[-1], 1)
    return np.append(precision[::-1], 1.0), np.append(recall[::-1], 0.0), np.asarray(scores)[order][::-1]
""",
}


def patch_sets() -> dict[str, PatchSet]:
    """The patches that ship."""
    return load_patch_sets(ROOT / "patches")


def copy_checkout(name: str, folder: Path) -> Path:
    """The code of a real checkout in ``folder/NAME``; skips the test where none is named.

    Copied from a clean checkout of the commit that the patches are for.
    """
    variable = VARIABLES[name]
    source = os.environ.get(variable)
    if not source:
        pytest.skip(f"{variable} is not set; expected a checkout of {patch_sets()[name].repository}")
    target = folder / name
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for part in CODE[name]:
        place = Path(source) / part
        assert place.exists(), f"{variable}={source}: holds no {part}"
        if place.is_dir():
            shutil.copytree(place, target / part, ignore=ignored)
        else:
            shutil.copy(place, target / part)
    return target


def run_script(checkout: Path, *words: str, paths: tuple[Path, ...] = (), without_plugin: bool = False) -> str:
    """Output of ``python WORDS`` in the checkout; fails the test where it fails.

    Args:
        paths: folders in front of the module path.
        without_plugin: run where this project cannot be imported.
    """
    stubs = checkout.parent / "stubs"
    for name, text in STUBS.items():
        if find_spec(name.split("/")[0].removesuffix(".py")) is None:
            (stubs / name).parent.mkdir(parents=True, exist_ok=True)
            (stubs / name).write_text(text)
    stubs.mkdir(exist_ok=True)
    if without_plugin:
        (stubs / "sitecustomize.py").write_text(
            "import importlib.util as u, sys\nsys.modules['gatefuse_plugins'] = None\nfind = u.find_spec\n"
            "u.find_spec = lambda name, *more: None if name == 'gatefuse_plugins' else find(name, *more)\n"
        )
    else:
        (stubs / "sitecustomize.py").unlink(missing_ok=True)
    path = os.pathsep.join(map(str, (*paths, checkout, stubs, ROOT)))
    environment = {**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *words],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{words[0]} failed\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout + done.stderr
