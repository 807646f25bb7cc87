"""Embedded clips with sound: short videos and waveforms rendered on the spot, with captions of what is seen and heard.

A coloured shape moves while a sound plays, independently of each other. Videos come in families of two looks times two
sounds, so that for each there is one that looks the same and sounds different, and one that sounds the same and looks
different: neither the picture nor the sound alone finds a video. The set is written in the layout of MSR-VTT (Xu et
al., CVPR 2016), so the same dataset class reads it; its identity always says that it is not MSR-VTT.
"""

from gatefuse_plugins.data.clips.config import ClipSetConfig
from gatefuse_plugins.data.clips.msrvtt_layout import make_msrvtt_clips
from gatefuse_plugins.data.clips.reading import caption_kinds, clip_attributes
from gatefuse_plugins.data.clips.vocabulary import caption_words

__all__ = ["ClipSetConfig", "caption_kinds", "caption_words", "clip_attributes", "make_msrvtt_clips"]
