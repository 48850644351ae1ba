"""QJL on a device: signs of a projection, and the norm (docs/numerics-papers.md section 4)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Backend
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .score import MOST_QUERIES, in_batches
from .sketch import (
    SketchKey,
    decode_signs,
    decoding_signs_bytes,
    multiply_signs,
    prepare,
    preparing_bytes,
    project,
    room_for,
    rows_at_a_time,
    write_signs,
)


def encode(
    backend: Backend, key: SketchKey, x: Any, packed: Any, scales: Any, *, validate: bool = True
) -> Fault | None:
    """Encode the rows of a device array, (n, dim) float32, into device arrays.

    ``packed`` (n, ⌈size/8⌉) uint8 and ``scales`` (n, 1) or (n,) float32 are written; all arrays are C-contiguous.
    Returns the first row that must be refused, after waiting for the device; with ``validate=False`` neither. Takes up
    to 64 MiB for projected rows.
    """
    n = _checked(key, packed, scales)
    require(x, "x", (n, key.dim), np.float32)
    if n == 0:
        return None
    faults, step = fault_buffer(backend), rows_at_a_time(key, n)
    room = room_for(backend, key, step)
    for first in range(0, n, step):
        part = slice(first, first + step)
        rows = room[: len(x[part])]
        project(backend, key, x[part], rows, faults, first, "norm")
        write_signs(backend, rows, packed[part], 0, scales[part])
    return first_fault(backend, faults) if validate else None


def decode(backend: Backend, key: SketchKey, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows into ``out`` (n, dim) float32; nothing is synchronised."""
    n = _checked(key, packed, scales)
    require(out, "out", (n, key.dim), np.float32)
    if n:
        decode_signs(backend, key, packed, 0, scales, out)


def score(
    backend: Backend, key: SketchKey, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool = True
) -> Fault | None:
    """Score device queries (nq, dim) float32 against device codes into ``out`` (nq, n) float32; as :func:`encode`."""
    n, nq = _checked(key, packed, scales), len(queries)
    require(queries, "queries", (nq, key.dim), np.float32)
    require(out, "out", (nq, n), np.float32)

    def work(part: slice) -> Any:
        some, faults = queries[part], fault_buffer(backend)
        room = room_for(backend, key, len(some))
        project(backend, key, some, room, faults, 0, "query")
        prepared = prepare(backend, key, room, faults, key.constant)
        if n:
            multiply_signs(backend, key, prepared, packed, 0, scales, out[part])
        return faults

    return in_batches(backend, nq, rows_at_a_time(key, MOST_QUERIES), work, validate=validate)


def encoding_bytes(key: SketchKey, rows: int) -> int:
    """Return the bytes that encoding takes beside its result."""
    return rows_at_a_time(key, rows) * key.bytes_a_row


def decoding_bytes(key: SketchKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result."""
    return decoding_signs_bytes(key, rows)


def scoring_bytes(key: SketchKey, queries: int, rows: int) -> int:
    """Return the bytes that scoring takes beside its result, for any number of rows."""
    return preparing_bytes(key, min(queries, rows_at_a_time(key, MOST_QUERIES)))


def _checked(key: SketchKey, packed: Any, scales: Any) -> int:
    n = len(packed)
    require(packed, "packed", (n, -(-key.size // 8)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    return n
