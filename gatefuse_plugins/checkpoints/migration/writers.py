"""Writing migrated files: tensor by tensor, so that no copy of the whole is ever made, and whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gatefuse_plugins.checkpoints.safety.values import count_non_finite
from gatefuse_plugins.errors import CheckpointError
from gatefuse_plugins.files import atomic_writer

_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_BLOCK = 1 << 24
Progress = Callable[[int], None]


def check_target(out: str | os.PathLike[str], source: Path, overwrite: bool) -> Path:
    """The path to write to.

    Raises:
        CheckpointError: it is the source, has another suffix than .safetensors or .pth, or is there already.
    """
    path = Path(out)
    if path.suffix not in (".safetensors", ".pth"):
        raise CheckpointError(
            f"--out {path}: expected NAME.safetensors (weights) or NAME.pth (weights and optimizer state, for resuming)"
        )
    if path.exists() and source.exists() and path.samefile(source):
        raise CheckpointError(f"--out {path}: is the source itself; a migration never overwrites it")
    if path.exists() and not overwrite:
        raise CheckpointError(f"--out {path}: exists already; --overwrite replaces it")
    return path


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    check: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, int]:
    """Write a safetensors file, atomically.

    Args:
        path: where to.
        tensors: by name; read one after another, in blocks.
        metadata: text by key, for the header.
        check: called before the file takes its place; an error leaves what was there.
        progress: is told the number of bytes of every block.

    Returns:
        Name and count of NaN and infinite elements, for every tensor that holds any.

    Raises:
        CheckpointError: a dtype that the format does not have.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **metadata}}
    end = 0
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES:
            raise CheckpointError(f"{name} is {tensor.dtype}, which safetensors cannot hold; write a .pth instead")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    faulty: dict[str, int] = {}
    with atomic_writer(path) as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, tensor in tensors.items():
            flat = tensor.detach().reshape(-1)
            for block in flat.split(max(_BLOCK // tensor.element_size(), 1)) if flat.numel() else ():
                stream.write(block.contiguous().view(torch.uint8).numpy().data)
                if count := count_non_finite(block):  # while the block is in memory
                    faulty[name] = faulty.get(name, 0) + count
                if progress:
                    progress(block.numel() * block.element_size())
        if check:
            check()
    return faulty


def write_torch(
    path: Path,
    content: Mapping[str, Any],
    check: Callable[[], None] | None = None,
    progress: Progress | None = None,
) -> None:
    """Write a ``torch.save`` file, atomically; tensors that are part of a larger storage are copied first.

    ``check`` and ``progress`` are those of :func:`write_safetensors`.

    Raises:
        OSError: the file cannot be written, because the disk is full for instance.
    """
    with atomic_writer(path) as stream:
        watched = _Watched(stream, progress)
        try:
            torch.save(_compact(content), watched)
        except RuntimeError:
            if watched.error is not None:  # torch's writer swallows it and complains of a wrong position
                raise watched.error from None
            raise
        if check:
            check()


class _Watched:
    """A stream for ``torch.save`` that tells how many bytes it was given, and remembers why it could not write."""

    def __init__(self, stream: IO[bytes], progress: Progress | None) -> None:
        self._stream, self._progress = stream, progress
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            written = self._stream.write(content)
        except OSError as error:
            self.error = self.error or error
            raise
        if self._progress:
            self._progress(written)
        return written

    def flush(self) -> None:
        self._stream.flush()


def _compact(value: Any) -> Any:
    if isinstance(value, Tensor):
        whole = value.untyped_storage().nbytes() == value.numel() * value.element_size()
        return value if whole and value.is_contiguous() else value.clone(memory_format=torch.contiguous_format)
    if type(value) is dict:
        return {key: _compact(item) for key, item in value.items()}
    return [_compact(item) for item in value] if type(value) is list else value
