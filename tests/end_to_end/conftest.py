"""Runs the command-line tools for real; data, features and one finished run are shared by the whole folder."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("lavis", reason="the composed-retrieval host needs the extra [lavis]")

ROOT = Path(__file__).resolve().parents[2]
SMOKE = "configs/cirr_smoke.py"
TIMEOUT_SECONDS = 300


@dataclass(frozen=True)
class Workshop:
    """Where the tools of this test session work.

    Attributes:
        root: holds ``scenes`` and ``features``, which all runs share, and their work dirs.
    """

    root: Path

    def options(self) -> list[str]:
        """``--cfg-options`` that lead to the shared data."""
        return [
            f"features.root={self.root / 'features'}",
            f"prepare.vision_scenes.root={self.root / 'scenes'}",
            f"data_root={self.root / 'nothing'}",
        ]

    def train_arguments(self, name: str, *overrides: str, config: str = SMOKE, resume: bool = False) -> list[str]:
        """Arguments of ``tools/train.py`` for a run called ``name``."""
        resumed = ["--resume"] if resume else []
        return [config, "--work-dir", str(self.root / name), *resumed, "--cfg-options", *self.options(), *overrides]

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start ``python COMMAND`` from the repository root; one thread, so that sums have one order."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, *command], cwd=ROOT, env=environment, **pipes)

    def run(self, *command: str) -> tuple[int, str]:
        """Exit status and output of ``python COMMAND``."""
        process = self.start(*command)
        try:
            output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
        finally:
            process.kill()
        return process.returncode, output

    def kill_once(self, condition: Callable[[], bool], *command: str) -> None:
        """Start ``python COMMAND`` and SIGKILL it as soon as ``condition`` holds."""
        process = self.start(*command)
        deadline = time.monotonic() + TIMEOUT_SECONDS
        try:
            while process.poll() is None and not condition():
                assert time.monotonic() < deadline, "the condition never came true"
                time.sleep(0.01)
            assert process.poll() is None, f"ended before it could be killed: {process.stdout.read()}"
        finally:
            process.kill()
            process.communicate()


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("end_to_end"))


@pytest.fixture(scope="session")
def smoke(workshop: Workshop) -> tuple[Path, str]:
    """Work dir and output of the smoke preset, run once."""
    status, output = workshop.run("tools/train.py", *workshop.train_arguments("smoke"))
    assert status == 0, output
    return workshop.root / "smoke", output


@pytest.fixture
def fail_tool(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a tool inside this process (imports cost seconds), demand exit status 2, return what it wrote to stderr."""
    monkeypatch.chdir(ROOT)

    def run(script: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        with pytest.raises(SystemExit) as exit_info:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        error = capsys.readouterr().err
        assert exit_info.value.code == 2
        assert "Traceback" not in error
        return error

    return run
