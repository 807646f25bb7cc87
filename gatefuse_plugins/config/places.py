"""Which registry serves which place of a config, and what the Runner adds to or takes from the dict there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine import registry as mm
from mmengine.registry import Registry
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from gatefuse_plugins import registry as ours

Path = Sequence[str | int]


@dataclass(frozen=True)
class Place:
    """A kind of component.

    Attributes:
        kind: its name in messages.
        registries: where its ``type`` is looked up, in order.
        injected: arguments that the builder passes, so a config need not.
        extra: keys that the Runner reads and removes before the constructor sees them.
        default: what is built where the dict has no ``type``; None where that says nothing about the keys.
    """

    kind: str
    registries: tuple[Registry, ...] = ()
    injected: frozenset[str] = field(default=frozenset())
    extra: frozenset[str] = field(default=frozenset())
    default: str | Callable[..., Any] | None = None


def _place(
    kind: str,
    *registries: Registry,
    injected: str = "",
    extra: str = "",
    default: str | Callable[..., Any] | None = None,
) -> Place:
    return Place(kind, registries, frozenset(injected.split()), frozenset(extra.split()), default)


_MODEL = _place("model", ours.MODELS)
_HOOK = _place("hook", ours.HOOKS, extra="priority")
_DATASET = _place("dataset", ours.DATASETS)
_TRANSFORM = _place("transform", ours.TRANSFORMS)
_METRIC = _place("metric", ours.METRICS, mm.EVALUATOR)
_SCHEDULER = _place(
    "parameter scheduler", mm.PARAM_SCHEDULERS, injected="optimizer param_name", extra="convert_to_iter_based"
)
_SAMPLER = _place("data sampler", ours.DATA_SAMPLERS, injected="dataset seed")
_BATCH_SAMPLER = _place("batch sampler", ours.DATA_SAMPLERS, injected="sampler batch_size")
_LOADER = _place("dataloader", injected="sampler", extra="num_batch_per_epoch", default=DataLoader)

# A host fills in the widths that one part needs from another.
_FUSION_WIDTHS = "image_dim text_dim dim video_dim audio_dim"

_BY_KEY: dict[str, Place] = {
    "model": _MODEL,
    "data_preprocessor": _MODEL,
    "vision": _MODEL,
    "vision_encoder": _MODEL,
    "fusion": _place("fusion", ours.FUSIONS, injected=_FUSION_WIDTHS),
    "fusions": _place("fusion", ours.FUSIONS, injected=_FUSION_WIDTHS),
    "qformer": _place("model", ours.MODELS, injected="encoder_width vocab_size"),
    "gate": _place("gate", ours.GATES),
    "gates": _place("gate", ours.GATES),
    "dataset": _DATASET,
    "datasets": _DATASET,
    "sampler": _SAMPLER,
    "batch_sampler": _BATCH_SAMPLER,
    "collate_fn": _place("collate function", ours.FUNCTIONS, injected="data_batch batch"),
    "transform": _TRANSFORM,
    "transforms": _TRANSFORM,
    "pipeline": _TRANSFORM,
    "val_evaluator": _METRIC,
    "test_evaluator": _METRIC,
    "metrics": _METRIC,
    "custom_hooks": _HOOK,
    "train_cfg": _place("loop", ours.LOOPS, injected="runner dataloader", extra="by_epoch"),
    "val_cfg": _place("loop", ours.LOOPS, injected="runner dataloader evaluator", default="ValLoop"),
    "test_cfg": _place("loop", ours.LOOPS, injected="runner dataloader evaluator", default="TestLoop"),
    "optim_wrapper": _place(
        "optimizer wrapper", mm.OPTIM_WRAPPERS, extra="constructor paramwise_cfg", default="OptimWrapper"
    ),
    "optimizer": _place("optimizer", mm.OPTIMIZERS, injected="params"),
    "param_scheduler": _SCHEDULER,
    "scheduler": _SCHEDULER,
    "visualizer": _place("visualizer", mm.VISUALIZERS, injected="name save_dir", default="Visualizer"),
    "vis_backends": _place("visualizer backend", mm.VISBACKENDS, injected="save_dir"),
    "log_processor": _place("log processor", mm.LOG_PROCESSORS, default="LogProcessor"),
    "model_wrapper_cfg": _place("model wrapper", mm.MODEL_WRAPPERS, injected="module device_ids"),
    "init_cfg": _place("weight initialiser", mm.WEIGHT_INITIALIZERS),
    "strategy": _place("strategy", mm.STRATEGIES),
    "randomness": _place("randomness", default=Runner.set_randomness, injected="self seed"),
}
_ANYWHERE = _place(
    "component",
    *(ours.MODELS, ours.DATASETS, ours.DATA_SAMPLERS, ours.TRANSFORMS, ours.METRICS, ours.HOOKS, ours.LOOPS),
    *(mm.OPTIMIZERS, mm.OPTIM_WRAPPERS, mm.PARAM_SCHEDULERS, mm.VISUALIZERS, mm.VISBACKENDS, mm.FUNCTIONS),
)


def place_of(path: Path) -> Place:
    """The place that ``path`` (keys and list indices from the root) leads to.

    It follows from the last named key; below ``model`` any model component fits, and where nothing is known every
    registry is searched.
    """
    names = [key for key in path if isinstance(key, str)]
    if not names:
        return _ANYWHERE
    if len(names) >= 2 and names[-2] == "default_hooks":
        return _HOOK
    if names[-1] in _BY_KEY:
        return _BY_KEY[names[-1]]
    if names[-1].endswith("_dataloader"):
        return _LOADER
    return _MODEL if names[0] == "model" else _ANYWHERE


def implied_type(node: Mapping[str, Any], path: Path) -> str | Callable[..., Any] | None:
    """What a dict without ``type`` builds; mmengine has such defaults for dicts at the top level only."""
    if len(path) != 1:
        return None
    if path[0] == "train_cfg":
        return "EpochBasedTrainLoop" if node.get("by_epoch", True) else "IterBasedTrainLoop"
    if path[0] == "optim_wrapper" and not ({"optimizer", "type"} & set(node)):
        return None  # several optimizers by name: the constructor decides what the keys mean
    return place_of(path).default
