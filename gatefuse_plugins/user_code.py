"""Modules and functions of the user, named on the command line."""

from __future__ import annotations

import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from gatefuse_plugins.errors import ConfigError, suggestion


def load_module(name: str, flag: str) -> ModuleType:
    """The module ``name``, also from the working directory, as ``python -m`` finds it.

    Args:
        flag: the option that names it, for the message.

    Raises:
        ConfigError: it cannot be found, or fails or exits while it is imported.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a module is anybody's code, and may even read the command line
        raise ConfigError(f"{flag} {name}: cannot be imported: {_told(error)}") from error


def call_function(spec: str, flag: str, wanted: str) -> Any:
    """What the function ``MODULE:FUNCTION`` returns, called without arguments.

    Args:
        flag: the option that names it, for the message.
        wanted: what the function is expected to return, for the message.

    Raises:
        ConfigError: ``spec`` names no such function, or it needs arguments or fails.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(f"{flag} {spec}: expected MODULE:FUNCTION, without arguments, that returns {wanted}")
    module = load_module(module_name, flag)
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise ConfigError(f"{flag} {spec}: {module_name} has no function {name!r}{suggestion(name, names)}")
    try:
        return function()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{flag} {spec}: failed: {_told(error)}") from error


def _told(error: BaseException) -> str:
    """Type, message and the line that raised it: of code that is not ours, the message alone says too little."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, importlib.__file__)
    foreign = [one for one in frames if one.filename not in ours and not one.filename.startswith("<frozen")]
    place = f" ({foreign[-1].filename}, line {foreign[-1].lineno})" if foreign else ""
    return f"{type(error).__name__}: {error}{place}"
