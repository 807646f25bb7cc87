"""Where the gates of a data set's samples go while it is evaluated: JSON lines, or a gate store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import all_reduce, barrier, get_rank, get_world_size, is_main_process

from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.jsonlines import entry_of, to_line
from gatefuse_plugins.recording.log_parts import LogPart, join_parts
from gatefuse_plugins.recording.storage import GateStoreWriter
from gatefuse_plugins.recording.value_sinks import TapValues, ValuesSink


class GateLogWriter:
    """Takes values by row of the data set, in any order.

    Args:
        path: the log; a name that does not end in ``.jsonl`` is the folder of a gate store.
        taps: name to tap, of those that are logged.
        names: ``qid`` and ``vid`` of each row that is logged; rows beyond are left out.
        gating: granularity that stands in the lines; ``None`` tells it by the values' shapes.
        shared: every process of a data-parallel run has such a writer, and all of them close it. Lines end up in one
            file; a store has a folder ``rankN`` for each rank.

    Attributes:
        sink: for :func:`~gatefuse_plugins.recording.recorder.record_gates`, whose sample ids are the rows.
        logged: rows that this process has taken.

    Raises:
        DataError: the log cannot be written there.
    """

    def __init__(
        self,
        path: Path,
        taps: Mapping[str, GateTap],
        names: Sequence[tuple[Any, Any]],
        gating: str | None = None,
        shared: bool = True,
    ) -> None:
        self.path, self.logged, self._names, self._gating = path, 0, names, gating
        self._ranks: int = get_world_size() if shared else 1
        rank = get_rank() if shared else 0
        self._part: LogPart | None = None
        self._store: GateStoreWriter | None = None
        if path.suffix == ".jsonl":
            self._part = LogPart(path, rank)
        else:
            self._store = GateStoreWriter(path / f"rank{rank}" if self._ranks > 1 else path, taps)
        self.sink = ValuesSink(self._take, half=self._store is not None)

    @property
    def full(self) -> bool:
        """Whether everything that is to be logged has come; of several processes none knows."""
        return self._ranks == 1 and self.logged >= len(self._names)

    def close(self) -> int:
        """Finish the log, which is not written where it would be empty; returns how many samples it holds."""
        if self._store is not None:
            self._store.close()
        logged = torch.tensor(self.logged)
        if self._ranks > 1:
            all_reduce(logged)
        if self._part is not None:
            self._part.close()
            if self._ranks > 1:
                barrier()  # every rank's part is whole
            if self._ranks == 1 or is_main_process():
                join_parts(self.path, self._ranks, write=bool(logged))
        return min(int(logged), len(self._names))  # samplers repeat samples to fill the last batches

    def _take(self, rows: Sequence[Any], values: list[TapValues]) -> None:
        wanted = [(at, int(row)) for at, row in enumerate(rows) if int(row) < len(self._names)]
        if not wanted:
            return
        self.logged += len(wanted)
        if self._store is not None:
            chosen = [at for at, _ in wanted]
            self._store.append([self._names[row][0] for _, row in wanted], [found.take(chosen) for found in values])
        if self._part is not None:
            for at, row in wanted:
                self._part.add(row, to_line(entry_of(values, at, *self._names[row], self._gating)))
