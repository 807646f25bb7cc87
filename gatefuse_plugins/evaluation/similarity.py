"""From collected features to a similarity matrix: assembly by index, and max over target tokens in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from gatefuse_plugins.errors import DataError

CHUNK_ELEMENTS = 1 << 24
"""Largest temporary of :func:`max_token_similarity`, in float32 elements (64 MiB)."""


@torch.no_grad()
def max_token_similarity(query: Tensor, target: Tensor, chunk: int = CHUNK_ELEMENTS) -> Tensor:
    """Dot product of each query with each target's best token (SPRC's ``inference``: maximum over query tokens).

    Args:
        query: (m, E) features, one vector a query.
        target: (n, Q, E) features, Q token vectors a target.
        chunk: upper bound of float32 elements in any temporary (scores before the maximum, or one block of targets
            converted to float32); at least one query against one target is computed at a time.

    Returns:
        (m, n) float32 on the features' device.

    Raises:
        DataError: the shapes do not fit each other.
    """
    if query.ndim != 2 or target.ndim != 3 or query.shape[1] != target.shape[2] or target.shape[1] == 0:
        raise DataError(
            f"query features {tuple(query.shape)} and target features {tuple(target.shape)} do not fit, "
            "expected (queries, width) and (gallery, tokens, width) with tokens > 0"
        )
    (queries, width), (gallery, tokens, _) = query.shape, target.shape
    similarity = torch.empty(queries, gallery, dtype=torch.float32, device=query.device)
    # Wide blocks of targets keep the matrix product efficient; the rows follow from what the bound leaves.
    columns = max(1, min(gallery, chunk // (tokens * max(width, 64))))
    rows = max(1, min(queries, chunk // (tokens * columns)))
    for left in range(0, gallery, columns):
        block = target[left : left + columns].to(query.device, torch.float32)
        flat = block.reshape(-1, width).T
        for top in range(0, queries, rows):
            scores = query[top : top + rows].float() @ flat
            similarity[top : top + rows, left : left + columns] = scores.unflatten(1, (-1, tokens)).amax(dim=2)
    return similarity


def assemble(batches: Iterable[Mapping[str, Tensor]], features: str, index: str, count: int, what: str) -> Tensor:
    """Put the ``features`` of all batches into one tensor by their ``index``.

    Distributed samplers pad the last batch, so a row may arrive twice; the later copy stands.

    Args:
        batches: dicts that may hold ``features`` (b, ...) with ``index`` (b,).
        count: number of rows expected, one for each of 0..count-1.
        what: what a row is ("gallery image", "query"), for messages.

    Returns:
        (count, ...) in the features' dtype.

    Raises:
        DataError: a row is missing, out of range or of another shape, or features come without matching indices.
    """
    rows: Tensor | None = None
    seen = torch.zeros(count, dtype=torch.bool)
    for batch in batches:
        if features not in batch:
            continue
        values, at = batch[features], batch.get(index)
        if at is None or at.shape != values.shape[:1]:
            raise DataError(f"{features} {tuple(values.shape)} needs {index} of shape ({len(values)},), got {at}")
        if len(at) and (int(at.min()) < 0 or int(at.max()) >= count):
            raise DataError(f"{index} spans {int(at.min())}..{int(at.max())}, expected 0..{count - 1} ({what} indices)")
        if rows is None:
            rows = values.new_empty(count, *values.shape[1:])
        if values.shape[1:] != rows.shape[1:]:
            raise DataError(
                f"{features} changes shape between batches: {tuple(values.shape)} after {tuple(rows.shape)}"
            )
        rows[at], seen[at] = values, True
    missing = torch.nonzero(~seen).flatten().tolist()
    if missing or rows is None:
        raise DataError(
            f"{len(missing)} of {count} {what} features never arrived (first missing: {missing[:5]}); "
            "every gallery image and query must pass through the model once: check the sampler and its length"
        )
    return rows
