"""QVHighlights metrics: moment retrieval and highlight detection (Lei et al., NeurIPS 2021), as ``standalone_eval``.

Every figure is a percentage, rounded to two digits as the official ones are. Predictions are the submission's objects
(``qid``, ``pred_relevant_windows`` [[start s, end s, score], ...], ``pred_saliency_scores``), annotations the release's
(``qid``, ``duration``, ``relevant_windows``, ``relevant_clip_ids``, ``saliency_scores``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.evaluation.highlights import highlight_metrics
from gatefuse_plugins.evaluation.moment_labels import align, field
from gatefuse_plugins.evaluation.moment_retrieval import moment_retrieval_metrics
from gatefuse_plugins.evaluation.moments import Entries


def qvhighlights_metrics(predictions: Entries, annotations: Entries, clip_length: float = 2.0) -> dict[str, Any]:
    """All official figures, nested as the official evaluation nests them.

    Args:
        predictions: one a query, in any order; without ``pred_relevant_windows`` or ``pred_saliency_scores`` the
            figures that need it are left out.
        annotations: one a query, with labels.
        clip_length: seconds of a clip.

    Returns:
        ``brief`` (``MR-full-mAP``, ``HL-min-VeryGood-Hit1``, ...), then ``HL-min-*``, ``full``, ``long``, ``middle``,
        ``short``; a length range that no ground-truth window falls in is left out.

    Raises:
        DataError: queries of the two do not match one to one, labels are missing, or a value is no finite number.
    """
    nested: dict[str, Any] = {}
    brief: dict[str, float] = {}
    if field(predictions, "pred_relevant_windows", "prediction") and field(annotations, "relevant_windows"):
        moments = moment_retrieval_metrics(predictions, annotations)
        nested |= moments
        brief |= _brief_moments(moments)
    if field(predictions, "pred_saliency_scores", "prediction") and field(annotations, "saliency_scores"):
        highlights = highlight_metrics(predictions, annotations, clip_length)
        nested |= highlights
        brief |= {f"{name}-{key[3:]}": value for name, row in highlights.items() for key, value in row.items()}
    if not nested:
        raise DataError(
            "nothing to score: needs pred_relevant_windows with relevant_windows, or pred_saliency_scores with "
            "saliency_scores (an unlabelled split such as highlight_test_release.jsonl has neither label)"
        )
    return {"brief": brief, **dict(sorted(nested.items()))}


def metrics_by_kind(
    predictions: Entries, annotations: Entries, key: str = "query_kind", clip_length: float = 2.0
) -> dict[str, dict[str, Any]]:
    """:func:`qvhighlights_metrics` of each kind of query, kinds in order of first appearance.

    Raises:
        DataError: an annotation lacks ``key``; otherwise as :func:`qvhighlights_metrics`.
    """
    if not field(annotations, key):
        raise DataError(f"no annotation has the key {key!r}, by which the figures shall be split")
    aligned = align(predictions, annotations)
    groups: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = {}
    for prediction, annotation in zip(aligned, annotations, strict=True):
        chosen = groups.setdefault(str(annotation[key]), ([], []))
        chosen[0].append(prediction)
        chosen[1].append(annotation)
    return {kind: qvhighlights_metrics(*group, clip_length=clip_length) for kind, group in groups.items()}


def _brief_moments(moments: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    full = moments["full"]
    brief = {f"MR-{name}-mAP": row["MR-mAP"]["average"] for name, row in moments.items()}
    brief |= {f"MR-full-mAP@{threshold}": full["MR-mAP"][threshold] for threshold in ("0.5", "0.75")}
    brief |= {f"MR-full-R1@{threshold}": full["MR-R1"][threshold] for threshold in ("0.5", "0.7")}
    return dict(sorted(brief.items()))
