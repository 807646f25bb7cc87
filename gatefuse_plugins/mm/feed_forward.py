"""mmcv's ``FFN`` with a gate on its branch."""

from __future__ import annotations

from typing import Any

from mmcv.cnn.bricks.transformer import FFN
from mmengine.utils import deprecated_api_warning
from torch import Tensor

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.mm.branch import GatedBranch
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class GatedFFN(GatedBranch, FFN):
    """``identity + g * branch`` for ``ffn_cfgs`` of mmcv's ``BaseTransformerLayer``; g is 1 at the start.

    Bit-identical to mmcv's ``FFN`` until the first training step. The layer tells its networks neither which positions
    are padding, so a ``global`` gate averages over all, nor the order of dimensions: ``batch_first`` is to be said.

    Args:
        embed_dims: width D.
        granularity: see :class:`~gatefuse_plugins.gates.ResidualGate`.
        gate_hidden_dim: width of the gate's hidden layer, D / 2 by default.
        layer: 0-based layer index for the tap.
        batch_first: as the layer's; needed for every granularity but ``scalar``.
        options: of mmcv's class (``feedforward_channels``, ``num_fcs``, ``ffn_drop``, ``add_identity``, ...).

    Raises:
        ConfigError: unknown granularity, or one that needs ``batch_first`` without it.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        *,
        granularity: str = "scalar",
        gate_hidden_dim: int | None = None,
        layer: int | None = None,
        batch_first: bool | None = None,
        **options: Any,
    ) -> None:
        super().__init__(embed_dims, **options)
        if batch_first is None and granularity != "scalar":
            raise ConfigError(
                f"GatedFFN granularity {granularity!r} needs batch_first, which is None; expected that of the layer"
                " (mmcv's default is False)"
            )
        self.add_gate(granularity, gate_hidden_dim, "ffn", layer, batch_first is not False)

    @deprecated_api_warning({"residual": "identity"}, cls_name="GatedFFN")
    def forward(self, x: Tensor, identity: Tensor | None = None) -> Tensor:
        """``x`` (B, L, D) or (L, B, D) -> the same shape; without ``add_identity`` the gated branch alone."""
        skip = x if identity is None else identity
        nothing = skip.new_zeros(())  # mmcv adds the identity itself, and the gate has to come before
        branch = self.gated(super().forward(x, nothing))
        return skip + branch if self.add_identity else branch
