"""Gates and fusions put into any ``nn.Module`` by a config, and taken out again."""

from gatefuse_plugins.injection.apply import eject, inject, injection_of
from gatefuse_plugins.injection.context import fusion_context
from gatefuse_plugins.injection.gated_attention import GatedCrossAttention
from gatefuse_plugins.injection.gated_feed_forward import GatedFeedForward
from gatefuse_plugins.injection.loading import load_injection
from gatefuse_plugins.injection.model import build_injected
from gatefuse_plugins.injection.optimizer import GateOptimWrapperConstructor
from gatefuse_plugins.injection.plan import InjectionPlan, PlannedInsert, plan_injection
from gatefuse_plugins.injection.weights import injected_state, load_gates, save_gates

__all__ = [
    "GateOptimWrapperConstructor",
    "GatedCrossAttention",
    "GatedFeedForward",
    "InjectionPlan",
    "PlannedInsert",
    "build_injected",
    "eject",
    "fusion_context",
    "inject",
    "injected_state",
    "injection_of",
    "load_gates",
    "load_injection",
    "plan_injection",
    "save_gates",
]
