"""The map of the system: child registries of mmengine's, scope ``gatefuse``.

``dict(type='gatefuse.NAME', ...)`` works in any mmengine config after
``custom_imports = dict(imports=['gatefuse_plugins.plugins'])``.
"""

from __future__ import annotations

from typing import Any

from mmengine import registry
from mmengine.registry import Registry

SCOPE = "gatefuse"

MODELS = Registry("model", parent=registry.MODELS, scope=SCOPE, locations=["gatefuse_plugins.hosts"])
DATASETS = Registry("dataset", parent=registry.DATASETS, scope=SCOPE, locations=["gatefuse_plugins.data"])
DATA_SAMPLERS = Registry(
    "data sampler", parent=registry.DATA_SAMPLERS, scope=SCOPE, locations=["gatefuse_plugins.data"]
)
TRANSFORMS = Registry("transform", parent=registry.TRANSFORMS, scope=SCOPE, locations=["gatefuse_plugins.data"])
METRICS = Registry("metric", parent=registry.METRICS, scope=SCOPE, locations=["gatefuse_plugins.evaluation"])
HOOKS = Registry("hook", parent=registry.HOOKS, scope=SCOPE, locations=["gatefuse_plugins.engine"])
FUNCTIONS = Registry("function", parent=registry.FUNCTIONS, scope=SCOPE, locations=["gatefuse_plugins.data"])
LOOPS = Registry("loop", parent=registry.LOOPS, scope=SCOPE, locations=["gatefuse_plugins.engine"])

# The Runner looks every other kind up in the default scope too, and warns where that scope has no registry of the kind.
_EMPTY_CHILDREN = [
    Registry(root.name, parent=root, scope=SCOPE, locations=["gatefuse_plugins.registry"])
    for root in (
        registry.EVALUATOR,
        registry.LOG_PROCESSORS,
        registry.MODEL_WRAPPERS,
        registry.OPTIMIZERS,
        registry.OPTIM_WRAPPERS,
        registry.OPTIM_WRAPPER_CONSTRUCTORS,
        registry.PARAM_SCHEDULERS,
        registry.RUNNERS,
        registry.RUNNER_CONSTRUCTORS,
        registry.VISBACKENDS,
        registry.VISUALIZERS,
        registry.WEIGHT_INITIALIZERS,
    )
]


class ComponentRegistry(Registry):
    """A kind of model component (gate, fusion) whose members are visible in ``MODELS`` too.

    mmengine allows one child per scope under a parent, so gates and fusions cannot all be children of its
    ``MODELS``; entering each member in our ``MODELS`` as well lets ``gatefuse.NAME`` resolve from anywhere.
    """

    def _register_module(self, module: Any, module_name: Any = None, force: bool = False) -> None:
        MODELS._register_module(module, module_name, force)  # first: a name taken there must not be entered here
        super()._register_module(module, module_name, force)


GATES = ComponentRegistry("gate", scope=SCOPE, locations=["gatefuse_plugins.gates"])
FUSIONS = ComponentRegistry("fusion", scope=SCOPE, locations=["gatefuse_plugins.fusions"])

# Functions that tools/analyze_gates.py runs: GateSummary -> a dataclass, and GateReport -> a figure or None.
ANALYSES = Registry("gate analysis", scope=SCOPE, locations=["gatefuse_plugins.analysis.gates.entropy"])
PLOTS = Registry("gate plot", scope=SCOPE, locations=["gatefuse_plugins.analysis.gates.plots"])
