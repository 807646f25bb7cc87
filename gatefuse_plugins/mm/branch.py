"""What gated mmcv modules share: a gate on the branch before the identity is added."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor

from gatefuse_plugins.gates.residual import ResidualGate


class GatedBranch(BaseModule):
    """Holds the gate of a module whose output is ``identity + branch``.

    The gate's parameters lie under ``gate.*``; all other names in the state dict are those of the mmcv class, so its
    checkpoints fit.
    """

    def add_gate(
        self, granularity: str, hidden_dim: int | None, kind: str, layer: int | None, batch_first: bool
    ) -> None:
        """Make the gate, ``self.embed_dims`` wide; arguments as in :class:`ResidualGate`.

        Args:
            batch_first: False where the branch is (L, B, D).

        Raises:
            ConfigError: unknown granularity.
        """
        self.gate = ResidualGate(self.embed_dims, granularity, hidden_dim, kind, layer)
        self._gate_hidden_dim = hidden_dim
        self._gate_batch_first = batch_first

    def gated(self, branch: Tensor, padding: Tensor | None = None) -> Tensor:
        """``branch`` (B, L, D) or (L, B, D) times its gate, in its own dtype.

        Args:
            padding: as torch's ``key_padding_mask`` (B, L): True, or anything but 0, at positions to be ignored.
        """
        valid = None if padding is None else padding == 0
        inner = branch if self._gate_batch_first else branch.transpose(0, 1)
        inner = self.gate(inner, valid).to(branch.dtype)
        return inner if self._gate_batch_first else inner.transpose(0, 1)

    def init_weights(self) -> None:
        """As mmcv's; the gate starts neutral also where the ``init_cfg`` of a module around has gone over it."""
        super().init_weights()
        tap = self.gate.tap
        fresh = ResidualGate(self.embed_dims, self.gate.granularity, self._gate_hidden_dim, tap.kind, tap.layer)
        self.gate.load_state_dict(fresh.state_dict())
