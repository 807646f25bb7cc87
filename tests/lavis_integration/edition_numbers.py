"""Run in a fresh interpreter: which LAVIS is first on the path, and what the tiny model computes with it (JSON)."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import torch

CAPTIONS = ["remove the red circle", "", "make the large blue square small and move it to the left"]


def random_like(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The same in every process and under every library version, unlike torch's own initialisation."""
    values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    return torch.from_numpy(np.asarray(values))


def numbers() -> dict[str, Any]:
    """Similarity, losses, and the versions that gave them."""
    import lavis.models
    import timm
    import transformers

    import gatefuse_plugins.lavis  # noqa: F401

    torch.set_num_threads(1)
    model, _, _ = lavis.models.load_model_and_preprocess("blip2_cir_gated", "tiny", is_eval=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(random_like(name, tuple(parameter.shape)) * 0.1 + float("norm" in name.lower()))
        model.temp.fill_(0.07)
    reference, target = (random_like(name, (3, 3, 48, 48)) for name in ("reference", "target"))
    features, _ = model.extract_target_features(target)
    _, tokens = model.extract_target_features(reference)
    losses = model({"image": reference, "target": target, "text_input": CAPTIONS})
    return {
        "lavis": lavis.__file__,
        "transformers": transformers.__version__,
        "timm": timm.__version__,
        "similarity": model.inference(tokens, features, CAPTIONS).tolist(),
        "losses": {name: value.item() for name, value in losses.items()},
    }


if __name__ == "__main__":
    print(json.dumps(numbers()))
