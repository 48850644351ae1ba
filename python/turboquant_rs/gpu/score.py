"""Scores on a device: queries prepared there, integer products, one rounding (docs/numerics.md section 10)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..reference.codebook import one_byte
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, rotation_tables, score_levels, uploaded, uploaded_rotation
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .plan import WARPS, Part, grid, launch_factor, query_bytes, row_plan, score_kernel

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
    #: For a search: (nq, columns) float32 that a row's first stage is multiplied with, zeros behind the coordinates;
    #: norms (nq,) float32 without their powers of two, and these (nq,) int32.
    rotated: Any = None
    norms: Any = None
    exponents: Any = None


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
    codes = Part(codec.dim, codec.bits, keep, packed.shape[1])

    def work(part: slice) -> Any:
        prepared = prepare(backend, codec, keep, queries[part], cosine=cosine)
        if n:
            multiply(backend, codes, levels_of(backend, codec, keep), prepared, packed, scales, out[part])
        return prepared.faults

    return in_batches(backend, nq, min(MOST_QUERIES, QUERY_BUFFER // query_bytes(codec.dim)), work, validate=validate)


def in_batches(
    backend: Backend, queries: int, step: int, work: Callable[[slice], Any], *, validate: bool
) -> Fault | None:
    """Work on queries, ``step`` at a time, and return the first faulty one; without ``validate`` none is looked for.

    ``work`` takes the queries' places and returns their buffer of faults. All is launched before the first wait.
    """
    step = max(1, step)
    pending = [(first, work(slice(first, first + step))) for first in range(0, queries, step)]
    for first, buffer in pending if validate else ():
        fault = first_fault(backend, buffer)
        if fault is not None:
            return replace(fault, row=fault.row + first)
    return None


def prepare(
    backend: Backend, codec: CodecKey, keep: int, queries: Any, *, cosine: bool, staged: bool = False, columns: int = 0
) -> Prepared:
    """Rotate and round queries (nq, dim) float32, nq ≥ 1, on the device, so that they never visit the host.

    The host's preparation would cost a copy both ways and a synchronisation for what the encoder's kernels already do.
    ``staged``: also for a search, with so many ``columns`` for its first stage.
    """
    nq, wide = len(queries), not one_byte(keep)
    rotation = rotation_tables(codec.dim, codec.seed)
    parameters = {
        "TQ_WIDE": int(wide),
        "TQ_QUERY_BYTES": query_bytes(codec.dim),
        "TQ_STAGED": int(staged),
        "TQ_STAGE_COLUMNS": columns,
    }
    plan = row_plan(backend, "query", codec.dim, rotation.rounds, 0, parameters)
    signs, source = uploaded_rotation(backend, codec.dim, codec.seed, by_lanes=plan.kernel.name == "query_warp")
    shape = (nq, query_bytes(codec.dim))
    high = backend.empty(shape, np.int8)
    low = backend.empty(shape, np.int8) if wide else None
    worth = backend.empty((nq,), np.float32)
    rotated = backend.empty((nq, columns), np.float32) if columns else None
    norms = backend.empty((nq,), np.float32) if staged else None
    exponents = backend.empty((nq,), np.int32) if staged else None
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
        *(rotated, norms, exponents),
        faults,
        level_scale,
        np.int32(cosine),
    )
    plan.launch(backend, nq, (*args, np.int64(nq)))
    return Prepared(high, low, worth, faults, rotated, norms, exponents)


def levels_of(backend: Backend, codec: CodecKey, keep: int) -> Any:
    """Return the device's integer levels of the top ``keep`` bits."""
    key = (codec.dim, codec.bits, keep)
    return uploaded(backend, "integer levels", key, lambda: score_levels(codec, keep)[0])


def multiply(backend: Backend, part: Part, levels: Any, prepared: Prepared, packed: Any, scales: Any, out: Any) -> None:
    """Multiply prepared queries with a part of packed rows: ``out`` (nq, n) float32 is written, or added to.

    ``levels`` (2^keep,) int16 on the device are what codes stand for.
    """
    nq, n = out.shape
    rest = (out, np.int64(n), np.int64(nq))
    launch_products(backend, part, levels, prepared, packed, scales, "score", rest)


def launch_products(
    backend: Backend,
    part: Part,
    levels: Any,
    prepared: Prepared,
    packed: Any,
    scales: Any,
    what: str,
    rest: tuple[Any, ...],
) -> None:
    """Launch the kernel of few or of many queries that does ``what`` with scores, "score" or "rank".

    ``rest`` are its arguments behind those of all such kernels; the last two are the numbers of rows and of queries.
    """
    n, nq = int(rest[-2]), int(rest[-1])
    matrix = nq > FEW_QUERIES and backend.capability >= 80
    kernel = score_kernel(f"{what}_mma" if matrix else f"{what}_dp4a", part, words=part.whole_words(packed))
    table = 2 << part.keep if part.wide else 0
    if matrix:
        blocks = -(-n // TILE_ROWS) * -(-nq // TILE_QUERIES)
        tiles = (2 if part.wide else 1) * TILE_ROWS + (2 if part.sketch or part.wide else 1) * TILE_QUERIES
        threads, shared = 128, tiles * TILE_LINE + table
    else:
        blocks, threads, shared = -(-n // WARPS), 32 * WARPS, table
    args = (packed, scales, levels, prepared.high, prepared.low, prepared.worth, *rest)
    backend.launch(kernel, grid(backend, blocks), threads, args, shared)
