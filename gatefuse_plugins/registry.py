"""The map of the system: child registries of mmengine's, scope ``gatefuse``.

``dict(type='gatefuse.NAME', ...)`` works in any mmengine config after
``custom_imports = dict(imports=['gatefuse_plugins.plugins'])``.
"""

from __future__ import annotations

from typing import Any

from mmengine.registry import DATA_SAMPLERS as MMENGINE_DATA_SAMPLERS
from mmengine.registry import DATASETS as MMENGINE_DATASETS
from mmengine.registry import HOOKS as MMENGINE_HOOKS
from mmengine.registry import LOOPS as MMENGINE_LOOPS
from mmengine.registry import METRICS as MMENGINE_METRICS
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import TRANSFORMS as MMENGINE_TRANSFORMS
from mmengine.registry import Registry

SCOPE = "gatefuse"

MODELS = Registry("model", parent=MMENGINE_MODELS, scope=SCOPE, locations=["gatefuse_plugins.hosts"])
DATASETS = Registry("dataset", parent=MMENGINE_DATASETS, scope=SCOPE, locations=["gatefuse_plugins.data"])
DATA_SAMPLERS = Registry(
    "data sampler", parent=MMENGINE_DATA_SAMPLERS, scope=SCOPE, locations=["gatefuse_plugins.data"]
)
TRANSFORMS = Registry("transform", parent=MMENGINE_TRANSFORMS, scope=SCOPE, locations=["gatefuse_plugins.data"])
METRICS = Registry("metric", parent=MMENGINE_METRICS, scope=SCOPE, locations=["gatefuse_plugins.evaluation"])
HOOKS = Registry("hook", parent=MMENGINE_HOOKS, scope=SCOPE, locations=["gatefuse_plugins.engine"])
LOOPS = Registry("loop", parent=MMENGINE_LOOPS, scope=SCOPE, locations=["gatefuse_plugins.engine"])


class ComponentRegistry(Registry):
    """A kind of model component (gate, fusion) whose members are visible in ``MODELS`` too.

    mmengine allows one child per scope under a parent, so gates and fusions cannot all be children of its
    ``MODELS``; entering each member in our ``MODELS`` as well lets ``gatefuse.NAME`` resolve from anywhere.
    """

    def _register_module(self, module: Any, module_name: Any = None, force: bool = False) -> None:
        super()._register_module(module, module_name, force)
        MODELS._register_module(module, module_name, force)


GATES = ComponentRegistry("gate", scope=SCOPE, locations=["gatefuse_plugins.gates"])
FUSIONS = ComponentRegistry("fusion", scope=SCOPE, locations=["gatefuse_plugins.fusions"])
