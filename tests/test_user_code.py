"""Modules and functions named on the command line, found and called in one way by every tool."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gatefuse_plugins.errors import ConfigError
from gatefuse_plugins.user_code import call_function, load_module

SOURCE = """
import argparse

def build():
    return {"width": 3}

def needy(size):
    return size

def fails():
    raise KeyError("width")

def reads_the_command_line():
    argparse.ArgumentParser().parse_args(["--unknown"])
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, which ``sys.path`` does not hold."""
    (tmp_path / "code_beside.py").write_text(SOURCE)
    (tmp_path / "torn_code.py").write_text("def build(:\n")
    (tmp_path / "exiting_code.py").write_text("import sys\nsys.exit('no weights')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "code_beside", raising=False)
    return tmp_path


def test_code_in_the_working_directory_is_found() -> None:
    assert call_function("code_beside:build", "--factory", "a dict") == {"width": 3}
    assert load_module("code_beside", "--imports").__name__ == "code_beside"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_code", "ModuleNotFoundError: No module named 'no_such_code'$"),
        ("torn_code", r"SyntaxError: invalid syntax \(torn_code.py, line 1\)$"),
        ("exiting_code", r"SystemExit: no weights \(.*exiting_code.py, line 2\)$"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--imports {name}: cannot be imported: {message}"):
        load_module(name, "--imports")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("code_beside", "expected MODULE:FUNCTION, without arguments, that returns a dict$"),
        (":build", "expected MODULE:FUNCTION"),
        ("code_beside:biuld", "code_beside has no function 'biuld'; did you mean 'build'"),
        ("code_beside:SOURCE", "code_beside has no function 'SOURCE'"),
        ("code_beside:needy", r"failed: TypeError: needy\(\) missing 1 required positional argument: 'size'$"),
        ("code_beside:fails", r"failed: KeyError: 'width' \(.*code_beside.py, line 11\)$"),
        ("code_beside:reads_the_command_line", "failed: SystemExit: 2"),
    ],
)
def test_a_function_that_does_not_serve_is_one_message(spec: str, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"(?s)^--factory {spec}: {message}"):
        call_function(spec, "--factory", "a dict")
