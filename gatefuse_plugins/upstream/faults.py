"""Faults of upstream checkouts that stop or mislead users, found in the source as it stands.

Nothing is mended here: a fault names the fix that mends it, where there is one.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gatefuse_plugins.upstream.manifest import PatchSet

_CUDA = re.compile(r"\.cuda\(")
_HEAD_MAJOR = re.compile(r"\.repeat\(\s*self\.n_?heads?\s*,\s*1\s*,\s*1\s*\)")
_GATED = re.compile(r"gat(e|ing)|fusion|delta_net", re.IGNORECASE)
_SKIPPED = {".git", "__pycache__", "results", "build"}


@dataclass(frozen=True)
class Fault:
    """Something in a checkout that a user runs into.

    Attributes:
        place: ``file:line``, or the file alone.
        message: what happens.
        fix: name for ``--fix`` that mends it, or ``None``.
    """

    place: str
    message: str
    fix: str | None = None


def find_faults(root: Path, patch_set: PatchSet) -> list[Fault]:
    """All faults of a checkout, in the order of its files; files that are no Python of this version are passed over."""
    found = [
        Fault(path, "upstream's code needs it, and its repository does not have it")
        for path in patch_set.requires
        if not (root / path).exists()
    ]
    mended = {patch.name: frozenset(patch.paths) for patch in patch_set.patches}
    for path in _python_files(root):
        name = path.relative_to(root).as_posix()
        try:
            text = path.read_text(encoding="utf-8")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.parse(text)
        except (OSError, ValueError, SyntaxError):
            continue
        for find in _CHECKS:
            for line, message, fix in find(root, path, text, tree):
                known = fix if fix in mended and name in mended[fix] else None
                found.append(Fault(f"{name}:{line}", message, known))
    return found


_Finding = tuple[int, str, str]
_Check = Callable[[Path, Path, str, ast.Module], Iterator[_Finding]]


def _missing_modules(root: Path, path: Path, text: str, tree: ast.Module) -> Iterator[_Finding]:
    """Imports of files that belong to the checkout, by the folder they are said to lie in, and are not there."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.module:
            continue
        base = path.parents[node.level - 1] if node.level else _source_root(root, path, node.module)
        if base is None:
            continue
        target = base.joinpath(*node.module.split("."))
        if not target.with_suffix(".py").is_file() and not target.is_dir():
            missing = target.with_suffix(".py").relative_to(root).as_posix()
            yield node.lineno, f"imports {missing}, which upstream's repository does not have", ""


def _source_root(root: Path, path: Path, module: str) -> Path | None:
    """The folder of the tree that holds the package ``module`` starts with; ``None``: it is not the tree's."""
    package, *rest = module.split(".")
    for folder in (path.parent, *path.parent.parents):
        if rest and any((folder / package).glob("*.py")):
            return folder
        if folder == root:
            return None
    return None


def _fixed_cuda(root: Path, path: Path, text: str, tree: ast.Module) -> Iterator[_Finding]:
    for number, line in enumerate(text.splitlines(), 1):
        if _CUDA.search(line.split("#")[0]):
            yield number, "'.cuda()' whatever the device: fails without a GPU", "cpu"


def _head_major(root: Path, path: Path, text: str, tree: ast.Module) -> Iterator[_Finding]:
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        mended = number < len(lines) and "unflatten(0, (self.nhead, -1)).transpose(0, 1)" in lines[number]
        if _HEAD_MAJOR.search(line.split("#")[0]) and not mended:
            message = (
                "masks are repeated head by head, but torch reads them sample by sample: a sample is masked as another"
                " one of its batch, and predictions depend on the batch"
            )
            yield number, message, "mask"


def _refused_checkpoints(root: Path, path: Path, text: str, tree: ast.Module) -> Iterator[_Finding]:
    if "add_safe_globals" in text or "TestOptions" not in text:  # the script that reads what QD-DETR's training wrote
        return
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != "torch.load":
            continue
        if "resume" in ast.unparse(node.args[0]) and not any(word.arg == "weights_only" for word in node.keywords):
            message = "torch 2.6 and later refuse QD-DETR's checkpoints, which hold an argparse.Namespace"
            yield node.lineno, message, "load"


def _ungated_inference(root: Path, path: Path, text: str, tree: ast.Module) -> Iterator[_Finding]:
    """Classes whose ``forward`` uses gates that their ``inference`` never reaches (gated forks of SPRC)."""
    for cls in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        methods = {node.name: node for node in cls.body if isinstance(node, ast.FunctionDef)}
        if not {"forward", "inference"} <= methods.keys():
            continue
        used = {name: _reached(name, methods) for name in ("forward", "inference")}
        lacking = sorted(name for name in used["forward"] - used["inference"] if _GATED.search(name))
        if lacking:
            message = f"{cls.name}.inference does not use {', '.join(lacking)}, which training does: it tests without"
            yield methods["inference"].lineno, f"{message} gates", ""


def _reached(start: str, methods: dict[str, ast.FunctionDef]) -> set[str]:
    """Attributes of ``self`` that a method uses, also through other methods."""
    found: set[str] = set()
    pending, seen = [start], set()
    while pending:
        name = pending.pop()
        seen.add(name)
        for node in ast.walk(methods[name]):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                found.add(node.attr)
                if node.attr in methods and node.attr not in seen:
                    pending.append(node.attr)
    return found


_CHECKS: tuple[_Check, ...] = (_missing_modules, _fixed_cuda, _head_major, _refused_checkpoints, _ungated_inference)


def _python_files(root: Path) -> list[Path]:
    return [
        path
        for path in sorted(root.rglob("*.py"))
        if not _SKIPPED.intersection(path.relative_to(root).parts) and not path.is_symlink()
    ]
