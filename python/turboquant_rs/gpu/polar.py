"""PolarQuant on a device: angles of a recursive polar transform, and radii (docs/numerics-papers.md section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..reference.polar_angles import Angles, angles
from .backend import Backend
from .constants import uploaded
from .dense import BUFFER
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .rotate import rotate, unrotate
from .score import MOST_QUERIES, in_batches
from .sketch import launch_by_warps

#: Rows and queries of a warp of polar_scores.cu.
TILE = 4


@dataclass(frozen=True)
class PolarKey:
    """What decides a codec's kernels and tables: the parameters of :class:`turboquant_rs.PolarQuant`."""

    dim: int
    bits: tuple[int, ...]
    radius: str
    seed: int = 0

    @property
    def levels(self) -> int:
        """Levels of the transform."""
        return len(self.bits)

    @property
    def string_bits(self) -> int:
        """Bits of a row's codes."""
        return sum((self.dim >> level) * bits for level, bits in enumerate(self.bits, 1))

    @property
    def row_bytes(self) -> int:
        """Bytes of a packed row."""
        return (2 if self.radius == "float16" else 4) * (self.dim >> self.levels) + (self.string_bits + 7) // 8

    @property
    def numbers(self) -> tuple[Any, ...]:
        """What kernels are told: dim, levels, whether radii are halves, bytes of a packed row."""
        return np.int32(self.dim), np.int32(self.levels), np.int32(self.radius == "float16"), np.int32(self.row_bytes)


def shape_of(key: PolarKey, boundaries: bool) -> NDArray[np.int32]:
    """Return the levels for kernels, (levels + 1, 4) int32: bits, bits within a quadrant, first bit, first float.

    The first float is that of a table of boundaries, or of centroids. The last row has the end of the string.

    >>> shape_of(PolarKey(8, (4, 2), "float16"), True).tolist()
    [[4, 2, 0, 0], [2, 2, 16, 6], [0, 0, 20, 12]]
    """
    rows, bit, at = [], 0, 0
    for level, bits in enumerate(key.bits, 1):
        inner = _inner(level, bits)
        rows.append((bits, inner, bit, at))
        bit += (key.dim >> level) * bits
        at += 2 * ((1 << inner) - boundaries)
    return np.array([*rows, (0, 0, bit, at)], np.int32)


def tables_of(key: PolarKey, boundaries: bool) -> NDArray[np.float32]:
    """Return cosine and sine of every boundary, or of every centroid, level after level, float32."""

    def pairs(found: Angles) -> NDArray[np.float32]:
        return np.stack((found.bound_cos, found.bound_sin) if boundaries else (found.cos, found.sin), axis=1)

    tables = [pairs(angles(level, _inner(level, bits))).ravel() for level, bits in enumerate(key.bits, 1)]
    # No kernel reads past the end, but none is given nothing either.
    return np.concatenate([*tables, np.zeros(1, np.float32)])


def encode(backend: Backend, key: PolarKey, x: Any, packed: Any, scales: Any, *, validate: bool = True) -> Fault | None:
    """Encode device rows (n, dim) float32 into ``packed`` (n, row bytes) uint8; ``scales`` (n, 0) has nothing to write.

    Returns the first row that must be refused, after waiting for the device; with ``validate=False`` neither. Takes up
    to 64 MiB for rotated rows and their codes.
    """
    n = len(x)
    require(x, "x", (n, key.dim), np.float32)
    require(packed, "packed", (n, key.row_bytes), np.uint8)
    if n == 0:
        return None
    faults, step = fault_buffer(backend), rows_at_a_time(key, n)
    shape, tables = _uploaded(backend, key, boundaries=True)
    room, codes = _room(backend, key, step), backend.empty((step, key.dim), np.uint8)
    floats = int(tables.shape[0])
    dim, levels, half, width = key.numbers
    for first in range(0, n, step):
        part = slice(first, first + step)
        count = len(x[part])
        rows = room[0][:count], room[1][:count], room[2][:count]
        rotate(backend, key.dim, key.seed, x[part], rows, faults, first, "nothing", cut=True)
        args = (rows[0], rows[2], shape, tables, codes[:count], packed[part], faults, dim, levels, np.int32(floats))
        numbers = (half, width, np.int64(first), np.int64(count))
        launch_by_warps(backend, "polar_codes", count, (*args, *numbers), shared=4 * floats)
    return first_fault(backend, faults) if validate else None


