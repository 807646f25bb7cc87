"""BLIP-2 composed image retrieval after SPRC (Bai et al., ICLR 2024), with an optional fusion before the Q-Former."""

import gatefuse_plugins.hosts.blip2_cir.choices
import gatefuse_plugins.hosts.blip2_cir.rules  # noqa: F401 (both register config checks)
from gatefuse_plugins.hosts.blip2_cir.model import Blip2ComposedRetrieval, build_blip2_composed_retrieval
from gatefuse_plugins.hosts.blip2_cir.network import ComposedRetrievalNetwork
from gatefuse_plugins.hosts.blip2_cir.qformer import build_qformer
from gatefuse_plugins.hosts.blip2_cir.vision.cached import CachedVision
from gatefuse_plugins.hosts.blip2_cir.vision.pretrained import build_clip_vit_l, build_eva_vit_g
from gatefuse_plugins.hosts.blip2_cir.vision.tiny import TinyPatchEncoder

__all__ = [
    "Blip2ComposedRetrieval",
    "CachedVision",
    "ComposedRetrievalNetwork",
    "TinyPatchEncoder",
    "build_blip2_composed_retrieval",
    "build_clip_vit_l",
    "build_eva_vit_g",
    "build_qformer",
]
