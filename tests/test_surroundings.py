"""What holds for every test, also where one folder is run alone."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import torch

TESTS = Path(__file__).resolve().parent


def test_one_thread() -> None:
    assert torch.get_num_threads() == 1


def test_shared_modules_have_names_of_their_own() -> None:
    """Their folders are all on ``sys.path``, so the first of two would hide the second without a word."""
    names = Counter(path.stem for path in TESTS.rglob("*.py") if not path.stem.startswith(("test_", "conftest")))
    assert {"oracles", "tiny_hosts"} <= set(names)
    assert [name for name, count in names.items() if count > 1 or name in sys.stdlib_module_names] == []
