"""Reader of moment-retrieval annotations: JSON lines, every fault listed with its line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log

from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.json_lines import number_matrix, sound_lines

TVSUM_DOMAINS = ("BK", "BT", "DS", "FM", "GA", "MS", "PK", "PR", "VT", "VU")


@dataclass
class MomentAnnotations:
    """The lines of one annotation file.

    Attributes:
        path: the file.
        records: its objects, as they stand there.
        windows: per record the windows (n, 2) in seconds, clipped to the duration; empty where unlabelled.
        labelled: every record has labels.
        notes: what is unusual but usable, for the log.
    """

    path: Path
    records: list[dict[str, Any]]
    windows: list[np.ndarray]
    labelled: bool
    notes: list[str] = field(default_factory=list)

    def subset(self, rows: Sequence[int]) -> MomentAnnotations:
        """Only the records at ``rows``, in that order."""
        windows = [self.windows[row] for row in rows]
        return MomentAnnotations(self.path, [self.records[row] for row in rows], windows, self.labelled, self.notes)

    def log(self, subject: str) -> None:
        """Log every note once, about ``subject``."""
        for note in self.notes:
            print_log(f"{subject}: {note}", logger="current")


def read_qvhighlights(path: Path, clip_length: float, faults: Faults, subtitles: bool = False) -> MomentAnnotations:
    """Read QVHighlights lines, or ASR pre-training lines (``subtitles``: windows alone are labels).

    Windows past the duration are clipped to it and counted in the notes; every other contradiction is a fault.

    Args:
        path: the jsonl file.
        clip_length: seconds per clip, which relates clip ids to the duration.
        faults: collects what is wrong, by line.
        subtitles: lines have no saliency.
    """
    good = sound_lines(path, faults)
    labelled = bool(good) and all(record.get("relevant_windows") is not None for _, record in good)
    if not labelled:
        some = [f"line {number}" for number, record in good if record.get("relevant_windows") is not None]
        if some:  # a labelled file with holes, or the reverse: either way not what it seems
            bare = [f"line {number}" for number, record in good if record.get("relevant_windows") is None]
            faults.add(f"{path}: lines without relevant_windows, where {len(some)} others have them", *bare)
    windows, clipped = [], 0
    for number, record in good:
        found, past = _windows(record, faults, path, number) if labelled else (np.zeros((0, 2)), 0)
        windows.append(found)
        clipped += past
        if labelled and not subtitles:
            _check_saliency(record, clip_length, faults, path, number)
    notes = [f"{clipped} window(s) end after the duration, clipped to it"] if clipped else []
    empty = sum(not record["query"].strip() for _, record in good)
    notes += [f"{empty} empty quer(ies), their text features are used as they are"] if empty else []
    return MomentAnnotations(path, [record for _, record in good], windows, labelled, notes)


def read_tvsum(path: Path, faults: Faults) -> MomentAnnotations:
    """Read TVSum lines; ``label`` is (clips, annotators), scores 1..5, and ``duration`` counts clips there."""
    good = sound_lines(path, faults)
    for number, record in good:
        if record.get("domain") not in TVSUM_DOMAINS:
            kind = f"{path}: lines without a domain of {', '.join(TVSUM_DOMAINS)}"
            faults.add(kind, f"line {number} ({record.get('domain')!r})")
        label = number_matrix(record.get("label"))
        if label is None or not label.size:
            faults.add(f"{path}: lines whose label is no matrix of numbers (clips, annotators)", f"line {number}")
        elif label.min() < 1 or label.max() > 5:
            faults.add(f"{path}: lines with label scores outside 1..5", f"line {number}")
    return MomentAnnotations(path, [record for _, record in good], [np.zeros((0, 2))] * len(good), True)


def _windows(record: dict[str, Any], faults: Faults, path: Path, number: int) -> tuple[np.ndarray, int]:
    """Windows (n, 2) clipped to the duration, and how many had to be; faulty ones are left out."""
    place, duration = f"line {number} (qid {record['qid']})", record["duration"]
    stated = number_matrix(record["relevant_windows"])
    if stated is None or stated.shape[1:] != (2,) or not len(stated):
        faults.add(f"{path}: lines whose relevant_windows are no list of [start, end] in seconds", place)
        return np.zeros((0, 2)), 0
    backwards = stated[:, 0] >= stated[:, 1]
    outside = ~backwards & ((stated[:, 0] < 0) | (stated[:, 0] >= duration))
    for start, end in stated[backwards]:
        faults.add(f"{path}: windows that do not start before they end", f"{place} [{start:g}, {end:g}]")
    for start, end in stated[outside]:
        faults.add(f"{path}: windows outside the duration", f"{place} [{start:g}, {end:g}] of {duration:g} s")
    kept = stated[~(backwards | outside)]
    return np.minimum(kept, duration), int((kept[:, 1] > duration).sum())


def _check_saliency(record: dict[str, Any], clip_length: float, faults: Faults, path: Path, number: int) -> None:
    place, clips = f"line {number} (qid {record['qid']})", record.get("relevant_clip_ids")
    if not isinstance(clips, list) or not clips or not all(type(clip) is int for clip in clips):
        faults.add(f"{path}: lines whose relevant_clip_ids are no list of integers", place)
        return
    count = math.ceil(record["duration"] / clip_length)
    if min(clips) < 0 or max(clips) >= count or len(set(clips)) < len(clips):
        wrong = f"{place}: {min(clips)}..{max(clips)}, {len(clips)} of them"
        faults.add(f"{path}: relevant_clip_ids repeated or outside the {clip_length:g} s clips of the duration", wrong)
    scores = number_matrix(record.get("saliency_scores"))
    if scores is None or len(scores) != len(clips) or not scores.size:
        found = "no matrix of numbers" if scores is None else f"{len(scores)} for {len(clips)} clips"
        faults.add(f"{path}: saliency_scores that do not match relevant_clip_ids, one list each", f"{place}: {found}")
