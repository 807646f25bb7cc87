"""Embedded colour-shape-size scenes, after the CSS benchmark of TIRG (Vo et al., CVPR 2019, section 4.3).

A scene is a 3x3 grid of coloured shapes. Clusters of near-duplicates (a base scene and edits of it) make retrieval
depend on the modification text. The sets are written in the layouts of CIRR and FashionIQ, so the same dataset classes
read them; their identity always says that they are neither.
"""

from gatefuse_plugins.data.scenes.cirr_layout import make_cirr_scenes
from gatefuse_plugins.data.scenes.config import SceneSetConfig
from gatefuse_plugins.data.scenes.fashioniq_layout import make_fashioniq_scenes

__all__ = ["SceneSetConfig", "make_cirr_scenes", "make_fashioniq_scenes"]
