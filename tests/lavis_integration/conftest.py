"""The tiny model, filled by name so that every process gets the same numbers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor


@pytest.fixture(autouse=True)
def quiet_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No local file of the user's in place of the ones under test."""
    for variable in ("BERT", "BLIP2", "BLIP2_COCO", "BLIP2_VITL", "CLIP_VIT_L", "EVA_VIT_G"):
        monkeypatch.delenv(f"GATEFUSE_{variable}", raising=False)


@pytest.fixture
def tiny_config() -> dict[str, Any]:
    """The ``model:`` section of the tiny YAML as a plain dict, small enough for a file in a test."""
    from gatefuse_plugins.lavis import Blip2CirGated  # here, since a conftest cannot be skipped where lavis is missing

    section = OmegaConf.load(Blip2CirGated.default_config_path("tiny")).model
    config: dict[str, Any] = json.loads(json.dumps(OmegaConf.to_container(section)))
    return config


@pytest.fixture
def fill_by_name() -> Callable[[Mapping[str, tuple[int, ...]]], dict[str, Tensor]]:
    """Names and shapes to weights, by the rule of the oracles: seeded by the name, norm scales around 1."""

    def fill(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
        state = {}
        for name, shape in shapes.items():
            values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32) * 0.1
            state[name] = torch.from_numpy(np.asarray(values)) + float(len(shape) == 1 and name.endswith("weight"))
        if "temp" in state:
            state["temp"] = torch.tensor(0.07)
        return state

    return fill
