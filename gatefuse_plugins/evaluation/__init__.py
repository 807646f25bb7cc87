"""Metrics as pure functions, the mmengine metrics built on them, and the submission files that they score."""

from __future__ import annotations

from gatefuse_plugins.evaluation.composed import cirr_metrics, cirr_ranks, fashioniq_metrics
from gatefuse_plugins.evaluation.highlights import highlight_metrics
from gatefuse_plugins.evaluation.leakage import LeakReport, check_leakage
from gatefuse_plugins.evaluation.metrics import CIRRMetric, FashionIQMetric
from gatefuse_plugins.evaluation.moment_metrics import QVHighlightsMetric, TVSumMetric
from gatefuse_plugins.evaluation.moment_retrieval import moment_retrieval_metrics
from gatefuse_plugins.evaluation.moment_submission import read_moment_submission, write_submission_lines
from gatefuse_plugins.evaluation.qvhighlights import metrics_by_kind, qvhighlights_metrics
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.evaluation.submission import write_submission
from gatefuse_plugins.evaluation.tvsum import tvsum_metrics
from gatefuse_plugins.evaluation.validation import validate_submission
from gatefuse_plugins.evaluation.video import msrvtt_metrics

__all__ = [
    "CIRRMetric",
    "FashionIQMetric",
    "LeakReport",
    "QVHighlightsMetric",
    "TVSumMetric",
    "check_leakage",
    "cirr_metrics",
    "cirr_ranks",
    "fashioniq_metrics",
    "highlight_metrics",
    "max_token_similarity",
    "metrics_by_kind",
    "moment_retrieval_metrics",
    "msrvtt_metrics",
    "qvhighlights_metrics",
    "read_moment_submission",
    "tvsum_metrics",
    "validate_submission",
    "write_submission",
    "write_submission_lines",
]
