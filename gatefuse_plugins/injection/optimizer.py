"""A learning rate of their own for gates, said in the config."""

from __future__ import annotations

from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.gates import gate_parameters

_KEYS = ("gate_lr_mult", "gate_decay_mult")


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class GateOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """Two parameter groups: the host, and all gates and fusions, found by module and not by name::

        optim_wrapper = dict(
            constructor="GateOptimWrapperConstructor",
            paramwise_cfg=dict(gate_lr_mult=10.0, gate_decay_mult=0.0),
            optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05),
        )

    Frozen parameters are in neither group. Registered in mmengine's root, so every project's configs may name it.

    Args:
        optim_wrapper_cfg: with ``optimizer``, which states ``lr``.
        paramwise_cfg: ``gate_lr_mult`` and ``gate_decay_mult``, factors on the optimizer's ``lr`` and ``weight_decay``
            (1 by default).

    Raises:
        ConfigError: an unknown key, a factor that is no number of at least 0, an optimizer that does not state what is
            multiplied; or (when called) a model without gate parameters.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any] | None = None) -> None:
        super().__init__(optim_wrapper_cfg, paramwise_cfg or {"gate_lr_mult": 1.0})
        for key, value in self.paramwise_cfg.items():
            if key not in _KEYS:
                raise ConfigError(f"optim_wrapper.paramwise_cfg.{key} is unknown{suggestion(key, _KEYS)}")
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"optim_wrapper.paramwise_cfg.{key}: {value!r}; expected a number of at least 0")
        for key, multiplied, base in (
            ("gate_lr_mult", "lr", self.base_lr),
            ("gate_decay_mult", "weight_decay", self.base_wd),
        ):
            if key in self.paramwise_cfg and base is None:
                raise ConfigError(f"optim_wrapper.optimizer.{multiplied}: missing; paramwise_cfg.{key} multiplies it")

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **_more: Any) -> None:
        """Append the two groups of the whole model."""
        gates = [parameter for parameter in gate_parameters(module) if parameter.requires_grad]
        if not gates:
            raise ConfigError(f"GateOptimWrapperConstructor: {type(module).__name__} has no gate parameters to train")
        owned = {id(parameter) for parameter in gates}
        rest = [p for p in module.parameters() if p.requires_grad and id(p) not in owned]
        group: dict[str, Any] = {"params": gates}
        if "gate_lr_mult" in self.paramwise_cfg:
            group["lr"] = self.base_lr * self.paramwise_cfg["gate_lr_mult"]
        if "gate_decay_mult" in self.paramwise_cfg:
            group["weight_decay"] = self.base_wd * self.paramwise_cfg["gate_decay_mult"]
        params += [{"params": rest}, group] if rest else [group]
