"""MSR-VTT (Xu et al., CVPR 2016) for text-video retrieval, in the layout of AVIGATE and CLIP4Clip."""

from gatefuse_plugins.data.msrvtt.audio import AudioSettings, read_waveform, spectrogram
from gatefuse_plugins.data.msrvtt.checking import ClipCounts, check_clips
from gatefuse_plugins.data.msrvtt.dataset import MSRVTTDataset
from gatefuse_plugins.data.msrvtt.features import build_clip_features
from gatefuse_plugins.data.msrvtt.frames import read_frames
from gatefuse_plugins.data.msrvtt.places import msrvtt_files, msrvtt_root

__all__ = [
    "AudioSettings",
    "ClipCounts",
    "MSRVTTDataset",
    "build_clip_features",
    "check_clips",
    "msrvtt_files",
    "msrvtt_root",
    "read_frames",
    "read_waveform",
    "spectrogram",
]
