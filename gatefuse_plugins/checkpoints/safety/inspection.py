"""A ``torch.save`` file, either format, checked from end to end before ``torch.load`` sees it."""

from __future__ import annotations

import io
from pathlib import Path

from gatefuse_plugins.checkpoints.safety.containers import ZIP_MAGIC, read_torch_zip, walk_legacy_storages
from gatefuse_plugins.checkpoints.safety.dry_run import PlainPickle
from gatefuse_plugins.checkpoints.safety.tensors import require

_LEGACY_MAGIC, _LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def inspect_torch_file(path: Path) -> tuple[list[str], bool]:
    """What the file asks for and no checkpoint needs, and whether it is a zip archive; nothing of it is run or built.

    Raises:
        ValueError, OSError, zipfile.BadZipFile: it is damaged, or sizes in it do not add up.
    """
    with path.open("rb") as stream:
        zipped = stream.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if not zipped:
        return _inspect_legacy(path), False
    archive = read_torch_zip(path)

    def check_storage(key: str, needed: int) -> None:
        held = archive.storages.get(key, -1)
        require(0 <= needed <= held, f"storage {key!r:.40} should have {needed} bytes, the file holds {max(held, 0)}")

    pickle = PlainPickle(check_storage)
    pickle.follow(io.BytesIO(archive.pickle))
    return pickle.refused, True


def _inspect_legacy(path: Path) -> list[str]:
    """For torch before 1.6: magic number, protocol, platform, object and storage keys, then raw storages."""
    declared: dict[str, int] = {}

    def note_storage(key: str, needed: int) -> None:
        require(declared.setdefault(key, needed) == needed, f"storage {key!r:.40} with two sizes")

    pickle = PlainPickle(note_storage)
    with path.open("rb") as stream:
        for expected in (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
            found = pickle.follow(stream)
            require(bool(pickle.refused) or found == expected, "neither a zip archive nor a torch.save file")
        pickle.follow(stream)
        pickle.follow(stream)
        if not pickle.refused:
            walk_legacy_storages(stream, pickle.follow(stream), declared)
    return pickle.refused
