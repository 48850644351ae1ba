"""Scores on a device: queries prepared there, integer products, one rounding (docs/numerics.md section 10)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, rotation_tables, score_levels, uploaded, uploaded_rotation
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .plan import WARPS, WAVES, launch_factor, query_bytes, row_plan, score_kernel, whole_words

#: Up to so many queries a warp a row multiplies by dp4a (TQ_QUERIES of score_dp4a.cu); more go to the matrix unit.
FEW_QUERIES = 4
#: Tiles of score_mma.cu: rows, queries, bytes of a line.
TILE_ROWS, TILE_QUERIES, TILE_LINE = 64, 32, 144
#: Queries prepared at a time, and bytes that their integers may take.
MOST_QUERIES, QUERY_BUFFER = 65_536, 64 << 20


@dataclass(frozen=True)
class Prepared:
    """Queries as integers on a device."""

    #: (nq, query_bytes) int8: the integers, or their upper bytes.
    high: Any
    #: (nq, query_bytes) int8: lower bytes, for codes of 5 bits and more.
    low: Any
    #: (nq,) float32: what one unit of the integer product is worth.
    worth: Any
    faults: Any


def score(
    backend: Backend,
    codec: CodecKey,
    keep: int,
    queries: Any,
    packed: Any,
    scales: Any,
    out: Any,
    *,
    cosine: bool = False,
    validate: bool = True,
) -> Fault | None:
    """Score device queries against device codes.

    Parameters
    ----------
    keep : int
        Bits that ``packed`` holds of every code.
    queries : (nq, dim) float32
    packed : (n, row bytes of the top ``keep`` bits) uint8
    scales : (n, 1) or (n,) float32
    out : (nq, n) float32
        Written. All arrays are C-contiguous and on the backend's device.
    cosine : bool
        Divide by the queries' norms (which may then be of any size).
    validate : bool
        Wait for the device and return the first faulty query: NaN, ±inf ("nonfinite") or a norm of 2^96 or more
        ("norm"). False: neither.
    """
    nq, n = len(queries), len(packed)
    require(queries, "queries", (nq, codec.dim), np.float32)
    require(packed, "packed", (n, row_bytes(codec.dim, codec.bits, keep)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (nq, n), np.float32)
    step = max(1, min(MOST_QUERIES, QUERY_BUFFER // query_bytes(codec.dim)))
    pending = []
    for first in range(0, nq, step):
        part = slice(first, first + step)
        prepared = prepare(backend, codec, keep, queries[part], cosine=cosine)
        pending.append((first, prepared.faults))
        if n:
            _multiply(backend, codec, keep, prepared, packed, scales, out[part])
    for first, buffer in pending if validate else ():
        fault = first_fault(backend, buffer)
        if fault is not None:
            return replace(fault, row=fault.row + first)
    return None


def prepare(backend: Backend, codec: CodecKey, keep: int, queries: Any, *, cosine: bool) -> Prepared:
    """Rotate and round queries (nq, dim) float32, nq ≥ 1, on the device, so that they never visit the host.

    The host's preparation would cost a copy both ways and a synchronisation for what the encoder's kernels already do.
    """
    nq, wide = len(queries), keep > 4
    rotation = rotation_tables(codec.dim, codec.seed)
    parameters = {"TQ_WIDE": int(wide), "TQ_QUERY_BYTES": query_bytes(codec.dim)}
    plan = row_plan(backend, "query", codec.dim, rotation.rounds, 0, parameters)
    signs, source = uploaded_rotation(backend, codec, by_lanes=plan.kernel.name == "query_warp")
    shape = (nq, query_bytes(codec.dim))
    high = backend.empty(shape, np.int8)
    low = backend.empty(shape, np.int8) if wide else None
    worth = backend.empty((nq,), np.float32)
    faults = fault_buffer(backend)
    level_scale = score_levels(codec, keep)[1]
    args = (
        queries,
        signs,
        source,
        launch_factor(codec.dim, rotation),
        high,
        low,
        worth,
        faults,
        level_scale,
        np.int32(cosine),
    )
    plan.launch(backend, nq, (*args, np.int64(nq)))
    return Prepared(high, low, worth, faults)


def _multiply(
    backend: Backend, codec: CodecKey, keep: int, prepared: Prepared, packed: Any, scales: Any, out: Any
) -> None:
    nq, n = out.shape
    ints = uploaded(backend, "integer levels", (codec.dim, codec.bits, keep), lambda: score_levels(codec, keep)[0])
    matrix = nq > FEW_QUERIES and backend.capability >= 80
    words = whole_words(codec.dim, packed)
    kernel = score_kernel("score_mma" if matrix else "score_dp4a", codec.dim, codec.bits, keep, words=words)
    table = 2 << keep if keep > 4 else 0
    if matrix:
        blocks = -(-n // TILE_ROWS) * -(-nq // TILE_QUERIES)
        threads, shared = 128, (2 if keep > 4 else 1) * (TILE_ROWS + TILE_QUERIES) * TILE_LINE + table
    else:
        blocks, threads, shared = -(-n // WARPS), 32 * WARPS, table
    args = (packed, scales, ints, prepared.high, prepared.low, prepared.worth, out, np.int64(n), np.int64(nq))
    backend.launch(kernel, min(blocks, backend.processors * WAVES), threads, args, shared)
