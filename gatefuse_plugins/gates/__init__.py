"""Gates: evidence -> raw -> value, with every value passing one tap. One gate a file."""

from gatefuse_plugins.gates.concat_linear import ConcatLinear
from gatefuse_plugins.gates.gate import GRANULARITIES, Gate
from gatefuse_plugins.gates.ownership import gate_parameters, named_gate_parameters
from gatefuse_plugins.gates.query_gate import EvidenceGate, QueryGate, quick_gelu, tanh_evidence_gate
from gatefuse_plugins.gates.residual import ResidualGate
from gatefuse_plugins.gates.sigmoid import SigmoidGate, SigmoidSquash
from gatefuse_plugins.gates.tanh import TanhGate, TanhSquash
from gatefuse_plugins.gates.tap import TAP_KINDS, GateTap, gate_taps

__all__ = [
    "GRANULARITIES",
    "TAP_KINDS",
    "ConcatLinear",
    "EvidenceGate",
    "Gate",
    "GateTap",
    "QueryGate",
    "ResidualGate",
    "SigmoidGate",
    "SigmoidSquash",
    "TanhGate",
    "TanhSquash",
    "gate_parameters",
    "gate_taps",
    "named_gate_parameters",
    "quick_gelu",
    "tanh_evidence_gate",
]
