"""CIRR: composed image retrieval on real-life images (Liu et al., ICCV 2021)."""

from __future__ import annotations

from pathlib import Path

from gatefuse_plugins.data.base import ROLES, ComposedRetrievalDataset, Transform
from gatefuse_plugins.data.base_annotations import check_choice
from gatefuse_plugins.data.base_faults import Faults
from gatefuse_plugins.data.cirr_annotations import SPLITS, read_cirr
from gatefuse_plugins.registry import DATASETS


@DATASETS.register_module()
class CIRRDataset(ComposedRetrievalDataset):
    """CIRR, release rc2; queries of one img_set share a ``cluster``.

    Args:
        data_root: holds ``cirr/captions``, ``cirr/image_splits`` and the pictures (``train``, ``dev``, ``test1``),
            or a folder ``cirr_dataset`` that does.
        split: ``train``, ``val`` or ``test1`` (no targets).
        role: ``train`` or ``eval``.
        transform: list of transform configs, or a callable from picture to tensor ``(3, S, S)``.
        features: path of a feature cache, instead of pictures.

    Raises:
        DataError: annotations or pictures are missing or contradict each other; lists all of it.
        ConfigError: unknown split or role.
    """

    def __init__(
        self,
        data_root: str | Path,
        split: str = "train",
        role: str = "train",
        transform: Transform | None = None,
        features: str | Path | None = None,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("role", role, ROLES)
        faults = Faults()
        annotations = read_cirr(data_root, split, role, faults)
        faults.raise_if_any(f"CIRR {split} in {data_root}")
        super().__init__(annotations, role, transform, features)

    def caption(self, query: int) -> str:
        """The modification text as annotated."""
        return self.annotations.captions[query][0]
