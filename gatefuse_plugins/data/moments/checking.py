"""Examines a QVHighlights or TVSum copy on disk: annotations, and every feature file that they name."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.checking_sources import SourceCounts, check_source, stray_files
from gatefuse_plugins.data.moments.packed import HEADER_FILE
from gatefuse_plugins.data.moments.packing import verify_store
from gatefuse_plugins.data.moments.places import LAYOUTS, annotation_file, family_folders
from gatefuse_plugins.data.moments.records import MomentAnnotations, read_qvhighlights, read_tvsum
from gatefuse_plugins.data.moments.sources import FeatureSource
from gatefuse_plugins.data.progress import Progress
from gatefuse_plugins.errors import DataError

CLIP_SECONDS = 2.0


@dataclass
class MomentCounts:
    """What one split holds; ``sources`` maps feature folder -> :class:`SourceCounts`."""

    queries: int = 0
    videos: int = 0
    sources: dict[str, SourceCounts] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_moments(kind: str, path: Path, faults: Faults, progress: Progress | None = None) -> dict[str, MomentCounts]:
    """Read every annotation file and every feature file that it names, in all folders found under known names.

    Args:
        kind: ``qvhighlights`` or ``tvsum``.
        path: the data root.
        faults: collects what is wrong.
        progress: called with (items read, items of this folder).
    """
    layout, splits = LAYOUTS[kind], {}
    folders = {
        modality: [folder for family in families for folder in family_folders(kind, path, modality, family)]
        for modality, families in layout.families.items()
    }
    for modality in ("video", "text"):
        if not folders[modality]:
            known = " or ".join(name for names in layout.families[modality].values() for name in names)
            faults.add(f"{modality} feature folders not found below {path}", known)
    every = [folder for found in folders.values() for folder in found]
    strays = stray_files({path, *(folder.parent for folder in every)}, every)
    for split in layout.annotations:
        file = annotation_file(kind, path, split)
        if not file.is_file() and split not in ("train", "val"):
            splits[split] = MomentCounts(notes=["not there; optional"])
            continue
        subtitles = split.startswith("subs")
        found = read_tvsum(file, faults) if kind == "tvsum" else _read(file, faults, subtitles)
        counts = MomentCounts(len(found.records), len({r["vid"] for r in found.records}), notes=list(found.notes))
        counts.notes += [] if folders["audio"] else ["no audio features"]
        counts.notes += [] if found.labelled else ["no labels"]
        text = "subtitles" if subtitles else "text"
        if subtitles and found.records and not folders[text]:
            faults.add(f"text features of {file.name} not found below {path}", "clip_sub_features")
        stated = _stated_clips(found, kind)
        for modality in ("video", text, "audio"):
            names = list(stated) if modality != text else list(dict.fromkeys(str(r["qid"]) for r in found.records))
            for folder in folders[modality]:
                source = FeatureSource.of(kind, modality, folder)
                expected = {} if modality == text else stated
                counts.sources[str(folder)] = check_source(source, names, expected, strays, faults, progress)
        splits[split] = counts
    return splits


def check_packed(path: Path, faults: Faults, progress: Progress | None = None) -> None:
    """Verify every packed store at or below ``path``: checksums, and content where the source files are there."""
    stores = sorted(header.parent for header in path.rglob(HEADER_FILE)) if path.is_dir() else []
    if not stores:
        faults.add(f"folders without a packed store ({HEADER_FILE})", path)
    for store in stores:
        try:
            for kind, items in verify_store(store, progress).by_kind.items():
                faults.add(kind, *items)
        except DataError as error:
            faults.add("packed stores that cannot be used", error)


def _read(file: Path, faults: Faults, subtitles: bool) -> MomentAnnotations:
    return read_qvhighlights(file, CLIP_SECONDS, faults, subtitles)


def _stated_clips(found: MomentAnnotations, kind: str) -> dict[str, float]:
    """Video -> clips that its annotation states."""
    if kind == "tvsum":
        return {r["vid"]: len(r["label"]) for r in found.records if isinstance(r.get("label"), list)}
    return {record["vid"]: record["duration"] / CLIP_SECONDS for record in found.records}
