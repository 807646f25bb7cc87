"""Every config of the project is sound, for the real data sets and for the embedded ones."""

from __future__ import annotations

from pathlib import Path

import pytest

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
def test_leaf_opens_with_its_command_and_states_only_differences(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert any(line.startswith(f"#   python tools/train.py configs/{path.name}") for line in lines[:4])
    assert len(lines) <= 30
