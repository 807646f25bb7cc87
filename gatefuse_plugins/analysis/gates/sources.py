"""Where gates of samples come from: a gate store on disk, or a log; a recorded model writes a store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.analysis.gates.data import GateInfo, Sample, SampleId
from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.recording.store_format import HEADER_FILE
from gatefuse_plugins.recording.store_reader import GateStore

_NOTHING: NDArray[np.float16] = np.zeros((0, 0), np.float16)


class StoreGateData:
    """Gates of a :class:`~gatefuse_plugins.recording.store_reader.GateStore`, those of the first pass of each forward.

    Args:
        folder: of the store, or one that holds a store for each rank (``rank0``, ``rank1``, ...).
        samples: what is known of samples, by id; of others only the id is known.
        origin: see :class:`GateData`; the folder's name without it.
        gates: what is known of gates beyond the store's header, by name.

    Attributes:
        warnings: samples that were recorded more than once, as when two evaluations share a folder.

    Raises:
        DataError: no store, or a damaged one.
    """

    def __init__(
        self,
        folder: str | Path,
        samples: Mapping[SampleId, Sample] | None = None,
        origin: str | None = None,
        gates: Mapping[str, GateInfo] | None = None,
    ) -> None:
        stores = [GateStore(path) for path in _store_folders(Path(folder))]
        self.origin = origin or f"gate store {folder}"
        self.gates: Mapping[str, GateInfo] = gates or {
            name: GateInfo(name, **tap) for store in stores for name, tap in store.taps.items()
        }
        self._store: dict[SampleId, GateStore] = {one: store for store in stores for one in store.samples}
        repeated = sum(store.repeated + len(store.samples) for store in stores) - len(self._store)
        self.warnings: tuple[str, ...] = ()
        if repeated:
            self.warnings = (
                f"{self.origin}: {repeated} repeated ids, each with its last values. If more than one evaluation wrote"
                " to this folder, their gates are mixed up.",
            )
        known = samples or {}
        self.samples: Sequence[Sample] = [known.get(one) or Sample(one) for one in self._store]

    def values(self, sample_id: SampleId, gate: str) -> NDArray[Any]:
        """See :meth:`GateData.values`."""
        if sample_id not in self._store:
            raise DataError(
                f"{self.origin}: no sample {sample_id!r}{suggestion(str(sample_id), map(str, self._store))}"
            )
        if gate not in self.gates:
            raise DataError(f"{self.origin}: no gate {gate!r}{suggestion(gate, self.gates)}")
        store = self._store[sample_id]
        if not store.holds(sample_id, gate):
            return _NOTHING
        found = store.read(sample_id, gate)
        return found[:, None] if found.ndim == 1 else found if len(found) else _NOTHING


def _store_folders(folder: Path) -> list[Path]:
    if (folder / HEADER_FILE).exists() or not folder.is_dir():
        return [folder]  # the reader says what is wrong with it
    ranks = [path for path in folder.glob("rank*") if (path / HEADER_FILE).exists()]
    return sorted(ranks, key=lambda path: (len(path.name), path.name)) or [folder]


def described(samples: Iterable[Sample]) -> dict[SampleId, Sample]:
    """Samples by id, for :class:`StoreGateData`."""
    return {sample.id: sample for sample in samples}
