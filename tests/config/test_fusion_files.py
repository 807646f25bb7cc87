"""Files below ``configs/fusion`` hold what their readers take, and the fusions of the Python configs."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import yaml

from gatefuse_plugins.config import load_config
from gatefuse_plugins.injection import load_injection
from gatefuse_plugins.upstream.qd_detr.options import add_flags, requested_fusion

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
FILES = {path: yaml.safe_load(path.read_text()) for path in sorted((CONFIGS / "fusion").glob("*.yaml"))}
LEAVES = {"avigate_elementwise": "qvhighlights_avigate_elementwise", "temporal_gate": "qvhighlights_temporal_gate"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_holds_rules_or_a_fusion(path: Path) -> None:
    (section,) = FILES[path]
    assert section == ("fusion" if path.stem in LEAVES else "injection")
    if section == "injection":
        assert load_injection(path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_names_its_command(path: Path) -> None:
    option = "--fusion_cfg /path/to/gatefuse/" if path.stem in LEAVES else "--config "
    assert f"{option}configs/fusion/{path.name}" in path.read_text()


@pytest.mark.parametrize(("name", "leaf"), LEAVES.items())
def test_a_fusion_for_qd_detr_is_that_of_the_python_config(name: str, leaf: str) -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, testing=False)
    opt = parser.parse_args(["--fusion_cfg", str(CONFIGS / "fusion" / f"{name}.yaml")])
    assert requested_fusion(opt) == load_config(CONFIGS / f"{leaf}.py", ["profile=real"]).fusion.to_dict()
