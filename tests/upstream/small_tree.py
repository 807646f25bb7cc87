"""A small upstream of our own and its patches, so that the tool is tested without a checkout."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from gatefuse_plugins.upstream.manifest import PatchSet, load_patch_sets

MODEL = "class Model:\n    def forward(self, x):\n        return x.cuda()\n"
CONFIG = "flags = []\nprint(flags)\n"
FILES = {"pkg/model.py": MODEL, "config.py": CONFIG}
OLDER = {"pkg/model.py": MODEL, "config.py": "flags = None\n"}
PLUGIN = """--- a/config.py
+++ b/config.py
@@ -1,0 +2,2 @@
+flags.append("fusion")
+flags.append("log")
--- a/pkg/model.py
+++ b/pkg/model.py
@@ -0,0 +1 @@
+import fusion
@@ -2,0 +4 @@
+        x = fusion.fuse(x)
"""
PATCHED = {
    "pkg/model.py": "import fusion\n" + MODEL.replace("x):\n", "x):\n        x = fusion.fuse(x)\n"),
    "config.py": 'flags = []\nflags.append("fusion")\nflags.append("log")\nprint(flags)\n',
}
MENDED = MODEL.replace(".cuda()", ".to(x.device)")


def digest(text: str) -> str:
    """SHA-256 of a file's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def manifest() -> dict:
    """The manifest's content."""
    hashes = {path: digest(text) for path, text in FILES.items()}
    rule = {"file": "pkg/model.py", "line": 3, "find": ".cuda()", "replace": ".to(x.device)"}
    plugin = {"summary": "Fuses.", "diff": "plugin.diff", "after": {p: digest(t) for p, t in PATCHED.items()}}
    cpu = {"summary": "Any device.", "substitute": [rule], "after": {"pkg/model.py": digest(MENDED)}}
    return {
        "repository": "someone/small",
        "commit": "a" * 40,
        "files": hashes,
        "patches": {"plugin": plugin, "cpu": cpu},
        "history": {"b" * 40: {path: digest(text) for path, text in OLDER.items()}},
    }


def write_patches(folder: Path, content: dict | None = None, diff: str = PLUGIN) -> dict[str, PatchSet]:
    """The patch set ``small`` below ``folder``, read back."""
    (folder / "small").mkdir(parents=True, exist_ok=True)
    (folder / "small" / "manifest.json").write_text(json.dumps(content or manifest()))
    (folder / "small" / "plugin.diff").write_text(diff)
    return load_patch_sets(folder)


def write_tree(folder: Path, files: dict[str, str] | None = None, ends: str = "\n") -> Path:
    """A checkout of the small upstream."""
    for path, text in (files or FILES).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.replace("\n", ends).encode())
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
