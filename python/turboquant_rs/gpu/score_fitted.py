"""Scores of a fitted codec on a device: integer products group after group (docs/numerics.md section 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .axes import axes_plan
from .backend import Backend
from .constants import uploaded
from .dense import multiply, stride
from .encode_fitted import bytes_a_row, rows_at_a_time
from .faults import Fault, fault_buffer
from .fitted import (
    FittedKey,
    Grouped,
    ScoreTables,
    StageTables,
    uploaded_center,
    uploaded_planes,
    uploaded_rotations,
    uploaded_segments,
)
from .gate import address, require
from .kernels import Kernel
from .plan import WARPS, grid, norms_of
from .score import FEW_QUERIES, QUERY_BUFFER, TILE_LINE, TILE_QUERIES, TILE_ROWS, in_batches

#: Queries prepared at a time.
MOST_QUERIES = 65_536
#: Threads of fitted_lanes.cu, a row each, and the bytes of shared memory that their rows may take.
LANE_ROWS, STAGED_BYTES = 128, 40 << 10


@dataclass(frozen=True)
class Prepared:
    """Queries as integers on a device."""

    #: (nq, columns) int8: the integers, or their upper bytes; lower bytes where a group has 5 bits or more.
    high: Any
    low: Any
    #: (nq, groups) float32: what one unit of a group's product is worth.
    worth: Any
    #: (nq,) float32: products with the center, if there is one.
    base: Any
    faults: Any
    #: As of :class:`.score.Prepared`; for a first stage also the largest magnitude of a rotated coordinate, (nq,)
    #: float32, and the segments' lengths over it, (nq, segments) float32.
    rotated: Any = None
    norms: Any = None
    exponents: Any = None
    largests: Any = None
    lengths: Any = None


def score(
    backend: Backend,
    codec: FittedKey,
    keep: tuple[int, ...],
    queries: Any,
    packed: Any,
    scales: Any,
    out: Any,
    *,
    cosine: bool = False,
    validate: bool = True,
) -> Fault | None:
    """Score device queries against device codes; as :func:`.score.score`, with ``keep`` bits of every segment."""
    nq, n = len(queries), len(packed)
    require(queries, "queries", (nq, codec.dim), np.float32)
    require(packed, "packed", (n, codec.row_bytes(keep)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (nq, n), np.float32)

    def work(part: slice) -> Any:
        prepared = prepare(backend, codec, keep, queries[part], cosine=cosine)
        if n:
            _multiply(backend, codec, keep, prepared, packed, scales, out[part])
        return prepared.faults

    step = queries_at_a_time(codec, codec.scoring(keep))
    return in_batches(backend, nq, step, work, validate=validate)


def queries_at_a_time(codec: FittedKey, tables: ScoreTables) -> int:
    """Return how many queries are prepared at a time."""
    return max(1, min(MOST_QUERIES, QUERY_BUFFER // tables.query_bytes, rows_at_a_time(codec, MOST_QUERIES)))


def buffer_bytes(codec: FittedKey, keep: tuple[int, ...], queries: int) -> int:
    """Return the bytes that queries take on their way to integers, and as integers."""
    tables = codec.scoring(keep)
    each = bytes_a_row(codec) + (2 if tables.wide else 1) * tables.query_bytes + 4 * len(tables.groups) + 4
    return min(queries, queries_at_a_time(codec, tables)) * each


def prepare(
    backend: Backend,
    codec: FittedKey,
    keep: tuple[int, ...],
    queries: Any,
    *,
    cosine: bool,
    stage: StageTables | None = None,
) -> Prepared:
    """Take queries (nq, dim) float32, nq ≥ 1, to integers on the device; for a search with a first stage also to it."""
    nq, tables, line = len(queries), codec.scoring(keep), stride(codec.dim)
    planes = backend.empty((nq, line), np.int8), backend.empty((nq, line), np.int8)
    norms, exponents = backend.empty((nq,), np.float32), backend.empty((nq,), np.int32)
    products = backend.empty((nq, codec.axes), np.int32)
    base = backend.empty((nq,), np.float32) if codec.centered else None
    faults = fault_buffer(backend)
    fixed = Kernel(
        "fitted_queries",
        (("TQ_CENTERED", int(codec.centered)), ("TQ_DIM", codec.dim), ("TQ_STRIDE", line), ("TQ_WARPS", WARPS)),
    )
    rows = (queries, uploaded_center(backend, codec), *planes, norms, exponents, base, faults, np.int32(cosine))
    blocks = grid(backend, -(-nq // WARPS))
    backend.launch(fixed, blocks, 32 * WARPS, (*rows, np.int64(nq)), 0)
    multiply(backend, planes, uploaded_planes(backend, codec, "queries"), products=products)
    high = backend.empty((nq, tables.query_bytes), np.int8)
    low = backend.empty((nq, tables.query_bytes), np.int8) if tables.wide else None
    worth = backend.empty((nq, len(tables.groups)), np.float32)
    shape, _, _ = uploaded_segments(backend, codec, keep)
    found = {
        name: uploaded(backend, f"fitted {name}", (*codec.key, keep), lambda name=name: getattr(tables, name))  # type: ignore[misc]
        for name in ("columns", "groups", "level_scales")
    }
    gains = uploaded(backend, "fitted gains", codec.key[:1], lambda: codec.codec.gains)
    staged: tuple[Any, ...] = (None,) * 5
    if stage is not None:
        units, values = (
            uploaded(backend, f"fitted stage {name}", codec.key, lambda name=name: getattr(stage, name))  # type: ignore[misc]
            for name in ("units", "values")
        )
        sizes = ((nq, 8 * stage.size), (nq,), (nq, len(codec.segments)))
        staged = (units, values, *(backend.empty(size, np.float32) for size in sizes))
    args = (
        *(products, norms, exponents, gains, shape, *uploaded_rotations(backend, codec, inverse=False)),
        *(found["columns"], found["groups"], found["level_scales"], high, low, worth),
        *(*staged, faults, np.int32(cosine)),
    )
    parameters = {
        "TQ_QUERY_BYTES": tables.query_bytes,
        "TQ_GROUPS": len(tables.groups),
        "TQ_STAGE_COLUMNS": 0 if stage is None else 8 * stage.size,
        "TQ_STAGE_UNITS": 0 if stage is None else len(stage.units),
        "TQ_STAGE_SEGMENTS": 0 if stage is None else len(codec.segments),
    }
    axes_plan(backend, codec, 0).launch(backend, "fitted_integers", 0, nq, parameters, args)
    rotated, largests, lengths = staged[2:]
    return Prepared(high, low, worth, base, faults, rotated, norms, exponents, largests, lengths)


def _multiply(
    backend: Backend,
    codec: FittedKey,
    keep: tuple[int, ...],
    prepared: Prepared,
    packed: Any,
    scales: Any,
    out: Any,
) -> None:
    nq, n = out.shape
    width = np.int32(packed.shape[1])
    rest = (out, width, np.int64(n), np.int64(nq))
    launch_products(backend, codec, keep, prepared, packed, scales, "fitted", rest)


def launch_products(
    backend: Backend,
    codec: Grouped,
    keep: tuple[int, ...],
    prepared: Prepared,
    packed: Any,
    scales: Any,
    what: str,
    rest: tuple[Any, ...],
) -> None:
    """Launch the kernel of few or of many queries that does ``what`` with scores: "fitted" or "rank_fitted".

    ``rest`` are its arguments behind those of all such kernels; the last two are the numbers of rows and of queries.
    Where rows have several scales, each is of one group.
    """
    n, nq, tables, width = int(rest[-2]), int(rest[-1]), codec.scoring(keep), int(packed.shape[1])
    table = 4 * tables.levels.size
    matrix = nq > FEW_QUERIES and backend.capability >= 80
    parameters = _shape(tables, scales)
    if matrix:
        parameters["TQ_WIDE"] = int(tables.wide)
        blocks = -(-n // TILE_ROWS) * -(-nq // TILE_QUERIES)
        threads, shared = 128, (2 if tables.wide else 1) * (TILE_ROWS + TILE_QUERIES) * TILE_LINE + table
    else:
        # An odd number of words between rows, so that lanes that read the same byte of theirs meet in no bank.
        pitch = 4 * (-(-width // 4) | 1)
        pitch = pitch if pitch * LANE_ROWS <= STAGED_BYTES else 0
        words = width % 4 == 0 and address(packed) % 4 == 0
        parameters |= {"TQ_PITCH": pitch, "TQ_THREADS": LANE_ROWS, "TQ_WHOLE_WORDS": int(bool(pitch) and words)}
        blocks, threads, shared = -(-n // LANE_ROWS), LANE_ROWS, table + pitch * LANE_ROWS
    kernel = Kernel(f"{what}_mma" if matrix else f"{what}_lanes", tuple(sorted(parameters.items())))
    args = (*_operands(backend, codec, keep, prepared, packed, scales), *rest)
    backend.launch(kernel, grid(backend, blocks), threads, args, shared)


def refine_products(
    backend: Backend,
    codec: Grouped,
    keep: tuple[int, ...],
    prepared: Prepared,
    packed: Any,
    scales: Any,
    blocks: int,
    rest: tuple[Any, ...],
) -> None:
    """Launch the kernel that cuts candidates with upper ends as keys to their scores; ``rest`` as above."""
    tables = codec.scoring(keep)
    kernel = Kernel("refine_fitted", tuple(sorted({"TQ_WARPS": WARPS, **_shape(tables, scales)}.items())))
    args = (*_operands(backend, codec, keep, prepared, packed, scales), *rest)
    backend.launch(kernel, grid(backend, blocks), 32 * WARPS, args, 4 * tables.levels.size)


def _shape(tables: ScoreTables, scales: Any) -> dict[str, int]:
    """Return the parameters of all kernels of groups."""
    return {
        "TQ_QUERY_BYTES": tables.query_bytes,
        "TQ_GROUPS": len(tables.groups),
        "TQ_LEVEL_WORDS": int(tables.levels.size),
        "TQ_SCALES": norms_of(scales),
    }


def _operands(
    backend: Backend, codec: Grouped, keep: tuple[int, ...], prepared: Prepared, packed: Any, scales: Any
) -> tuple[Any, ...]:
    """Return the first arguments of all kernels of groups."""
    tables = codec.scoring(keep)
    found = [
        uploaded(backend, f"fitted {name}", (*codec.key, keep), lambda name=name: getattr(tables, name))  # type: ignore[misc]
        for name in ("places", "groups", "levels")
    ]
    return packed, scales, *found, prepared.high, prepared.low, prepared.worth, prepared.base
