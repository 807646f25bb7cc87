"""Start of the weights (upstream: ``init_weights`` in ``modules/until_module.py``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from gatefuse_plugins.gates.query_gate import EvidenceGate, QueryGate
from gatefuse_plugins.hosts.avigate.layers import AttentionPool

if TYPE_CHECKING:
    from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork

_STD = 0.02


def initialise(network: AVIGATENetwork) -> None:
    """Orthogonal audio queries; linear layers and embeddings normal, biases 0.

    Query gates stay in PyTorch's default and attention pools at 0: whether a layer is one of theirs is asked of the
    modules, so no later layer is spared by its name. Encoders are not yet in place and keep their weights.
    """
    nn.init.orthogonal_(network.query_tokens)
    own = [module for module in network.modules() if isinstance(module, QueryGate | AttentionPool)]
    kept = {id(part) for module in own for part in module.modules()}
    for module in network.modules():
        if id(module) in kept or not isinstance(module, nn.Linear | nn.Embedding):
            continue
        nn.init.normal_(module.weight, std=_STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, EvidenceGate):
            module.reset_text_layer()
