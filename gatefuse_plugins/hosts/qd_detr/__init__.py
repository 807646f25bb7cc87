"""QD-DETR (Moon et al., CVPR 2023): moment retrieval and highlight detection, with an optional fusion of audio."""

import gatefuse_plugins.hosts.qd_detr.rules  # noqa: F401 (registers the config checks)
from gatefuse_plugins.hosts.qd_detr.model import QDDETR
from gatefuse_plugins.hosts.qd_detr.network import QDDETRNetwork

__all__ = ["QDDETR", "QDDETRNetwork"]
