"""What injection has to know of a host: its modules under all their names, its forward, what rules it out."""

from __future__ import annotations

import inspect
from collections import defaultdict

import torch
from torch import nn

from gatefuse_plugins.errors import ConfigError, suggestion
from gatefuse_plugins.injection.inserts import CHILD, Injection
from gatefuse_plugins.injection.names import NameIndex
from gatefuse_plugins.patterns import compile_pattern, match_names

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)
_WRAPPERS = ("DistributedDataParallel", "FullyShardedDataParallel", "DataParallel", "OptimizedModule")


class Host:
    """A module tree that inserts may go into.

    Attributes:
        modules: by path, a shared module under each of its paths; the root is left out.
        paths_of: all paths of the module at a path.
        arguments: parameters of the forward by name.

    Raises:
        ConfigError: the model was injected before, is wrapped or traced, or is a bare container.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.name = type(model).__name__
        self._check_model()
        named = [(name, module) for name, module in model.named_modules(remove_duplicate=False) if name]
        self.modules = dict(named)
        self.names = list(self.modules)
        self._index = NameIndex(self.names)
        paths: dict[int, list[str]] = defaultdict(list)
        for name, module in named:
            paths[id(module)].append(name)
        self.paths_of = {name: tuple(paths[id(module)]) for name, module in named}
        self.arguments = inspect.signature(model.forward).parameters

    def _check_model(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ConfigError(f"{self.name} is no torch module; expected an nn.Module")
        if isinstance(self.model, torch.jit.ScriptModule):
            raise ConfigError(f"{self.name} was compiled by torch.jit, which takes no hooks; inject before tracing it")
        if any(isinstance(module, Injection) for module in self.model.modules()):
            raise ConfigError(f"{self.name} was injected before; call eject first, then inject all rules together")
        if hasattr(self.model, CHILD):
            raise ConfigError(f"{self.name} has an attribute {CHILD!r} of its own; injection needs that name")
        if self.name in _WRAPPERS:
            raise ConfigError(f"{self.name} wraps the host and would not see new parameters; inject first, then wrap")
        if isinstance(self.model, (nn.Sequential, *CONTAINERS)):
            raise ConfigError(
                f"the host is a bare {self.name}, which takes every child for a step or member; expected a module that"
                f" holds the {self.name} as a child"
            )

    def match(self, pattern: str) -> list[tuple[str, ...]]:
        """Modules that the pattern matches, in module order, each as the tuple of all its paths.

        Raises:
            PatternError: see :func:`~gatefuse_plugins.patterns.match_names`.
            ConfigError: it matches a shared module under some of its paths only.
        """
        names = self._names_of(pattern)
        matched = set(names)
        found: dict[tuple[str, ...], None] = {}
        for name in names:
            paths = self.paths_of[name]
            others = [path for path in paths if path not in matched]
            if others:
                raise ConfigError(
                    f"pattern {pattern!r} matches {name}, which is the same module as {', '.join(others)}: an insert"
                    " acts at all of them; widen the pattern to match them all"
                )
            found[paths] = None
        return list(found)

    def _names_of(self, pattern: str) -> list[str]:
        if pattern in self.modules:
            return [pattern]
        expression = compile_pattern(pattern)
        names = [name for name in self._index.candidates(pattern) if expression.fullmatch(name)]
        return names or match_names(pattern, self.names, host=self.name)  # which says what is near

    def argument_position(self, name: str, place: str) -> int | None:
        """Position of the argument ``name`` of the host's forward; ``None`` where it can come by name only.

        Raises:
            ConfigError: the forward has no such argument; lists the nearest.
        """
        kinds = {key: parameter.kind for key, parameter in self.arguments.items()}
        if kinds.get(name) in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD):
            return list(kinds).index(name)
        if kinds.get(name) is inspect.Parameter.KEYWORD_ONLY:
            return None
        if inspect.Parameter.VAR_KEYWORD in kinds.values() and name not in kinds:
            return None
        named = [key for key, kind in kinds.items() if kind not in (inspect.Parameter.VAR_POSITIONAL,)]
        raise ConfigError(f"{place}: {self.name}.forward has no argument {name!r}{suggestion(name, named)}")
