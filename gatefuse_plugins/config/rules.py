"""Checks that a component declares about its own config node, such as widths that have to agree.

A rule lives beside the component, so this package needs to know none of them::

    @dimension_rule("TextGuidedImageFusion")
    def _widths(node, path, root):
        if node.get("image_dim", 1) < 1:
            return [f"{path}.image_dim: {node['image_dim']} is not a width; expected an int of at least 1"]
        return []
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rule = Callable[[Mapping[str, Any], str, Mapping[str, Any]], list[str]]

_RULES: dict[str, list[Rule]] = {}


def dimension_rule(type_name: str) -> Callable[[Rule], Rule]:
    """Register ``rule(node, path, root) -> faults`` for every config node whose ``type`` is ``type_name``.

    ``node`` is the component's config dict, ``path`` its dotted path, ``root`` the whole config. Each fault is one
    line that starts with the dotted path of the wrong key. A scope in the config's type (``gatefuse.NAME``) is left
    out of the comparison. Several rules may serve one type; registering the same function twice has no effect.
    """

    def register(rule: Rule) -> Rule:
        rules = _RULES.setdefault(type_name, [])
        if rule not in rules:
            rules.append(rule)
        return rule

    return register


def rules_for(type_name: str) -> tuple[Rule, ...]:
    """The rules of ``type_name`` (scoped or not), in the order of their registration."""
    return tuple(_RULES.get(type_name.rpartition(".")[2], ()))
