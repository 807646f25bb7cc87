"""Scores of QVHighlights and TVSum submission files made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.jsonl import read_jsonl
from gatefuse_plugins.evaluation.moment_faults import qid_key
from gatefuse_plugins.evaluation.moment_labels import field
from gatefuse_plugins.evaluation.moment_retrieval import mean_top1_iou
from gatefuse_plugins.evaluation.moment_submission import (
    MomentSubmission,
    read_moment_annotations,
    read_moment_submission,
)
from gatefuse_plugins.evaluation.offline import OfflineScore
from gatefuse_plugins.evaluation.qvhighlights import metrics_by_kind, qvhighlights_metrics
from gatefuse_plugins.evaluation.tvsum import tvsum_metrics


def read_submission_of(
    benchmark: str, predictions: Path, annotations: Path, clip_length: float = 2.0
) -> tuple[MomentSubmission, list[dict[str, Any]], list[str]]:
    """A submission with its faults and notes, the annotations that it answers, and the domains left out.

    TVSum has one model a domain: domains without any prediction are left out there, not faults.

    Args:
        benchmark: ``qvhighlights`` or ``tvsum``.

    Raises:
        DataError: a file is missing, or the annotations have faults, all of which are listed.
    """
    entries = read_moment_annotations(annotations)
    if benchmark != "tvsum":
        return read_moment_submission(predictions, entries, clip_length), entries, []
    given = {qid_key(line.entry.get("qid")) for line in read_jsonl(predictions)[0]}
    domains = {str(entry.get("domain")) for entry in entries if qid_key(entry["qid"]) in given}
    chosen = [entry for entry in entries if str(entry.get("domain")) in domains] or entries
    skipped = sorted({str(entry.get("domain")) for entry in entries} - domains) if domains else []
    return read_moment_submission(predictions, chosen, clip_length, windows=False), chosen, skipped


def score_qvhighlights(predictions: Path, annotations: Path, clip_length: float = 2.0) -> OfflineScore:
    """Score a submission on a split with labels (``highlight_val_release.jsonl``, ``highlight_test_with_gt.jsonl``).

    Returns:
        ``metrics``: the official brief figures by their official names, ``MR-full-mIoU``, and ``{kind}/...`` where the
        annotations hold ``query_kind``; ``official``: the official nested figures.

    Raises:
        DataError: a file is missing, the split has no labels, or the submission has faults, all of which are listed.
    """
    submission, entries, _ = read_submission_of("qvhighlights", predictions, annotations, clip_length)
    _require_faultless(predictions, submission)
    nested = qvhighlights_metrics(submission.entries, entries, clip_length)
    metrics = dict(nested["brief"])
    if "MR-full-mAP" in metrics:
        metrics["MR-full-mIoU"] = mean_top1_iou(submission.entries, entries)
    if field(entries, "query_kind"):
        for kind, figures in metrics_by_kind(submission.entries, entries, clip_length=clip_length).items():
            metrics |= {f"{kind}/{name}": value for name, value in figures["brief"].items()}
    return OfflineScore("qvhighlights", metrics, len(entries), notes=submission.notes, official=nested)


def score_tvsum(predictions: Path, annotations: Path, clip_length: float = 2.0) -> OfflineScore:
    """Score TVSum saliency on ``tvsum_val.jsonl``: ``BK_mAP`` and so on, and ``mAP``, each a share in 0..1.

    Domains without any prediction stand in ``unknown``, and ``mAP`` is the average of the others.

    Raises:
        DataError: a file is missing, or the submission has faults, all of which are listed.
    """
    submission, entries, skipped = read_submission_of("tvsum", predictions, annotations, clip_length)
    _require_faultless(predictions, submission)
    metrics = tvsum_metrics(submission.entries, entries)
    unknown = tuple(f"{domain}_mAP" for domain in skipped)
    return OfflineScore("tvsum", metrics, len(entries), unknown, submission.notes, {"brief": metrics})


def _require_faultless(path: Path, submission: MomentSubmission) -> None:
    if submission.faults:
        faults = "\n".join(f"  {fault}" for fault in submission.faults)
        raise DataError(f"{path}: not scored, because of {len(submission.faults)} faults:\n{faults}")
