"""mmcv's ``MultiheadAttention`` with a gate on its branch."""

from __future__ import annotations

from typing import Any

from mmcv.cnn.bricks.transformer import MultiheadAttention
from mmengine.utils import deprecated_api_warning
from torch import Tensor

from gatefuse_plugins.mm.branch import GatedBranch
from gatefuse_plugins.registry import MODELS


@MODELS.register_module()
class GatedMultiheadAttention(GatedBranch, MultiheadAttention):
    """``identity + g * branch`` for ``attn_cfgs`` of mmcv's ``BaseTransformerLayer``; g is 1 at the start.

    Bit-identical to mmcv's ``MultiheadAttention`` until the first training step. A ``global`` gate averages over valid
    queries, which only self-attention tells: there the keys' padding mask is the queries'. In cross-attention it
    averages over all queries, padding included.

    Args:
        embed_dims: width D.
        num_heads: heads; divides D.
        granularity: see :class:`~gatefuse_plugins.gates.ResidualGate`.
        gate_hidden_dim: width of the gate's hidden layer, D / 2 by default.
        layer: 0-based layer index for the tap.
        options: of mmcv's class (``attn_drop``, ``proj_drop``, ``dropout_layer``, ``batch_first``, ``init_cfg``, ...).

    Raises:
        ConfigError: unknown granularity.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        *,
        granularity: str = "scalar",
        gate_hidden_dim: int | None = None,
        layer: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(embed_dims, num_heads, **options)
        self.add_gate(granularity, gate_hidden_dim, "attention", layer, self.batch_first)

    @deprecated_api_warning({"residual": "identity"}, cls_name="GatedMultiheadAttention")
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_pos: Tensor | None = None,
        attn_mask: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        **more: Any,
    ) -> Tensor:
        """Arguments and result of mmcv's class: ``query`` (B, L, D) with ``batch_first``, else (L, B, D)."""
        skip = query if identity is None else identity
        nothing = skip.new_zeros(())  # mmcv adds the identity itself, and the gate has to come before
        branch = super().forward(query, key, value, nothing, query_pos, key_pos, attn_mask, key_padding_mask, **more)
        padding = key_padding_mask if key is None or key is query else None
        return skip + self.gated(branch, padding)
