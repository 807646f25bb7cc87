"""Faults of upstream are found where they stand, and only there; the command line shows them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from real_checkouts import ROOT, patch_sets
from small_tree import write_patches, write_tree

from gatefuse_plugins.upstream.changes import apply
from gatefuse_plugins.upstream.faults import find_faults

GATED = """
class Gated:
    def fuse(self, x):
        return self.gate_net(x)

    def forward(self, x):
        return self.fuse(x) + self.text(x)

    def inference(self, x):
        return {}self.text(x)
"""


def test_cuda_mask_missing_modules_and_required_files(tmp_path: Path) -> None:
    sets, tree = write_patches(tmp_path / "patches"), write_tree(tmp_path / "tree")
    small = replace(sets["small"], requires=("weights.json",))
    (tree / "run.py").write_text("from pkg.model import Model\nfrom pkg.lost import x\nimport numpy\n# y.cuda()\n")
    (tree / "pkg/mask.py").write_text("from .gone import a\nm = m.repeat(self.nhead, 1, 1)\nb = b.repeat(2, 1, 1)\n")
    (tree / "old.py").write_text("print 'python 2'\n")
    found = {(fault.place, fault.fix) for fault in find_faults(tree, small)}
    assert found == {
        ("weights.json", None),
        ("pkg/mask.py:1", None),
        ("pkg/mask.py:2", None),  # no fix for this file
        ("pkg/model.py:3", "cpu"),
        ("run.py:2", None),
    }
    apply(tree, sets, ["cpu"])
    assert "pkg/model.py:3" not in {fault.place for fault in find_faults(tree, small)}


def test_inference_without_the_gates_of_training(tmp_path: Path) -> None:
    small = write_patches(tmp_path / "patches")["small"]
    (tmp_path / "m.py").write_text(GATED.format(""))
    (fault,) = find_faults(tmp_path, small)
    assert fault.place == "m.py:9"
    assert "Gated.inference does not use gate_net, which training does" in fault.message
    (tmp_path / "m.py").write_text(GATED.format("self.fuse(x) + "))
    assert find_faults(tmp_path, small) == []


def test_shipped_patches_hold_insertions_of_our_own_and_fit_their_manifests() -> None:
    sets = patch_sets()
    assert {name: found.commit[:7] for name, found in sets.items()} == {
        "qd_detr": "56c63b2",
        "sprc": "2935a53",
        "avigate": "ca03ede",
    }
    assert sets["qd_detr"].fixes == ("cpu", "mask", "load")
    for found in sets.values():
        assert set(found.originals) == {path for patch in found.patches for path in patch.paths}
        for patch in found.patches:
            assert set(patch.after) == set(patch.paths)
            assert all(len(change.find) <= 8 for change in patch.substitutions)  # no line of upstream's is held


def test_command_line(tmp_path: Path) -> None:
    """An unknown tree: status 1 and a hint; a folder that is not there, or a wrong fix: 2."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        script = str(ROOT / "tools/patch_upstream.py")
        return subprocess.run([sys.executable, script, *words], capture_output=True, text=True, check=False, cwd=ROOT)

    done = call("status", str(tmp_path), "--json")
    assert (done.returncode, json.loads(done.stdout)["state"]) == (1, "unknown")
    done = call("apply", str(tmp_path))
    assert done.returncode == 2
    assert "error: " in done.stderr and "expected a checkout of" in done.stderr
    assert all(found.repository in done.stderr for found in patch_sets().values())
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, str(ROOT / "tools/patch_upstream.py"), "status", str(tmp_path)]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")
