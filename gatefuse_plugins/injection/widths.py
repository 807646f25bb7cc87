"""Widths of streams: what modules tell, what rules, components and an example state, and that all of them agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.injection.hosts import Host
from gatefuse_plugins.injection.rules import Rule

X_WIDTHS = ("dim", "image_dim", "video_dim")
CONTEXT_WIDTHS = ("context_dim", "text_dim", "audio_dim")
_OUT_ATTRIBUTES = ("out_features", "embed_dim", "embedding_dim", "normalized_shape")
_IN_ATTRIBUTES = ("in_features", "embed_dim", "normalized_shape")


def module_width(module: nn.Module, at: str) -> tuple[int, bool] | None:
    """Width of a module's first output or input, and whether it is sure; ``None`` where its class does not tell.

    ``embed_dim`` of classes other than torch's own is a good guess: a model may hold it and give something else.
    """
    for attribute in _IN_ATTRIBUTES if at == "input" else _OUT_ATTRIBUTES:
        value = getattr(module, attribute, None)
        value = value[-1] if isinstance(value, tuple) and value else value
        if isinstance(value, int) and value > 0:  # 0: a lazy module that has not run yet
            sure = at in ("input", "output") and (attribute != "embed_dim" or isinstance(module, nn.MultiheadAttention))
            return value, sure
    return None


def target_width(host: Host, rule: Rule, path: str, measured: bool) -> int | None:
    """Width of the stream that the rule changes at ``path``.

    Args:
        measured: the rule's widths were read from an example, which is surer than any attribute.

    Raises:
        ConfigError: module, rule and component contradict each other.
    """
    found = module_width(host.modules[path], rule.at)
    name = f"the {rule.at} of {path} ({type(host.modules[path]).__name__})"
    return _agreed(rule, X_WIDTHS, found if rule.select in (None, 0) else None, name, path, measured)


def context_width(host: Host, rule: Rule, path: str, measured: bool) -> int | None:
    """Width of the context, likewise."""
    source, found, name = rule.sources.get("context"), None, ""
    if source is not None and source.kind == "module" and source.select in (None, 0):
        found = module_width(host.modules[source.name], "output")
        name = f"context {source} ({type(host.modules[source.name]).__name__})"
    return _agreed(rule, CONTEXT_WIDTHS, found, name, path, measured)


def _agreed(
    rule: Rule, keys: tuple[str, ...], found: tuple[int, bool] | None, name: str, path: str, measured: bool
) -> int | None:
    own = keys[0]
    claims = [(name, found[0])] if found is not None and found[1] and not measured else []
    if getattr(rule, own) is not None:
        claims.append(("the example" if measured else f"{own} of the rule", getattr(rule, own)))
    for key in keys:
        stated = rule.component.get(key)
        if stated is None:
            continue
        if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
            raise ConfigError(f"{rule.component['type']}.{key}: {stated!r} is no width; expected an integer from 1")
        claims.append((f"{key} of {rule.component['type']}", stated))
    for claim, width in claims[1:]:
        first, expected = claims[0]
        if width != expected:
            raise ConfigError(
                f"{path}: {claim} is {width}, but {first} is {expected} wide; leave {claim} out, or set {expected}"
            )
    return claims[0][1] if claims else None if found is None else found[0]


def built_widths(config: Mapping[str, Any], dims: tuple[int, int] | None = None) -> tuple[int | None, int | None]:
    """Widths of x and of the context that a component of this complete config takes; ``None``: not known.

    Args:
        dims: widths in front of and behind a projection of the context; then the context has the first.
    """
    dim = next((config[key] for key in X_WIDTHS if config.get(key) is not None), None)
    own = next((config[key] for key in CONTEXT_WIDTHS if config.get(key) is not None), dim)
    return dim, dims[0] if dims else own
