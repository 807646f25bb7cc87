"""Reading raw gate values back, also while they are being written."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError, suggestion
from gatefuse_plugins.files import read_json
from gatefuse_plugins.recording.planes import Coded, decode
from gatefuse_plugins.recording.store_format import FORMAT, HEADER_FILE, INDEX_FILE, PART_FILE, checksum


class GateStore:
    """A folder that :class:`~gatefuse_plugins.recording.storage.GateStoreWriter` writes or wrote.

    Samples are those of all whole lines of the index when the store was opened, or last :meth:`refresh`-ed. A sample
    that was recorded twice is there with its last values.

    Attributes:
        taps: name to dict(kind, layer, low, high, neutral).
        samples: ids in the order in which they were recorded.
        repeated: how many times a sample was recorded that was there already.

    Raises:
        DataError: no store, one of another format, or a damaged index.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        header = read_json(self.folder / HEADER_FILE)
        if not isinstance(header, dict) or header.get("format") != FORMAT or not isinstance(header.get("taps"), dict):
            raise DataError(f"{self.folder / HEADER_FILE}: expected a gate store of format {FORMAT}")
        self.taps: dict[str, dict[str, Any]] = header["taps"]
        self._lines: list[dict[str, Any]] = []
        self._places: dict[Any, tuple[int, int]] = {}
        self._read, self.repeated = 0, 0
        # the blocks of one forward, so that its samples are read one after the other; blocks of large batches are large
        self._block = functools.lru_cache(len(self.taps) + 1)(self._decode)
        self.refresh()

    @property
    def samples(self) -> list[Any]:
        return list(self._places)

    def refresh(self) -> int:
        """Take in what was written since; returns the number of samples now."""
        path = self.folder / INDEX_FILE
        try:
            with open(path, "rb") as stream:
                stream.seek(self._read)
                text = stream.read()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        text = text[: text.rfind(b"\n") + 1]  # the rest of a line is still to come
        for line in text.splitlines():
            try:
                entry = json.loads(line)
                rows = {sample: (len(self._lines), row) for row, sample in enumerate(entry["samples"])}
                if any(block["tap"] not in self.taps or "lengths" not in block for block in entry["blocks"]):
                    raise ValueError("a block of no known gate")
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}: line {len(self._lines) + 1} is no entry of a gate store ({error})") from error
            before = len(self._places)
            self._places.update(rows)
            self.repeated += before + len(entry["samples"]) - len(self._places)
            self._lines.append(entry)
        self._read += len(text)
        return len(self._places)

    def holds(self, sample: Any, tap: str, pass_index: int = 0) -> bool:
        """Whether the gate gave this sample values; KeyError for a sample that is not there."""
        line, _ = self._places[sample]
        return any(block["tap"] == tap and block["pass"] == pass_index for block in self._lines[line]["blocks"])

    def read(self, sample: Any, tap: str, pass_index: int = 0) -> NDArray[Any]:
        """Valid values of one sample, (rows, ...): float16 (float32 where a value did not fit).

        Raises:
            DataError: no such sample, tap or pass; a part file is damaged.
        """
        if sample not in self._places:
            raise DataError(f"{self.folder}: no sample {sample!r}{suggestion(str(sample), map(str, self._places))}")
        if tap not in self.taps:
            raise DataError(f"{self.folder}: no gate {tap!r}{suggestion(tap, self.taps)}")
        line, row = self._places[sample]
        for at, block in enumerate(self._lines[line]["blocks"]):
            if block["tap"] == tap and block["pass"] == pass_index:
                values, starts = self._block(line, at)
                return values[starts[row] : starts[row + 1]]
        raise DataError(f"{self.folder}: gate {tap} gave no value for sample {sample!r} in pass {pass_index}")

    def __iter__(self) -> Iterator[tuple[Any, dict[str, NDArray[Any]]]]:
        """Each sample with its values of pass 0 by tap, in the order of recording."""
        for sample, (line, _) in self._places.items():
            names = [block["tap"] for block in self._lines[line]["blocks"] if block["pass"] == 0]
            yield sample, {name: self.read(sample, name) for name in names}

    def _decode(self, line: int, at: int) -> tuple[NDArray[Any], list[int]]:
        """Values of one block, and where each sample's rows start."""
        entry = self._lines[line]
        block, path = entry["blocks"][at], self.folder / PART_FILE.format(entry["part"])
        lengths = block["lengths"]
        lengths = [lengths] * len(entry["samples"]) if isinstance(lengths, int) else lengths
        starts = list(accumulate(lengths, initial=0))
        try:
            with open(path, "rb") as stream:
                stream.seek(block["offset"])
                planes = tuple(stream.read(size) for size in block["sizes"])
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        if checksum(planes) != block["crc"]:
            raise DataError(
                f"{path}: damaged at byte {block['offset']} (gate {block['tap']}, line {line + 1} of the index)"
            )
        shape = (starts[-1], *block["shape"])
        return decode(Coded(block["dtype"], shape, planes, tuple(map(bool, block["coded"])))), starts
