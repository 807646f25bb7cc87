"""What a tool's exit status means, and that every tool gives it the same meaning."""

from __future__ import annotations

import argparse
import errno
import re
import sys
from pathlib import Path

import pytest

from gatefuse_plugins.command_line import run_tool
from gatefuse_plugins.errors import CheckpointError, ConfigError, PatternError

TOOLS = sorted((Path(__file__).resolve().parents[1] / "tools").glob("*.py"))


def raising(error: BaseException) -> int:
    def run(args: argparse.Namespace) -> int:
        raise error

    return run_tool(run, argparse.Namespace())


@pytest.fixture(autouse=True)
def called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/tools/weigh.py", "--scale"])


def test_the_tool_tells_done_from_a_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert [run_tool(lambda args: args.status, argparse.Namespace(status=status)) for status in (0, 1)] == [0, 1]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ConfigError("no such [config]"), "no such [config]"),
        (CheckpointError("torn"), "torn"),
        (PatternError("'a.*' matches nothing"), "'a.*' matches nothing"),
        (OSError(errno.ENOSPC, "No space left on device", "out.json"), "No space left on device: 'out.json'"),
    ],
)
def test_errors_are_one_line_on_stderr(error: Exception, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(error) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("weigh.py: error: ") and printed.err.endswith(f"{told}\n")
    assert len(printed.err.splitlines()) == 1


def test_an_unforeseen_error_keeps_its_traceback_and_is_no_finding(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(ZeroDivisionError("by design")) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("Traceback") and printed.endswith("ZeroDivisionError: by design\n")


def test_an_interrupt_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "weigh.py: interrupted\n"


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_every_tool_ends_this_way(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert re.search(r"return run_tool\(.*parse_args\(.*\)\)\n", source)
    assert "except GatefuseError" not in source and "KeyboardInterrupt" not in source
