"""A checkpoint knows the frozen encoder whose tokens it was trained on."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from safetensors.torch import load_file

from gatefuse_plugins.registry import HOOKS


@HOOKS.register_module()
class VisionStampHook(Hook):
    """Write the encoder's digest, and its weights, into ``meta`` of every checkpoint.

    The model itself holds no encoder once features are cached; with the weights (small encoders only) a checkpoint
    can be tested on another machine without pre-training the encoder again.

    Args:
        weights: safetensors file of the encoder.
        digest: ``module_digest`` of the encoder.
    """

    def __init__(self, weights: str, digest: str) -> None:
        self.digest = digest
        self.state = load_file(weights)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Adds ``meta.vision_digest`` and ``meta.vision_state``."""
        checkpoint["meta"].update(vision_digest=self.digest, vision_state=self.state)
