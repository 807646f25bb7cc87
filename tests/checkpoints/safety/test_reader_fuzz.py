"""A sample of ``benchmarks/reader_fuzz.py``, and proof that it would notice a fault."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(scope="module")
def reader_fuzz() -> ModuleType:
    sys.path.append(str(BENCHMARKS))
    return import_module("reader_fuzz")


def test_honest_files_are_read_right(reader_fuzz: ModuleType, tmp_path: Path) -> None:
    reader_fuzz.read_honest(tmp_path)


def test_mutated_files_are_refused_or_read_right(reader_fuzz: ModuleType, tmp_path: Path) -> None:
    findings = reader_fuzz.fuzz(230, seed=5, folder=tmp_path)
    assert findings.faults == []
    assert sum(findings.outcomes.values()) == 230
    assert {outcome for *_, outcome in findings.outcomes} == {"refused", "equal", "as written"}


@pytest.mark.parametrize(
    ("reads", "fault"),
    [
        (lambda path: SimpleNamespace(state_dict={"a": torch.ones(1)}), "other weights"),
        (lambda path: path.gone, "AttributeError"),
        (lambda path: torch.load(path), "Error"),
    ],
)
def test_a_faulty_reader_is_noticed(
    reader_fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: object, fault: str
) -> None:
    monkeypatch.setattr(reader_fuzz, "read_checkpoint", reads)
    findings = reader_fuzz.fuzz(23, seed=5, folder=tmp_path, keep=tmp_path / "kept")
    assert any(fault in line for line in findings.faults)
    assert len(list((tmp_path / "kept").iterdir())) == len(findings.faults)
