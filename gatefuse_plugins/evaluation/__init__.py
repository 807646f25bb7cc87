"""Retrieval metrics as pure functions, the mmengine metrics built on them, and the files of the CIRR test server."""

from __future__ import annotations

from gatefuse_plugins.evaluation.composed import cirr_metrics, cirr_ranks, fashioniq_metrics
from gatefuse_plugins.evaluation.metrics import CIRRMetric, FashionIQMetric
from gatefuse_plugins.evaluation.similarity import max_token_similarity
from gatefuse_plugins.evaluation.submission import write_submission
from gatefuse_plugins.evaluation.validation import validate_submission
from gatefuse_plugins.evaluation.video import msrvtt_metrics

__all__ = [
    "CIRRMetric",
    "FashionIQMetric",
    "cirr_metrics",
    "cirr_ranks",
    "fashioniq_metrics",
    "max_token_similarity",
    "msrvtt_metrics",
    "validate_submission",
    "write_submission",
]
