"""Where a log goes, and one that several processes write: a part each, joined in the order of the samples."""

from __future__ import annotations

from pathlib import Path

from gatefuse_plugins.errors import ConfigError, DataError
from gatefuse_plugins.files import atomic_writer, require_folder
from gatefuse_plugins.recording.store_format import INDEX_FILE


class LogPart:
    """Lines of one process, each after the row of its sample, in a hidden file beside the log."""

    def __init__(self, log: Path, rank: int) -> None:
        path = part_path(log, rank)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = open(path, "wb")  # noqa: SIM115  closed in close()
        except OSError as error:
            raise DataError(f"{log}: the gate log cannot be written there ({error.strerror})") from error
        self.lines = 0

    def add(self, row: int, line: str) -> None:
        self._stream.write(b"%d\t%s\n" % (row, line.encode()))
        self.lines += 1

    def close(self) -> None:
        self._stream.close()


def part_path(log: Path, rank: int) -> Path:
    return log.with_name(f".{log.name}.rank{rank}")


def join_parts(log: Path, ranks: int, write: bool = True) -> None:
    """Write ``log`` from the closed parts of ``ranks`` processes, in order of rows, each row once; remove the parts.

    Only places are held in memory, not lines. The parts stay where writing fails.
    """
    paths = [part_path(log, rank) for rank in range(ranks)]
    places: dict[int, tuple[int, int]] = {}
    for rank, path in enumerate(paths):
        with open(path, "rb") as stream:
            start = 0
            for line in stream:
                row = int(line[: line.index(b"\t")])
                places.setdefault(row, (rank, start))  # samplers repeat samples to fill the last batches
                start += len(line)
    if write:
        streams = [open(path, "rb") for path in paths]  # noqa: SIM115  closed below
        try:
            with atomic_writer(log) as target:
                for _, (rank, start) in sorted(places.items()):
                    streams[rank].seek(start)
                    target.write(streams[rank].readline().partition(b"\t")[2])
        finally:
            for stream in streams:
                stream.close()
    for path in paths:
        path.unlink()


def check_log_path(path: str | Path, flag: str = "--gate-save-path") -> None:
    """ConfigError where a log or a gate store cannot be written to ``path``, or would join samples of another run."""
    target = Path(path)
    if target.suffix == ".jsonl":
        require_folder(target.parent, flag)
        if target.is_dir():
            raise ConfigError(f"{flag} {target}: is a folder; expected a file, or the folder of a gate store")
        return
    require_folder(target, flag)
    for folder in (target, *sorted(target.glob("rank*"))):
        index = folder / INDEX_FILE
        if index.is_file() and index.stat().st_size:
            raise ConfigError(
                f"{flag} {target}: {folder} holds the gates of an earlier evaluation, and those of two checkpoints"
                " would be mixed up; name another folder, or remove this one"
            )


def samples_to_log(count: int, size: int) -> int:
    """How many of ``size`` samples a log of the first ``count`` holds; -1: all."""
    return size if count == -1 else min(count, size)


def log_path(folder: str | Path, split: str, count: int, size: int, given: str | Path | None = None) -> Path:
    """``given``, or ``gate_logs_{split}_N{count}.jsonl`` in ``folder`` as QD-DETR-exp names it; ``all`` for -1."""
    name = f"gate_logs_{split}_N{'all' if count == -1 else samples_to_log(count, size)}.jsonl"
    return Path(given or Path(folder) / name)


def check_count(count: int, flag: str) -> None:
    """ConfigError unless ``count`` is -1 or from 1."""
    if count == 0 or count < -1:
        raise ConfigError(f"{flag} {count}: expected 1 or more, or -1 for all samples")
