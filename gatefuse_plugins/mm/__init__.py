"""Gated attention and feed-forward networks for transformers that mmcv builds from configs.

Not imported by ``gatefuse_plugins.plugins``, since it needs mmcv (or mmcv-lite)::

    custom_imports = dict(imports=["gatefuse_plugins.plugins", "gatefuse_plugins.mm"])
"""

from importlib.util import find_spec

if find_spec("mmcv") is None:
    raise ImportError("gatefuse_plugins.mm needs mmcv; pip install 'gatefuse-plugins[mm]' brings mmcv-lite")

from gatefuse_plugins.mm.attention import GatedMultiheadAttention
from gatefuse_plugins.mm.feed_forward import GatedFFN
from gatefuse_plugins.mm.highlights import HighlightTransformer

__all__ = ["GatedFFN", "GatedMultiheadAttention", "HighlightTransformer"]
