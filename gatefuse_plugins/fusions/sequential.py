"""Several fusions one after another over the same context."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.fusions.base import Fusion
from gatefuse_plugins.registry import FUSIONS


@FUSIONS.register_module()
class SequentialFusion(Fusion):
    """Apply ``fusions`` in order; each sees the same context, condition and masks.

    Args:
        fusions: built fusions or their configs, at least one.

    Raises:
        ConfigError: ``fusions`` is empty.
    """

    def __init__(self, fusions: Sequence[dict | Fusion]) -> None:
        super().__init__()
        if not fusions:
            raise ConfigError("SequentialFusion needs at least one fusion, got none")
        self.fusions = nn.ModuleList(FUSIONS.build(item) if isinstance(item, dict) else item for item in fusions)

    @classmethod
    def from_widths(cls, image_dim: int, text_dim: int) -> SequentialFusion:
        """Where to look, then what to change there: an example of the two text-guided fusions in a row."""
        widths = {"image_dim": image_dim, "text_dim": text_dim}
        return cls([{"type": name, **widths} for name in ("TextGuidedSpatialAttention", "TextGuidedImageFusion")])

    def forward(
        self,
        x: Tensor,
        context: Tensor,
        condition: Tensor | None = None,
        x_mask: Tensor | None = None,
        context_mask: Tensor | None = None,
        condition_mask: Tensor | None = None,
    ) -> Tensor:
        """See :class:`Fusion`."""
        for fusion in self.fusions:
            x = fusion(x, context, condition, x_mask, context_mask, condition_mask)
        return x
