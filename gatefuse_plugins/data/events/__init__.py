"""Embedded audio-visual event sets: features of invented videos whose right answers, and useless audio, are known.

A video is a timeline of 2-second clips on which events are seen and sounds are heard, independently of each other. In
some stretches the audio does not belong to the picture: the acoustics of a room over a picture of the open air, or the
reverse. Its sounds answer no query, though they are those that queries ask for.

The sets are written in the layouts of QVHighlights (Lei et al., NeurIPS 2021) and TVSum (Song et al., CVPR 2015), so
the same dataset classes read them; their identity always says that they are neither.
"""

from gatefuse_plugins.data.events.config import EventSetConfig
from gatefuse_plugins.data.events.qvhighlights_layout import make_qvhighlights_events
from gatefuse_plugins.data.events.reading import off_topic_mask, query_kinds
from gatefuse_plugins.data.events.tvsum_layout import make_tvsum_events

__all__ = ["EventSetConfig", "make_qvhighlights_events", "make_tvsum_events", "off_topic_mask", "query_kinds"]
