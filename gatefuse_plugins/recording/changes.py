"""How far a fusion moves its stream: mean absolute change, recorded for the length of a block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.recording.running_moments import RunningMoments


@contextlib.contextmanager
def record_changes(model: nn.Module) -> Iterator[dict[str, RunningMoments]]:
    """Accumulate |output - x| over valid positions for each fusion in ``model``, by name, within the block.

    A fusion whose output is wider than its stream (``Concat``) changes nothing that could be compared; it is left out.
    """
    changes: dict[str, RunningMoments] = {}
    with contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, Fusion) and not hasattr(module, "output_dim"):
                moments = changes[name or type(module).__name__] = RunningMoments()
                hooks.callback(_listen(module, moments).remove)
        yield changes


def _listen(fusion: Fusion, moments: RunningMoments) -> RemovableHandle:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        x = args[0] if args else kwargs["x"]
        mask = args[3] if len(args) > 3 else kwargs.get("x_mask")
        moments.update((output.detach() - x.detach()).abs(), mask)

    return fusion.register_forward_hook(hook, with_kwargs=True)
