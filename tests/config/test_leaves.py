"""Every config of the project is sound, for the real data sets and for the embedded ones."""

from __future__ import annotations

import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config

from gatefuse_plugins.config import load_config, validate_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
LEAVES = sorted(CONFIGS.glob("*.py"))


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_leaf_validates_in_every_profile(path: Path) -> None:
    import gatefuse_plugins.plugins  # noqa: F401

    if path.stem.startswith("mm_"):
        pytest.importorskip("mmcv", reason="mm_* configs import gatefuse_plugins.mm, which needs mmcv")
    cfg = load_config(path)
    for profile in cfg.get("profiles", {None: None}):
        validate_config(load_config(path, [f"profile={profile}"] if profile else None))


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_leaf_opens_with_its_command(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert any(line.startswith(f"#   python tools/train.py configs/{path.name}") for line in lines[:4])


def repeated(stated: Mapping[str, Any], base: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Dotted keys at which ``stated`` says what ``base`` says already."""
    for key, value in stated.items():
        if isinstance(value, Mapping) and isinstance(base.get(key), Mapping):
            yield from repeated(value, base[key], f"{path}{key}.")
        elif key in base and base[key] == value:
            yield f"{path}{key}"


@pytest.mark.parametrize("path", LEAVES, ids=lambda path: path.stem)
def test_leaf_states_only_differences(path: Path, tmp_path: Path) -> None:
    stated = runpy.run_path(str(path))
    bases = [stated["_base_"]] if isinstance(stated["_base_"], str) else stated["_base_"]
    below = tmp_path / "below.py"
    below.write_text(f"_base_ = {[str(CONFIGS / base) for base in bases]!r}\n")
    assert list(repeated(stated, Config.fromfile(below).to_dict())) == []


def test_repetition_is_found_at_any_depth() -> None:
    base = {"lr": 1, "model": {"fusion": {"type": "A", "heads": 2}}, "embedded": {"root": "x"}}
    stated = {"lr": 1, "model": {"fusion": {"type": "B", "heads": 2}}, "embedded": None, "new": 1}
    assert list(repeated(stated, base)) == ["lr", "model.fusion.heads"]
