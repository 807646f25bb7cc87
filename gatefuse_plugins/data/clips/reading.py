"""What is known about an embedded set of clips beyond its captions: the kind of each, and what each video holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatefuse_plugins.data.clips.store import ATTRIBUTES
from gatefuse_plugins.data.clips.vocabulary import KINDS
from gatefuse_plugins.data.msrvtt.places import CAPTION_FILE
from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json


def clip_attributes(root: Path) -> dict[str, dict[str, Any]]:
    """By video id: ``split``, ``look``, ``sound`` (indices of the vocabulary, or None) and ``family``.

    Raises:
        DataError: ``root`` holds no embedded set of clips.
    """
    path = Path(root) / ATTRIBUTES
    if not path.is_file():
        raise DataError(f"{path}: no such file; expected an embedded set as make_msrvtt_clips writes it")
    return read_json(path)


def caption_kinds(root: Path) -> dict[tuple[str, str], str]:
    """By (video id, caption): whether the caption speaks of ``sight``, ``sound`` or ``both``.

    Raises:
        DataError: ``root`` holds no embedded set of clips, or a sentence has no valid ``kind``.
    """
    path = Path(root) / CAPTION_FILE
    sentences = read_json(path).get("sentences", [])
    wrong = [entry.get("sen_id") for entry in sentences if entry.get("kind") not in KINDS]
    if wrong or not sentences:
        raise DataError(
            f"{path}: {len(wrong)} of {len(sentences)} sentences have no kind of {', '.join(KINDS)}; expected an "
            "embedded set as make_msrvtt_clips writes it"
        )
    return {(entry["video_id"], entry["caption"]): entry["kind"] for entry in sentences}
