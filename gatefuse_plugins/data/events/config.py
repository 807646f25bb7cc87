"""The size, widths, noise and seed of an embedded event set."""

from __future__ import annotations

from dataclasses import dataclass

from gatefuse_plugins.data.embedded_set import bound_faults
from gatefuse_plugins.errors import ConfigError

CLIP_SECONDS = 2
SHORTEST, LONGEST = 20, 75  # clips; QVHighlights cuts at 75, and fewer than 20 rarely hold queries of every kind
_BOUNDS = {
    "queries_per_video": (3, 8),  # three kinds; a video has few distinct sounds
    "motion_width": (16, 4096),
    "appearance_width": (16, 4096),
    "audio_width": (16, 4096),
    "text_width": (16, 4096),
}


@dataclass(frozen=True)
class EventSetConfig:
    """Sizes of an embedded event set; the same config always gives the same set.

    Args:
        num_train_videos, num_val_videos, num_test_videos: videos a split. In TVSum's layout they are dealt out evenly
            over ten domains, each getting at least one, and there is no test split.
        queries_per_video: 3 to 8; a TVSum video has one.
        min_clips, max_clips: lengths of videos in clips of 2 s, uniform between the two, 20 to 75.
        motion_width: of SlowFast's place in QVHighlights, and of the optical-flow features in TVSum.
        appearance_width: of CLIP's place in QVHighlights, and of the RGB features in TVSum.
        audio_width, text_width: of the audio features and of one text token.
        video_noise, audio_noise: standard deviation of the noise a feature; an event has length about 1 to 2.
        seed: of every random stream; a video depends on it, on its split and on its index alone.

    Raises:
        ConfigError: lists every field that does not fit.
    """

    num_train_videos: int = 800
    num_val_videos: int = 160
    num_test_videos: int = 40
    queries_per_video: int = 5
    min_clips: int = 30
    max_clips: int = 50
    motion_width: int = 64
    appearance_width: int = 32
    audio_width: int = 48
    text_width: int = 32
    video_noise: float = 0.25
    audio_noise: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        faults = bound_faults(self, _BOUNDS) + self._count_faults()
        if not SHORTEST <= self.min_clips <= self.max_clips <= LONGEST:
            faults.append(
                f"min_clips={self.min_clips}, max_clips={self.max_clips} must satisfy "
                f"{SHORTEST} <= min_clips <= max_clips <= {LONGEST}"
            )
        if faults:
            raise ConfigError("EventSetConfig: " + "; ".join(faults))

    def num_videos(self, split: str) -> int:
        """Videos of ``train``, ``val`` or ``test``."""
        return {"train": self.num_train_videos, "val": self.num_val_videos, "test": self.num_test_videos}[split]

    def _count_faults(self) -> list[str]:
        faults = []
        for name, low in (("num_train_videos", 1), ("num_val_videos", 1), ("num_test_videos", 0), ("seed", 0)):
            if getattr(self, name) < low:
                faults.append(f"{name}={getattr(self, name)} must be at least {low}; nearest: {low}")
        for name in ("video_noise", "audio_noise"):
            if not 0 <= getattr(self, name) < float("inf"):
                faults.append(f"{name}={getattr(self, name)} must be finite and not negative; nearest: 0.0")
        return faults
