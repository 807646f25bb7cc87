"""Raw gate values on disk: part files of compressed float16 columns beside an index, written while a model runs.

    FOLDER/header.json        format, and of every tap its kind, layer, range and neutral value
    FOLDER/index.jsonl        a line for each forward: sample ids, and for each tap where its values stand
    FOLDER/part-00000.bin     the values, see planes.py; a new part is begun at ``PART_BYTES``

A line of the index is written after the values that it names, so what it names is there: a reader may come while the
writer is at work, and after a crash (or kill -9) all forwards that have a whole line are kept. A writer that opens the
folder again cuts off what a crash left behind the last one and goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.files import read_json, write_json
from gatefuse_plugins.gates.tap import GateTap
from gatefuse_plugins.recording.store_format import FORMAT, HEADER_FILE, INDEX_FILE, PART_FILE, Block, describe_tap
from gatefuse_plugins.recording.value_sinks import TapValues

PART_BYTES = 2**28
# Forwards that may wait for the disk before the model has to: bounds the memory that they hold.
_WAITING = 4


class GateStoreWriter:
    """Appends the values of forwards to a store; compresses and writes in a thread of its own.

    Use as ``ValuesSink(writer.append, half=True)`` and close it, or use it as a context manager.

    Args:
        folder: of the store, made where absent; one that holds a store of the same taps is appended to.
        taps: name to tap.
        part_bytes: size at which a new part file is begun.

    Raises:
        DataError: the folder holds a store of other taps, a damaged one, or one that another process is writing.
    """

    def __init__(self, folder: str | Path, taps: Mapping[str, GateTap], part_bytes: int = PART_BYTES) -> None:
        self.folder, self._part_bytes = Path(folder), part_bytes
        self.folder.mkdir(parents=True, exist_ok=True)
        self._index = open(self.folder / INDEX_FILE, "a+b")  # noqa: SIM115  closed in close()
        try:
            self._lock()
            self._write_header(taps)
            self._part, self._offset = self._recover()
            self._data = open(self.folder / PART_FILE.format(self._part), "ab")  # noqa: SIM115
        except BaseException:
            self._index.close()
            raise
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gate-store")
        self._jobs: deque[Future[None]] = deque()
        self._failure: BaseException | None = None

    def append(self, ids: Sequence[Any], values: Sequence[TapValues]) -> None:
        """Take in one forward; returns before it is on disk. Ids are kept as JSON numbers or as strings.

        Raises:
            OSError: an earlier forward could not be written; neither can any later one.
        """
        while len(self._jobs) >= _WAITING or (self._jobs and self._jobs[0].done()):
            self._jobs.popleft().result()
        plain = [one if isinstance(one, int | float | str) else str(one) for one in ids]
        self._jobs.append(self._thread.submit(self._write, plain, list(values)))

    def close(self) -> None:
        """Wait until everything is on disk.

        Raises:
            OSError: something could not be written.
        """
        try:
            while self._jobs:
                self._jobs.popleft().result()
        finally:
            self._thread.shutdown()
            for stream in (self._data, self._index):
                if not stream.closed:
                    stream.flush()
                    os.fsync(stream.fileno())
                    stream.close()

    def __enter__(self) -> GateStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, ids: list[Any], values: list[TapValues]) -> None:
        if self._failure is not None:  # what a failed write left behind would shift all that follows
            raise self._failure
        try:
            self._write_forward(ids, values)
        except BaseException as error:
            self._failure = error
            raise

    def _write_forward(self, ids: list[Any], values: list[TapValues]) -> None:
        if self._offset >= self._part_bytes:
            self._data.close()
            self._part, self._offset = self._part + 1, 0
            self._data = open(self.folder / PART_FILE.format(self._part), "ab")  # noqa: SIM115
        blocks, start = [], self._offset
        for found in values:
            block = Block(found)
            blocks.append(block.entry(start))
            self._data.writelines(block.coded.planes)
            start += block.size
        self._data.flush()
        line = {"part": self._part, "end": start, "samples": ids, "blocks": blocks}
        self._index.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._index.flush()
        self._offset = start

    def _lock(self) -> None:
        try:
            fcntl.flock(self._index, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(
                f"{self.folder}: another process is writing this gate store; name another folder"
            ) from error

    def _write_header(self, taps: Mapping[str, GateTap]) -> None:
        wanted = {"format": FORMAT, "taps": {name: describe_tap(tap) for name, tap in taps.items()}}
        path = self.folder / HEADER_FILE
        if not path.exists():
            write_json(path, wanted)
        elif (held := read_json(path)) != wanted:
            names = sorted(held.get("taps", {})) if isinstance(held, dict) else []
            raise DataError(
                f"{self.folder}: holds the gates of another model ({', '.join(names) or 'unreadable header'}), asked"
                f" for {', '.join(sorted(taps))}; name another folder"
            )

    def _recover(self) -> tuple[int, int]:
        """Cut off what a crash left; the part and the offset to go on at."""
        self._index.seek(0)
        whole = self._index.read()
        whole = whole[: whole.rfind(b"\n") + 1]
        os.truncate(self._index.fileno(), len(whole))
        if not whole:
            part, end = 0, 0
        else:
            try:
                last = json.loads(whole[whole.rfind(b"\n", 0, -1) + 1 :])
                part, end = int(last["part"]), int(last["end"])
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{self.folder / INDEX_FILE}: its last line is damaged ({error}); name another folder"
                ) from error
        path = self.folder / PART_FILE.format(part)
        path.touch()
        if path.stat().st_size < end:
            raise DataError(f"{path}: {path.stat().st_size} bytes, expected {end}; delete the folder, record again")
        os.truncate(path, end)
        self.folder.joinpath(PART_FILE.format(part + 1)).unlink(missing_ok=True)
        return part, end
