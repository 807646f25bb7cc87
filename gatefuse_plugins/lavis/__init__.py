"""Registers ``blip2_cir_gated`` in the model registry of LAVIS, stock or as edited by SPRC.

import gatefuse_plugins.lavis
from lavis.models import load_model_and_preprocess

model, image_processors, text_processors = load_model_and_preprocess("blip2_cir_gated", "pretrain")
"""

from __future__ import annotations

from gatefuse_plugins.lavis.model import Blip2CirGated

__all__ = ["Blip2CirGated"]
