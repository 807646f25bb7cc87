"""The model config that a checkpoint brings along: recorded by a migration, or in the text that the Runner saves."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.checkpoints.migration.hosts import injected, type_of

_LONGEST = 1 << 20  # characters; the longest config of this project has 30,000


def model_of_text(text: Any) -> dict[str, Any]:
    """``model`` of a config in mmengine's ``pretty_text``; empty where it is no plain data. Nothing of it is run."""
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    try:
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["model"]:
                value = _value(node.value)
                return value if isinstance(value, dict) else {}
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # edited, or hostile: then it tells nothing
        return {}
    return {}


def _value(node: ast.expr) -> Any:
    """A literal, in which ``dict(a=1)`` is one too."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict" and not node.args:
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("dict(**...) is no plain data")
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_value, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(item) for item in node.elts]
    return ast.literal_eval(node)


def fault_of(config: Mapping[str, Any]) -> str:
    """What is wrong with the form of a model config from a file; empty where it can be read. No values are judged."""
    if not config:
        return ""
    if type_of(config) == "":
        return f"type is {str(config.get('type'))[:40]!r}, expected the name of a model"
    for key in ("fusion", "qformer", "vision", "tokenizer"):
        if not isinstance(config.get(key), Mapping | None):
            return f"{key} is {str(config[key])[:40]!r}, expected a dict"
    if isinstance(fusion := config.get("fusion"), Mapping) and type_of(fusion) == "":
        return f"fusion.type is {str(fusion.get('type'))[:40]!r}, expected the name of a fusion"
    for key, needed in (("layer_gates", ("pattern", "branch")), ("injection", ("pattern",))):
        rules = config.get(key) or ()
        for rule in rules if isinstance(rules, list | tuple) else (rules,):
            texts = isinstance(rule, Mapping) and all(isinstance(rule.get(name), str) for name in needed)
            if not texts or not isinstance(rule.get("gate"), Mapping | None):
                return f"{key} holds {str(rule)[:40]!r}, expected dicts with {' and '.join(needed)}"
    return ""


def modern(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` in today's keys: early versions kept gates on QD-DETR's layers under ``layer_gates``."""
    rest = {name: value for name, value in config.items() if name != "layer_gates"}
    rules = config.get("layer_gates")
    if type_of(config) != "QDDETR" or not isinstance(rules, list | tuple):
        return rest if "layer_gates" in config and not rules else dict(config)
    return injected(rest, [_modern_rule(rule) for rule in rules])


def _modern_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    branch = rule["branch"]
    gate = {"type": "ResidualGate", "kind": branch, **(rule.get("gate") or {})}
    return {"pattern": rule["pattern"], "at": f"{branch}_gate", "gate": gate}
