"""Submission files of QVHighlights and TVSum: one JSON line a query, read with every fault, written atomically.

A line holds ``qid``, ``query``, ``vid``, ``pred_relevant_windows`` [[start s, end s, score], ...] and
``pred_saliency_scores`` (one a clip). TVSum has no windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.jsonl import Line, read_jsonl, write_jsonl
from gatefuse_plugins.evaluation.moment_faults import (
    IDENTITY,
    SALIENCY,
    WINDOWS,
    is_number,
    missing_keys,
    odd_saliency,
    odd_windows,
    qid_faults,
    qid_key,
    saliency_faults,
    window_faults,
)
from gatefuse_plugins.evaluation.moment_labels import clip_count, shown


@dataclass(frozen=True)
class MomentSubmission:
    """What a file holds.

    Attributes:
        entries: its lines that are objects.
        faults: what makes it unfit for scoring, each with its line number.
        notes: what is odd and changes figures, but is scored as the official evaluation scores it.
    """

    entries: list[dict[str, Any]]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def write_submission_lines(path: str | Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write submission lines to ``path``, atomically; ValueError (and no file) where a score is NaN or infinite."""
    write_jsonl(path, lines)


def read_moment_annotations(path: str | Path) -> list[dict[str, Any]]:
    """Annotations of QVHighlights or TVSum (``qid``, ``vid``, ``duration``, labels where the split has them).

    Raises:
        DataError: the file is missing, empty, or has faults; all of them are listed, each with its line.
    """
    lines, faults = read_jsonl(path)
    seen: dict[Any, int] = {}
    for number, entry in lines:
        if missing := [key for key in ("qid", "vid", "duration") if key not in entry]:
            faults.append(f"line {number}: lacks {', '.join(missing)}")
        elif not is_number(entry["duration"]) or entry["duration"] <= 0:
            faults.append(f"line {number}: duration is {entry['duration']!r}, expected seconds above 0")
        elif (first := seen.setdefault(qid_key(entry["qid"]), number)) != number:
            faults.append(f"line {number}: qid {entry['qid']!r} stands in line {first} already")
    if faults:
        raise DataError(f"{path}: not usable as annotations:\n" + "\n".join(f"  {fault}" for fault in faults))
    if not lines:
        raise DataError(f"{path}: holds no annotation, expected one JSON object a line")
    return [line.entry for line in lines]


def read_moment_submission(
    path: str | Path, annotations: Sequence[Mapping[str, Any]], clip_length: float = 2.0, windows: bool = True
) -> MomentSubmission:
    """A submission and everything that is wrong with it, checked against its split.

    Args:
        path: the ``.jsonl`` file.
        annotations: of the same split: ``qid``, ``vid``, ``duration``.
        clip_length: seconds of a clip.
        windows: ``pred_relevant_windows`` are expected (QVHighlights); otherwise they are ignored (TVSum).

    Raises:
        DataError: the file is missing.
    """
    lines, faults = read_jsonl(path)
    known = {qid_key(entry["qid"]): entry for entry in annotations}
    check = _Check(known, _expected_keys(lines, windows), clip_length)
    for line in lines:
        faults += [f"line {line.number}: {fault}" for fault in check.faults(line)]
    faults.sort(key=lambda fault: int(fault.split(":", 1)[0].removeprefix("line ")))
    if not lines:
        faults.append("the file holds no prediction, expected one JSON object a line")
    if missing := [entry["qid"] for key, entry in known.items() if key not in check.seen]:
        faults.append(f"{len(missing)} of {len(known)} queries have no prediction (qid {shown(missing)})")
    notes = [f"{len(numbers)} lines {what} (first: line {numbers[0]})" for what, numbers in check.odd.items()]
    return MomentSubmission([line.entry for line in lines], tuple(faults), tuple(notes))


def _expected_keys(lines: Sequence[Line], windows: bool) -> tuple[str, ...]:
    """Either kind of prediction may be absent from the whole file, as the official evaluation allows; not both."""
    kinds = (WINDOWS, SALIENCY) if windows else (SALIENCY,)
    given = tuple(kind for kind in kinds if any(kind in line.entry for line in lines))
    return IDENTITY + (given or kinds)


@dataclass
class _Check:
    """Faults of one line after another; ``seen`` has each known qid's first line, ``odd`` each note's lines."""

    known: Mapping[str | int, Mapping[str, Any]]
    expected: tuple[str, ...]
    clip_length: float
    seen: dict[str | int, int] = field(default_factory=dict)
    odd: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def faults(self, line: Line) -> list[str]:
        number, entry = line
        found = missing_keys(entry, self.expected)
        if "qid" in entry:
            found += qid_faults(entry["qid"], number, self.known, self.seen)
        annotation = self.known.get(qid_key(entry.get("qid"))) or {}
        if annotation and "vid" in entry and entry["vid"] != annotation["vid"]:
            found.append(f"vid is {entry['vid']!r}, the annotation of this qid has {annotation['vid']!r}")
        for key in (WINDOWS, SALIENCY):
            if key in entry and key in self.expected:
                clips = len(annotation.get("label") or ())  # TVSum needs a score for each, QVHighlights for none
                found += window_faults(entry[key]) if key == WINDOWS else saliency_faults(entry[key], clips)
        if annotation and not found:
            for note in self._notes(entry, annotation):
                self.odd[note].append(number)
        return found

    def _notes(self, entry: Mapping[str, Any], annotation: Mapping[str, Any]) -> list[str]:
        notes = odd_windows(entry[WINDOWS], annotation["duration"]) if WINDOWS in self.expected else []
        if SALIENCY in self.expected:
            label = annotation.get("label")  # TVSum: one row a clip, whatever the duration says
            clips = clip_count(annotation["duration"], self.clip_length) if label is None else len(label)
            notes += odd_saliency(entry[SALIENCY], clips)
        return notes
