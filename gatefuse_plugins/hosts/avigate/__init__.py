"""Video-text retrieval with audio after AVIGATE (Jeong et al., CVPR 2025), with an optional text query gate."""

import gatefuse_plugins.hosts.avigate.rules  # noqa: F401 (registers the config checks)
from gatefuse_plugins.hosts.avigate.build import build_avigate
from gatefuse_plugins.hosts.avigate.gated_transformer import GatedFusionTransformer
from gatefuse_plugins.hosts.avigate.metric import MSRVTTMetric
from gatefuse_plugins.hosts.avigate.model import AVIGATE
from gatefuse_plugins.hosts.avigate.network import AVIGATENetwork
from gatefuse_plugins.hosts.avigate.options import FusionOptions, NetworkSizes, TrainingOptions
from gatefuse_plugins.hosts.avigate.resampler import AudioResampler
from gatefuse_plugins.hosts.avigate.rows import EncodedTexts, EncodedVideos
from gatefuse_plugins.hosts.avigate.scoring import (
    embed_videos,
    score_all_pairs,
    score_pairs,
    text_free_scores,
    two_stage_scores,
)
from gatefuse_plugins.hosts.avigate.sets import encode_set, find_leaks, join_predictions
from gatefuse_plugins.hosts.avigate.similarity import VideoVectors

__all__ = [
    "AVIGATE",
    "AVIGATENetwork",
    "AudioResampler",
    "EncodedTexts",
    "EncodedVideos",
    "FusionOptions",
    "GatedFusionTransformer",
    "MSRVTTMetric",
    "NetworkSizes",
    "TrainingOptions",
    "VideoVectors",
    "build_avigate",
    "embed_videos",
    "encode_set",
    "find_leaks",
    "join_predictions",
    "score_all_pairs",
    "score_pairs",
    "text_free_scores",
    "two_stage_scores",
]
