"""Exact scores from the caller's rows, for candidates that codes have found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import BLOCK_BYTES, as_array, as_float32

#: Rows by id: an array whose row i is the vector of id i, or a function of an array of ids that returns their vectors.
Source: TypeAlias = Any

_Fetch: TypeAlias = Callable[[NDArray[np.int64]], NDArray[np.float32]]


def from_source(
    core: _core.FlatIndex,
    queries: NDArray[np.float32],
    candidates: NDArray[np.int64],
    source: Source,
    threads: int | None,
) -> NDArray[np.float32]:
    """Return the exact scores of candidates (nq, m), float32; those of id −1 are whatever.

    Rows are asked for once a block of queries, each distinct id once.
    """
    fetch = _fetch(core, source, queries.shape[1])
    nq, m = candidates.shape
    scores = np.zeros((nq, m), np.float32)
    step = max(1, BLOCK_BYTES // (4 * queries.shape[1] * max(1, m)))
    for first in range(0, nq, step):
        part = slice(first, first + step)
        wanted, inverse = np.unique(candidates[part], return_inverse=True)
        there = wanted >= 0
        if there.any():
            rows = np.zeros((len(wanted), queries.shape[1]), np.float32)
            rows[there] = fetch(wanted[there])
            out = np.empty(candidates[part].size, np.float32)
            core.exact_scores_of(queries[part], rows[inverse.ravel()], out, threads)
            scores[part] = out.reshape(-1, m)
    return scores


def _fetch(core: _core.FlatIndex, source: Source, dim: int) -> _Fetch:
    if not callable(source):
        source = as_array(source, "rescore_from")
        if core.names() is not None:
            raise TypeError("rescore_from must be a function of ids where ids are strings, got an array")
        if source.ndim != 2 or source.shape[1] != dim:
            raise ValueError(f"rescore_from must be an array (n, {dim}), got shape {source.shape}")

    def fetch(ids: NDArray[np.int64]) -> NDArray[np.float32]:
        if not callable(source):
            if ids[-1] >= len(source):
                raise ValueError(f"rescore_from must have a row for every id, got {len(source)} rows and id {ids[-1]}")
            rows = source[ids]
        else:
            names = core.names_of(ids)
            asked = ids if names is None else np.array(names, object)
            rows = as_array(source(asked), "rescore_from")
            if rows.shape != (len(ids), dim):
                raise ValueError(f"rescore_from must return ({len(ids)}, {dim}) rows, got shape {rows.shape}")
        rows = as_float32(rows, "rescore_from")
        finite = np.isfinite(rows)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            raise ValueError(f"rescore_from must be finite, got {rows[row, column]} for id {ids[row]}, column {column}")
        return rows

    return fetch


def best(
    scores: NDArray[np.float32], ids: NDArray[np.int64], k: int, *, smaller_is_nearer: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the k best of each row of (nq, m) scores, nearest first, equal ones by the lower id; id −1 is last."""
    keys = scores if smaller_is_nearer else -scores
    order = np.lexsort((ids, keys, ids < 0), axis=-1)[:, :k]
    worst = np.float32(np.inf if smaller_is_nearer else -np.inf)
    out_scores = np.full((len(ids), k), worst, np.float32)
    out_ids = np.full((len(ids), k), -1, np.int64)
    found = out_ids[:, : order.shape[1]]
    found[:] = np.take_along_axis(ids, order, axis=1)
    taken = np.take_along_axis(scores, order, axis=1)
    out_scores[:, : order.shape[1]] = np.where(found < 0, worst, taken)
    return out_scores, out_ids
