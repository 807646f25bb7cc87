"""The size, resolution and seed of an embedded set of clips."""

from __future__ import annotations

from dataclasses import dataclass

from gatefuse_plugins.data.clips.vocabulary import NUM_LOOKS, NUM_SOUNDS
from gatefuse_plugins.data.embedded_set import bound_faults
from gatefuse_plugins.errors import ConfigError

SAMPLE_RATE = 8000  # Hz
_BOUNDS = {
    "num_train_videos": (1, NUM_LOOKS * NUM_SOUNDS // 4),  # every pair of look and sound occurs once at most
    "num_test_videos": (1, NUM_LOOKS * NUM_SOUNDS // 4),
    "captions_per_video": (1, 20),
    "num_frames": (1, 60),
    "image_size": (16, 256),
    "seconds": (0.5, 10),
    "seed": (0, 2**31 - 1),
}


@dataclass(frozen=True)
class ClipSetConfig:
    """Sizes of an embedded set of clips; the same config always gives the same set.

    Args:
        num_train_videos, num_test_videos: videos a split; the last ones of training serve as validation.
        captions_per_video: captions of a training video; a test video has one.
        num_frames: frames of a clip.
        image_size: side of the frames, pixels.
        seconds: length of the sound, 0.5 to 10.
        seed: of every random stream.

    Raises:
        ConfigError: lists every field that does not fit.
    """

    num_train_videos: int = 700
    num_test_videos: int = 200
    captions_per_video: int = 5
    num_frames: int = 6
    image_size: int = 32
    seconds: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if faults := bound_faults(self, _BOUNDS):
            raise ConfigError("ClipSetConfig: " + "; ".join(faults))
