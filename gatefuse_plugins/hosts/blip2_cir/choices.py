"""Options of the host's parts that are one of a few names, judged in a config before anything is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gatefuse_plugins.config.rules import choice_faults, dimension_rule
from gatefuse_plugins.fusions.text_guided_image import POOLS, STRATEGIES
from gatefuse_plugins.hosts.blip2_cir.qformer import BACKENDS
from gatefuse_plugins.hosts.blip2_cir.text import PADDINGS
from gatefuse_plugins.hosts.blip2_cir.vision.pretrained import PRECISIONS


def _declare(type_name: str, **choices: Sequence[str]) -> None:
    @dimension_rule(type_name)
    def known_choices(node: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> list[str]:
        return choice_faults(node, path, choices)


_declare("CaptionTokenizer", padding=PADDINGS)
_declare("ClipViTL", precision=PRECISIONS)
_declare("EvaViTG", precision=PRECISIONS)
_declare("QFormer", backend=(*BACKENDS, "auto"))
_declare("TextGuidedImageFusion", strategy=STRATEGIES, pool=POOLS)