def decode(backend: Backend, key: PolarKey, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows into ``out`` (n, dim) float32; nothing is synchronised."""
    n = len(packed)
    require(packed, "packed", (n, key.row_bytes), np.uint8)
    require(out, "out", (n, key.dim), np.float32)
    if n == 0:
        return
    powers = backend.empty((n,), np.int32)
    _values(backend, key, packed, out, powers)
    unrotate(backend, key.dim, key.seed, out, powers)


def score(
    backend: Backend, key: PolarKey, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool = True
) -> Fault | None:
    """Score device queries (nq, dim) float32 into ``out`` (nq, n) float32; faults are norms of 2^96 and more.

    Takes up to 64 MiB for decoded rows, as much for rotated queries.
    """
    n, nq = len(packed), len(queries)
    require(packed, "packed", (n, key.row_bytes), np.uint8)
    require(queries, "queries", (nq, key.dim), np.float32)
    require(out, "out", (nq, n), np.float32)
    step = decoded_at_a_time(key, n)

    def work(part: slice) -> Any:
        some, faults = queries[part], fault_buffer(backend)
        rotated = _room(backend, key, len(some))
        rotate(backend, key.dim, key.seed, some, rotated, faults, 0, "query", cut=True)
        values, powers = backend.empty((step, key.dim), np.float32), backend.empty((step,), np.int32)
        for first in range(0, n, step):
            rows = packed[first : first + step]
            count = len(rows)
            _values(backend, key, rows, values[:count], powers[:count])
            tiles = -(-count // TILE) * -(-len(some) // TILE)
            numbers = (np.int32(key.dim), np.int64(first), np.int64(n), np.int64(count), np.int64(len(some)))
            args = (values[:count], powers[:count], rotated[0], rotated[2], out[part], *numbers)
            launch_by_warps(backend, "polar_scores", tiles, args)
        return faults

    return in_batches(backend, nq, queries_at_a_time(key, MOST_QUERIES), work, validate=validate)


def rows_at_a_time(key: PolarKey, rows: int) -> int:
    """Return how many rows are encoded at a time."""
    return max(1, min(rows, BUFFER // (5 * key.dim + 8)))


def decoded_at_a_time(key: PolarKey, rows: int) -> int:
    """Return how many rows are decoded for scores at a time."""
    return max(1, min(rows, BUFFER // (4 * key.dim + 4)))


def queries_at_a_time(key: PolarKey, queries: int) -> int:
    """Return how many queries are rotated at a time."""
    return max(1, min(queries, BUFFER // (4 * key.dim + 8)))


def encoding_bytes(key: PolarKey, rows: int) -> int:
    """Return the bytes that encoding takes beside its result."""
    return rows_at_a_time(key, rows) * (5 * key.dim + 8)


def decoding_bytes(key: PolarKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result."""
    return 4 * rows


def scoring_bytes(key: PolarKey, queries: int, rows: int) -> int:
    """Return the bytes that scoring takes beside its result."""
    decoded = decoded_at_a_time(key, rows) * (4 * key.dim + 4)
    return decoded + min(queries, queries_at_a_time(key, MOST_QUERIES)) * (4 * key.dim + 8)


def _inner(level: int, bits: int) -> int:
    """Return the bits that a table decides; the quadrant of level 1 takes two, or the only one."""
    return bits if level > 1 else max(0, bits - 2)


def _room(backend: Backend, key: PolarKey, rows: int) -> tuple[Any, Any, Any]:
    """Return memory for rotated rows, their norms and powers of two."""
    norms, exponents = backend.empty((rows,), np.float32), backend.empty((rows,), np.int32)
    return backend.empty((rows, key.dim), np.float32), norms, exponents


def _uploaded(backend: Backend, key: PolarKey, *, boundaries: bool) -> tuple[Any, Any]:
    """Return the device's copies of the levels and of a table."""
    what, place = "boundaries" if boundaries else "points", (key.dim, key.bits)
    shape = uploaded(backend, f"polar {what} shape", place, lambda: shape_of(key, boundaries))
    return shape, uploaded(backend, f"polar {what}", (key.bits,), lambda: tables_of(key, boundaries))


def _values(backend: Backend, key: PolarKey, packed: Any, rows: Any, powers: Any) -> None:
    """Decode packed rows to rotated ones, without their powers of two, which are written to ``powers``."""
    shape, points = _uploaded(backend, key, boundaries=False)
    args = (packed, shape, points, rows, powers, *key.numbers, np.int64(len(packed)))
    launch_by_warps(backend, "polar_values", len(packed), args)
