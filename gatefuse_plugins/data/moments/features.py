"""The features of one moment-retrieval set: which folders or packed stores, whether they are complete, how wide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.packed import PackedFeatures
from gatefuse_plugins.data.moments.places import feature_folders
from gatefuse_plugins.data.moments.sources import FeatureReader, FeatureSource, FileFeatures
from gatefuse_plugins.errors import DataError

Wanted = str | Path | Sequence[str | Path]


@dataclass
class FeatureSet:
    """Readers of one set.

    Attributes:
        video: side by side along features, in order.
        text, audio: one each; ``audio`` is None for video alone.
        silent: ids of videos whose audio features are missing, by permission.
        widths: modality -> features per row, without endpoint features.
    """

    video: list[FeatureReader]
    text: FeatureReader
    audio: FeatureReader | None
    silent: frozenset[str]
    widths: dict[str, int]


def open_features(
    kind: str,
    data_root: str | Path,
    wanted: dict[str, Wanted | None],
    packed: str | Path | None,
    videos: Sequence[str],
    texts: Sequence[str],
    allow_silent: bool,
    subject: str,
) -> FeatureSet:
    """Find and open the features of the items ``videos`` and ``texts``.

    Args:
        kind: ``qvhighlights`` or ``tvsum``.
        data_root: where feature folders are looked for.
        wanted: modality (``video``, ``text`` or ``subtitles``, ``audio``) -> ``"auto"``, names, paths, None: unused.
        packed: root of packed stores; given one, feature folders are not needed.
        videos: ids of all videos.
        texts: names of all texts.
        allow_silent: missing audio is no fault.
        subject: the data set's name, for errors.

    Raises:
        DataError: folders not found or ambiguous; then, all at once, missing items and stores out of date.
    """
    faults = Faults()
    readers: dict[str, list[FeatureReader]] = {"audio": []}
    for modality, names in wanted.items():
        if names is not None:
            found = feature_folders(kind, data_root, modality, names, faults, packed)
            role = "text" if modality == "subtitles" else modality
            readers[role] = [_open(kind, modality, folder, packed, faults) for folder in found]
    faults.raise_if_any(f"{subject} in {data_root}")
    for role in ("text", "audio"):
        if len(readers[role]) > 1:
            faults.add(f"{role}_features must be one folder", ", ".join(str(r.place) for r in readers[role]))
    silent: frozenset[str] = frozenset()
    for role, opened in readers.items():
        needed = texts if role == "text" else videos
        for reader in opened:
            missing = reader.missing(needed)
            if role == "audio" and allow_silent:
                silent = frozenset(missing)
            else:
                hint = "; missing_audio='no_audio' allows it" if role == "audio" else ""
                faults.add(f"{reader.place}: items without {role} features{hint}", *missing)
            _check_current(reader, needed, faults)
    heard = [video for video in videos if video not in silent]
    if not heard:
        faults.add("no video has audio features; audio_features=None uses video alone", readers["audio"][0].place)
    faults.raise_if_any(f"{subject} in {data_root}")
    first = {"video": videos[0], "text": texts[0], "audio": heard[0]}
    widths = {role: sum(reader.width(first[role]) for reader in opened) for role, opened in readers.items()}
    return FeatureSet(readers["video"], readers["text"][0], next(iter(readers["audio"]), None), silent, widths)


def _open(kind: str, modality: str, folder: Path, packed: str | Path | None, faults: Faults) -> FeatureReader:
    files = FileFeatures(FeatureSource.of(kind, modality, folder))
    if packed is None or not folder.is_dir():  # a folder that was not found is a fault already
        return files
    try:
        return PackedFeatures(folder)
    except DataError as error:
        faults.add("packed features that cannot be used", error)
        return files


def _check_current(reader: FeatureReader, names: Sequence[str], faults: Faults) -> None:
    if not isinstance(reader, PackedFeatures):
        return
    if not reader.source.folder.is_dir():
        print_log(f"{reader.place}: {reader.source.folder} is not there, so changes of it cannot be seen", "current")
        return
    kind = f"{reader.place}: items whose files changed after packing (run tools/pack_features.py again)"
    faults.add(kind, *reader.changed(names))
