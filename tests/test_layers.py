"""The layer order of docs/architecture.md, read from the source: no module is imported to check it."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "gatefuse_plugins"
SOURCE = Path(__file__).resolve().parents[1] / PACKAGE
# Top first; imports point to the same entry or further down.
LAYERS = (
    "upstream",
    "lavis",
    "analysis",
    "retrieval",
    "injection",
    "recording",
    "checkpoints",
    "engine",
    "mm",
    "hosts",
    "data",
    "evaluation",
    "fusions",
    "gates",
    "config",
)
FOUNDATION = ("registry", "errors", "files", "patterns")
ABOVE_ALL = (
    *("__init__", "plugins", "launch", "launch_setup", "launch_test", "launch_index", "launch_search"),
    *("launch_analysis", "launch_analysis_sources", "command_line", "user_code"),
)
HEAVY = ("lavis", "torchvision", "matplotlib", "pandas")


def layer_of(module: str) -> int:
    """0 is the top; ``module`` is dotted and below the package."""
    name = [*module.split("."), "__init__"][1]
    if name in ABOVE_ALL:
        return -1
    assert name in LAYERS + FOUNDATION, f"{module}: {name!r} has no place in the layer order; give it one here"
    return len(LAYERS) if name in FOUNDATION else LAYERS.index(name)


def imports_of(tree: ast.AST) -> Iterator[tuple[int, str, str | None]]:
    """Line, module and name of every import, wherever it stands; a relative import keeps its dots."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            yield from ((node.lineno, origin, alias.name) for alias in node.names)


def layer_faults(module: str, source: str) -> list[str]:
    """Imports of ``module`` that point upwards, are relative or take everything."""
    faults = []
    for line, origin, name in imports_of(ast.parse(source)):
        place = f"{module}:{line} imports {origin}"
        if origin.startswith("."):
            faults.append(f"{place}: relative")
        if name == "*":
            faults.append(f"{place}: star import")
        # `from gatefuse_plugins import registry` reaches the submodule that it names
        reached = f"{origin}.{name}" if origin == PACKAGE and name != "__version__" and name else origin
        if reached.startswith(f"{PACKAGE}.") and layer_of(module) > layer_of(reached):
            faults.append(f"{place}: a higher layer")
    return faults


def heavy_faults(module: str, source: str) -> list[str]:
    """Imports of heavy packages that run as soon as ``module`` is imported."""
    if layer_of(module) == LAYERS.index("lavis"):
        return []  # imported by nobody but those who have lavis
    return [
        f"{module}:{line} imports {origin} at module level"
        for line, origin, _ in _eager_imports(ast.parse(source))
        if origin.split(".")[0] in HEAVY
    ]


def _eager_imports(tree: ast.Module) -> Iterator[tuple[int, str, str | None]]:
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from imports_of(node)
        pending.extend(ast.iter_child_nodes(node))


def registered_names(source: str) -> Iterator[tuple[str, str]]:
    """Registry and name of every ``@REGISTRY.register_module(...)``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            call = decorator.func if isinstance(decorator, ast.Call) else None
            if isinstance(call, ast.Attribute) and call.attr == "register_module" and isinstance(call.value, ast.Name):
                given = [k.value for k in decorator.keywords if k.arg == "name"] + decorator.args[:1]
                name = given[0].value if given and isinstance(given[0], ast.Constant) else node.name
                yield call.value.id, str(name)


def _modules() -> Iterator[tuple[str, str]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path.read_text(encoding="utf-8")


def test_imports_point_downwards() -> None:
    assert [fault for module, source in _modules() for fault in layer_faults(module, source)] == []


def test_heavy_packages_are_imported_inside_functions() -> None:
    assert [fault for module, source in _modules() for fault in heavy_faults(module, source)] == []


def test_registered_names_are_unique() -> None:
    # Gates and fusions are entered in MODELS too, so the three share one namespace.
    owners = defaultdict(list)
    for module, source in _modules():
        for registry, name in registered_names(source):
            owners["MODELS" if registry in ("GATES", "FUSIONS") else registry, name].append(module)
    assert owners, "no registered component found: the search is broken"
    assert {key: modules for key, modules in owners.items() if len(modules) > 1} == {}


def test_the_checks_find_what_they_look_for() -> None:
    upward = "def f():\n    from gatefuse_plugins.engine.loop import Loop\n"
    assert layer_faults("gatefuse_plugins.gates.x", upward) == [
        "gatefuse_plugins.gates.x:2 imports gatefuse_plugins.engine.loop: a higher layer"
    ]
    assert layer_faults("gatefuse_plugins.recording.x", upward) == []
    assert "star import" in layer_faults("gatefuse_plugins.errors", "from math import *")[0]
    assert "relative" in layer_faults("gatefuse_plugins.gates.x", "from . import tap")[0]
    assert layer_faults("gatefuse_plugins.registry", "from gatefuse_plugins import config") != []
    assert heavy_faults("gatefuse_plugins.data.x", "try:\n    import pandas as pd\nexcept ImportError:\n    pass") != []
    assert heavy_faults("gatefuse_plugins.data.x", "def f():\n    import pandas") == []
    source = "@GATES.register_module()\nclass A: ...\n@HOOKS.register_module(name='b')\nclass C: ..."
    assert list(registered_names(source)) == [("GATES", "A"), ("HOOKS", "b")]
