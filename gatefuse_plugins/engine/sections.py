"""Which keys the sections of a config that the preparation reads may have, judged before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.config.rules import section_rule, unknown_keys
from gatefuse_plugins.engine.data_kinds import KINDS, DataKind, data_kind
from gatefuse_plugins.errors import ConfigError

TOKEN_OPTIONS = ("enabled", "root", "dtype", "batch_size", "num_workers")
"""Keys of ``features`` where the model has a frozen vision encoder."""
CLIP_OPTIONS = ("root", "encoders", "dtype")
"""Keys of ``features`` where clips are encoded."""
WEIGHTS = ("clip", "ast")
_SCHEDULE = ("steps", "batch_size", "lr", "seed")

Root = Mapping[str, Any]


@section_rule("dataset")
def dataset_faults(name: Any, path: str, root: Root) -> list[str]:
    """A known data set."""
    try:
        data_kind(name)
    except ConfigError as error:
        return [str(error)]
    return []


@section_rule("embedded")
def embedded_faults(options: Any, path: str, root: Root) -> list[str]:
    """Sizes that the data set's embedded stand-in knows."""
    kind = KINDS.get(str(root.get("dataset")))
    return [] if options is None or kind is None else _set_faults(options, path, kind)


@section_rule("features")
def feature_faults(options: Any, path: str, root: Root) -> list[str]:
    """Options of the kind of features that the model reads."""
    if not options:
        return []
    if not isinstance(options, Mapping):
        return [f"{path}: {options!r}; expected a dict or None"]
    known = TOKEN_OPTIONS if (root.get("model") or {}).get("vision") else CLIP_OPTIONS
    return [*unknown_keys(options, path, known), *_root_fault(options, path)]


@section_rule("weights")
def weight_faults(options: Any, path: str, root: Root) -> list[str]:
    """Encoders whose weights the models refer to."""
    return unknown_keys(options, path, WEIGHTS) if isinstance(options, Mapping) else []


@section_rule("prepare")
def prepare_faults(options: Any, path: str, root: Root) -> list[str]:
    """The embedded set and the schedule with which the tiny vision encoder is trained."""
    if not isinstance(options, Mapping):
        return [] if options is None else [f"{path}: {options!r}; expected a dict or None"]
    faults = unknown_keys(options, path, ("vision_scenes", "vision_training"))
    if "vision_scenes" in options:
        faults += _set_faults(options["vision_scenes"], f"{path}.vision_scenes", KINDS["cirr"])
    training = options.get("vision_training", {})
    if not isinstance(training, Mapping):
        return [*faults, f"{path}.vision_training: {training!r}; expected a dict"]
    return faults + unknown_keys(training, f"{path}.vision_training", _SCHEDULE)


def _set_faults(options: Any, path: str, kind: DataKind) -> list[str]:
    if not isinstance(options, Mapping):
        return [f"{path}: {options!r}; expected a dict"]
    sizes = {key: value for key, value in options.items() if key != "root"}
    return kind.faults(sizes, path) + _root_fault(options, path)


def _root_fault(options: Root, path: str) -> list[str]:
    return [] if options.get("root") else [f"{path}.root: missing; expected the folder to write to"]
