"""The same numbers with SPRC's edited LAVIS first on the path.

    GATEFUSE_SPRC_LAVIS=/path/to/SPRC/src pytest tests/lavis_integration/test_sprc_edition.py

To try other versions of transformers and timm, put a folder that holds them on PYTHONPATH as well.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lavis", reason="needs the extra 'lavis'")

SCRIPT = Path(__file__).with_name("edition_numbers.py")
ROOT = SCRIPT.parents[2]


def test_sprcs_lavis_gives_the_same_numbers() -> None:
    folder = os.environ.get("GATEFUSE_SPRC_LAVIS")
    if not folder:
        pytest.skip("GATEFUSE_SPRC_LAVIS is not set; expected the src folder of an SPRC checkout")
    assert (Path(folder) / "lavis").is_dir(), f"GATEFUSE_SPRC_LAVIS={folder}: holds no folder 'lavis'"
    path = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH"), str(ROOT)]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    edited = json.loads(done.stdout.splitlines()[-1])
    assert Path(edited["lavis"]).is_relative_to(Path(folder).resolve())

    stock = runpy.run_path(str(SCRIPT))["numbers"]()
    assert not Path(stock["lavis"]).is_relative_to(Path(folder).resolve())
    similarity = torch.tensor(stock["similarity"])
    assert similarity.std() > 1e-3  # numbers that would show a difference
    torch.testing.assert_close(torch.tensor(edited["similarity"]), similarity, rtol=1e-4, atol=1e-5)
    assert edited["losses"] == pytest.approx(stock["losses"], rel=1e-4)
