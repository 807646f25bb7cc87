"""Checks that a component declares about its own config node, such as widths that have to agree.

A rule lives beside the component, so this package needs to know none of them::

    @dimension_rule("TextGuidedImageFusion")
    def _widths(node, path, root):
        if node.get("image_dim", 1) < 1:
            return [f"{path}.image_dim: {node['image_dim']} is not a width; expected an int of at least 1"]
        return []
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from gatefuse_plugins.errors import suggestion

Rule = Callable[[Mapping[str, Any], str, Mapping[str, Any]], list[str]]

SectionRule = Callable[[Any, str, Mapping[str, Any]], list[str]]

_RULES: dict[str, list[Rule]] = {}
_SECTION_RULES: dict[str, SectionRule] = {}


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


def section_rule(*keys: str) -> Callable[[SectionRule], SectionRule]:
    """Register ``rule(value, path, root) -> faults`` for top-level ``keys`` whose values build no component.

    It lies beside the code that reads them; arguments and faults are those of :func:`dimension_rule`.
    """

    def register(rule: SectionRule) -> SectionRule:
        _SECTION_RULES.update(dict.fromkeys(keys, rule))
        return rule

    return register


def section_faults(root: Mapping[str, Any]) -> list[str]:
    """What the section rules have to say, in the order of the config."""
    return [fault for key in root if key in _SECTION_RULES for fault in _SECTION_RULES[key](root[key], key, root)]


def choice_faults(node: Mapping[str, Any], path: str, choices: Mapping[str, Sequence[str]]) -> list[str]:
    """A fault for each key of ``choices`` at which ``node`` holds none of its valid values."""
    return [
        f"{path}.{key}: {node[key]!r} is unknown{suggestion(str(node[key]), valid)}"
        for key, valid in choices.items()
        if key in node and node[key] not in valid
    ]


def unknown_keys(node: Mapping[str, Any], path: str, known: Collection[str]) -> list[str]:
    """A fault for each key of ``node`` that is not in ``known``."""
    return [f"{path}.{key}: unknown{suggestion(str(key), known)}" for key in node if key not in known]
