"""The gate log of QD-DETR-exp: JSON lines of nested lists, written and read.

A line per sample: ``qid``, ``vid``, ``gating_type`` and ``layer_gates``, a list over layers of ``{"gate_mha": ...,
"gate_ffn": ...}``, rows cut to the sample's valid clips (branch ``feat/gate_analysis_junhan_v2-0812``,
``qd_detr/inference.py``; its viewer is ``supplementary/visualize_gate_logs.py``).
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatefuse_plugins.errors import DataError
from gatefuse_plugins.recording.value_sinks import TapValues

GATE_KEYS = {"attention": "gate_mha", "ffn": "gate_ffn"}
REQUIRED = ("qid", "vid", "gating_type", "layer_gates")


@dataclass(frozen=True)
class GateLogEntry:
    """One sample of a log.

    Attributes:
        gating_type: ``global``, ``clipwise``, ``elementwise``, or ``headwise``.
        layer_gates: by layer, values by key (``gate_mha``, ``gate_ffn``; other kinds as
            ``gate_KIND``): (1, 1), (clips, 1) or (clips, D) float32; (0,) where the layer has no such gate.
    """

    qid: Any
    vid: Any
    gating_type: str
    layer_gates: list[dict[str, NDArray[np.float32]]]


def entry_of(values: Sequence[TapValues], row: int, qid: Any, vid: Any, gating_type: str | None) -> GateLogEntry:
    """The entry of one sample of a forward: first pass only; of two taps of a kind and layer the later one."""
    layers: dict[int, dict[str, NDArray[np.float32]]] = {}
    shapes = []
    for found in values:
        if found.pass_index == 0:
            gates = layers.setdefault(
                found.tap.layer or 0, {key: np.zeros(0, np.float32) for key in GATE_KEYS.values()}
            )
            key = GATE_KEYS.get(found.tap.kind, f"gate_{found.tap.kind}")
            gates[key] = np.asarray(found.sample(row), np.float32)
            shapes.append(found.values.shape[1:])
    return GateLogEntry(qid, vid, gating_type or granularity(shapes), [layers[layer] for layer in sorted(layers)])


def granularity(shapes: Sequence[tuple[int, ...]]) -> str:
    """The finest granularity among value shapes without their batch: (1, 1), (L, 1), (L, D) or (H, 1, 1)."""
    if any(len(shape) == 2 and shape[1] > 1 for shape in shapes):
        return "elementwise"
    if any(len(shape) == 3 and shape[0] > 1 for shape in shapes):
        return "headwise"
    return "clipwise" if any(shape[0] > 1 for shape in shapes) else "global"


def to_line(entry: GateLogEntry) -> str:
    """JSON without a line end; NaN and infinities, which JSON lacks, become null."""
    gates = [{key: _nested(value) for key, value in layer.items()} for layer in entry.layer_gates]
    record = {"qid": entry.qid, "vid": entry.vid, "gating_type": entry.gating_type, "layer_gates": gates}
    return json.dumps(record, ensure_ascii=False, allow_nan=False)


def _nested(value: NDArray[np.float32]) -> list[Any]:
    if np.isfinite(value).all():
        nested: list[Any] = value.tolist()
        return nested

    def cleaned(part: Any) -> Any:
        if isinstance(part, list):
            return [cleaned(inner) for inner in part]
        return part if math.isfinite(part) else None

    return list(cleaned(value.tolist()))


def read_gate_log(path: str | Path, limit: int = -1) -> Iterator[GateLogEntry]:
    """The first ``limit`` samples of a log (-1: all), one at a time; null and NaN become NaN.

    A last line that breaks off, as when the log is still being written, is left out with a warning.

    Raises:
        DataError: the file is missing, or a line is no sample; the message has its number.
    """
    try:
        stream = open(path, "rb")  # noqa: SIM115  closed by the block below
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    with stream:
        count = 0
        for number, line in enumerate(stream, 1):
            if count == limit:
                return
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    warnings.warn(f"{path}: line {number} breaks off and was left out", stacklevel=2)
                    return
                raise DataError(f"{path}: line {number} is not valid JSON in UTF-8 ({error})") from error
            yield _parse(record, f"{path}: line {number}")
            count += 1


def _parse(record: Any, place: str) -> GateLogEntry:
    lacking = [key for key in REQUIRED if not isinstance(record, dict) or key not in record]
    if lacking:
        raise DataError(f"{place} lacks {', '.join(lacking)}; expected a sample of a gate log")
    layers = []
    try:
        for layer in record["layer_gates"]:
            layers.append(
                {key: np.asarray(value, np.float32) for key, value in layer.items() if key.startswith("gate_")}
            )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{place}: layer_gates holds no nested lists of numbers ({error})") from error
    return GateLogEntry(record["qid"], record["vid"], str(record["gating_type"]), layers)
