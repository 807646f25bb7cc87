"""Moment-retrieval dataset: whole batches of video, text and audio features with their labels."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from mmengine.logging import print_log

from gatefuse_plugins.data.base import ROLES
from gatefuse_plugins.data.base_annotations import check_choice, dataset_identity
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.moments.batches import MomentBatches
from gatefuse_plugins.data.moments.batching import BatchBuilder
from gatefuse_plugins.data.moments.features import FeatureSet, Wanted, open_features
from gatefuse_plugins.data.moments.places import LAYOUTS, annotation_file
from gatefuse_plugins.data.moments.records import MomentAnnotations
from gatefuse_plugins.errors import ConfigError, DataError

CLIP_TOLERANCE = 2


class MomentDataset(MomentBatches):
    """Queries over videos, one item a query; ``__getitems__`` gives collated batches.

    A batch holds ``video`` (B, L, Dv) and ``text`` (B, N, Dt) float32, zero at padding, ``video_mask`` and
    ``text_mask`` boolean (True = valid), ``duration`` (B,) float32 as annotated, ``sample_index`` (B,) int64 (row of
    ``metainfo['annotations']``); with audio ``audio`` (B, L, Da) and ``audio_mask``, whose row is all False where a
    sample has no audio. Sources are L2-normalised each, cut to ``max_v_l`` and to the shortest, concatenated, and
    followed by the temporal endpoint feature (start / L, end / L). With labels also ``saliency_pos``,
    ``saliency_neg`` (B, 2) int64 clip indices, ``saliency_labels`` (B, L) float32 and, but for TVSum, ``spans``,
    B tensors (n, 2) of (center, width) in fractions of the clips' length. Source: QD-DETR start_end_dataset_audio.py.

    Random choices are drawn from torch's global generator (see ``labels``).

    Args:
        data_root: holds the annotation files (or ``data/`` does) and ``features/`` (or has it beside itself).
        split: a split of the layout.
        role: ``train`` or ``eval``.
        annotations: this file instead of the split's.
        video_features, text_features, audio_features: ``"auto"`` finds the folders under the names in circulation,
            ambiguity being an error; else names or paths. ``audio_features=None``: video alone.
        packed: root of stores made by ``tools/pack_features.py``, read instead of feature files.
        max_v_l, max_q_l: clips and tokens used at most.
        clip_length: seconds per clip.
        normalize_v, normalize_t: L2-normalise features of video and audio, of text.
        text_drop_ratio: part of the tokens that is zeroed, in training only.
        endpoint_feature: append the temporal endpoint feature to video and audio.
        audio_alignment: audio longer or shorter than the video is ``cut`` (upstream) or ``resample``-d to it.
        missing_audio: ``error``, or ``no_audio``: such samples have an empty audio mask, and are counted in the log.
        data_ratio: use this leading part of the annotations.
        clip_tolerance: clips by which features may differ from the duration; extractors disagree on the last ones.
        load_labels: by default only in training.

    Raises:
        ConfigError: an option has no valid value.
        DataError: annotations, feature folders or files are missing or contradict each other; lists all of it. A
            batch raises it where files cannot be read, hold NaN or infinity, differ in width or contradict durations.
    """

    kind: ClassVar[str]

    def __init__(
        self,
        data_root: str | Path,
        split: str = "train",
        role: str = "train",
        annotations: str | Path | None = None,
        video_features: Wanted = "auto",
        text_features: Wanted = "auto",
        audio_features: Wanted | None = None,
        packed: str | Path | None = None,
        max_v_l: int = 75,
        max_q_l: int = 32,
        clip_length: float = 2.0,
        normalize_v: bool = True,
        normalize_t: bool = True,
        text_drop_ratio: float = 0.0,
        endpoint_feature: bool = True,
        audio_alignment: str = "cut",
        missing_audio: str = "error",
        data_ratio: float = 1.0,
        clip_tolerance: int = CLIP_TOLERANCE,
        load_labels: bool | None = None,
    ) -> None:
        check_choice("role", role, ROLES)
        check_choice("audio_alignment", audio_alignment, ("cut", "resample"))
        check_choice("missing_audio", missing_audio, ("error", "no_audio"))
        _check_range(max_v_l=(max_v_l, 1, None), max_q_l=(max_q_l, 1, None), clip_length=(clip_length, 1e-6, None))
        _check_range(data_ratio=(data_ratio, 0, 1), text_drop_ratio=(text_drop_ratio, 0, 1))
        self.data_root = Path(data_root)
        self.subject = f"{LAYOUTS[self.kind].label} {split}"
        self.max_v_l, self.clip_length, self.clip_tolerance = max_v_l, clip_length, clip_tolerance
        self.text_drop_ratio = text_drop_ratio if role == "train" else 0.0
        self.load_labels = role == "train" if load_labels is None else load_labels
        path = annotation_file(self.kind, data_root, split) if annotations is None else Path(annotations)
        self.annotations = self._read(path, split, data_ratio)
        self.identity = dataset_identity(Path(data_root), LAYOUTS[self.kind].label, split, (path,))
        wanted = {"video": video_features, self.text_modality(path): text_features, "audio": audio_features}
        features = self._open(data_root, wanted, packed, missing_audio == "no_audio")
        resample = audio_alignment == "resample"
        self.builder = BatchBuilder(features, max_v_l, max_q_l, normalize_v, normalize_t, endpoint_feature, resample)

    @abstractmethod
    def read_annotations(self, path: Path, split: str, faults: Faults) -> MomentAnnotations:
        """All records of ``path`` that this data set uses."""

    @abstractmethod
    def check_labels(self, annotations: MomentAnnotations, faults: Faults) -> None:
        """Record why the annotations cannot be used as labels."""

    def text_modality(self, path: Path) -> str:
        """Which family of text features belongs to the annotation file."""
        return "text"

    @property
    def metainfo(self) -> dict[str, Any]:
        """``identity``, ``annotations`` (the records, as in the file) and ``clip_length``."""
        return {
            "identity": dict(self.identity),
            "annotations": self.annotations.records,
            "clip_length": self.clip_length,
        }

    @property
    def widths(self) -> dict[str, int]:
        """Features per clip or token as batches hold them: ``video``, ``text`` and, where used, ``audio``."""
        return self.builder.widths

    def _read(self, path: Path, split: str, data_ratio: float) -> MomentAnnotations:
        faults = Faults()
        found = self.read_annotations(path, split, faults)
        found = found.subset(range(int(len(found.records) * data_ratio)))
        if self.load_labels and found.records:
            self.check_labels(found, faults)
        faults.raise_if_any(self.subject)
        if not found.records:
            raise DataError(f"{self.subject}: no sample of {path} is left by data_ratio={data_ratio} and the domain")
        found.log(self.subject)
        return found

    def _open(
        self, data_root: str | Path, wanted: dict[str, Wanted | None], packed: str | Path | None, allow_silent: bool
    ) -> FeatureSet:
        videos = [record["vid"] for record in self.annotations.records]
        texts = [str(record["qid"]) for record in self.annotations.records]
        features = open_features(self.kind, data_root, wanted, packed, videos, texts, allow_silent, self.subject)
        if features.silent:
            count = sum(video in features.silent for video in videos)
            print_log(f"{self.subject}: {count} of {len(videos)} samples have no audio", "current")
        return features


def _check_range(**options: tuple[float, float, float | None]) -> None:
    """Raise :class:`ConfigError` for options name=(value, least, most) outside their range."""
    for name, (value, least, most) in options.items():
        if not least <= value or (most is not None and value > most):
            raise ConfigError(f"{name}={value}, expected {least} to {'any' if most is None else most}")
