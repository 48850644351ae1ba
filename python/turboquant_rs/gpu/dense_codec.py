"""TurboQuant with the paper's dense rotation on a device (docs/numerics.md section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..reference.codebook import levels, one_byte
from ..reference.units import row_bytes
from .backend import Backend
from .constants import CodecKey, score_levels, uploaded
from .dense import BUFFER, multiply, stride
from .faults import Fault, fault_buffer, first_fault
from .gate import require
from .plan import Part, query_bytes
from .row_codes import write_codes
from .score import MOST_QUERIES, in_batches, levels_of
from .score import multiply as multiply_codes
from .sketch import (
    Matrix,
    SketchKey,
    launch_by_warps,
    prepare,
    project,
    room_for,
    rows_at_a_time,
    uploaded_matrix,
)


@dataclass(frozen=True)
class DenseKey:
    """What decides kernels and tables: the codec's parameters, and its matrix as a projection of dim values."""

    codec: CodecKey
    projection: SketchKey

    @property
    def step(self) -> np.float32:
        """What 1 of the matrix stands for."""
        assert self.projection.matrix is not None
        return self.projection.matrix.step


def dense_key(codec: CodecKey, matrix: Matrix) -> DenseKey:
    """Return the key of a codec with a rotation by ``matrix``."""
    return DenseKey(codec, SketchKey("rotation", codec.dim, codec.dim, codec.seed, matrix))


def encode(backend: Backend, key: DenseKey, x: Any, packed: Any, scales: Any, *, validate: bool = True) -> Fault | None:
    """Encode device rows; as :func:`.encode.encode`. Takes up to 64 MiB for rows in fixed point and their products."""
    codec, n = key.codec, len(x)
    require(x, "x", (n, codec.dim), np.float32)
    require(packed, "packed", (n, row_bytes(codec.dim, codec.bits, codec.bits)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    if n == 0:
        return None
    faults, step = fault_buffer(backend), rows_at_a_time(key.projection, n)
    room = room_for(backend, key.projection, step)
    for first in range(0, n, step):
        part = x[first : first + step]
        rows = room[: len(part)]
        project(backend, key.projection, part, rows, faults, first, "norm")
        operands = (rows.words, rows.norms, rows.exponents)
        write_codes(backend, codec, operands, packed, scales, first, faults, step=key.step)
    return first_fault(backend, faults) if validate else None


def decode(backend: Backend, key: DenseKey, keep: int, packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows; as :func:`.decode.decode`. Takes up to 64 MiB for rows of levels in fixed point."""
    codec, n = key.codec, len(packed)
    width, line = row_bytes(codec.dim, codec.bits, keep), stride(codec.dim)
    require(packed, "packed", (n, width), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (n, codec.dim), np.float32)
    if n == 0:
        return
    step = decoded_at_a_time(key, n)
    planes = [backend.empty((step, line), np.int8) for _ in range(2)]
    norms = backend.empty((step,), np.float32)
    place = (codec.dim, codec.bits, keep)
    level = uploaded(backend, "levels", place, lambda: levels(codec.bits, keep, codec.dim))
    parameters = {"TQ_DIM": codec.dim, "TQ_BITS": codec.bits, "TQ_KEEP": keep}
    back = uploaded_matrix(backend, key.projection, "back")
    for first in range(0, n, step):
        part = slice(first, first + step)
        count = len(out[part])
        fixed = (planes[0][:count], planes[1][:count])
        numbers = (np.int32(width), np.int32(line), np.int64(count))
        args = (packed[part], level, *fixed, norms[:count], *numbers)
        launch_by_warps(backend, "level_rows", count, args, parameters, 4 << keep)
        multiply(backend, fixed, back, products=out[part].view(np.int32))
        one = (np.float32(1), key.step, np.int32(codec.dim), np.int32(1), np.int64(count))
        launch_by_warps(backend, "sketch_values", count, (scales[part], norms[:count], out[part], *one))


def score(
    backend: Backend,
    key: DenseKey,
    keep: int,
    queries: Any,
    packed: Any,
    scales: Any,
    out: Any,
    *,
    validate: bool = True,
) -> Fault | None:
    """Score device queries against device codes; as :func:`.score.score`, of inner products."""
    codec, n, nq = key.codec, len(packed), len(queries)
    require(queries, "queries", (nq, codec.dim), np.float32)
    require(packed, "packed", (n, row_bytes(codec.dim, codec.bits, keep)), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (nq, n), np.float32)
    codes = Part(codec.dim, codec.bits, keep, packed.shape[1])
    worth = score_levels(codec, keep)[1]

    def work(part: slice) -> Any:
        some, faults = queries[part], fault_buffer(backend)
        room = room_for(backend, key.projection, len(some))
        project(backend, key.projection, some, room, faults, 0, "query")
        prepared = prepare(backend, key.projection, room, faults, worth, wide=codes.wide)
        if n:
            multiply_codes(backend, codes, levels_of(backend, codec, keep), prepared, packed, scales, out[part])
        return faults

    return in_batches(backend, nq, rows_at_a_time(key.projection, MOST_QUERIES), work, validate=validate)


def decoded_at_a_time(key: DenseKey, rows: int) -> int:
    """Return how many rows are decoded at a time."""
    return max(1, min(rows, BUFFER // (2 * stride(key.codec.dim) + 4)))


def encoding_bytes(key: DenseKey, rows: int) -> int:
    """Return the bytes that encoding takes beside its result."""
    return rows_at_a_time(key.projection, rows) * key.projection.bytes_a_row


def decoding_bytes(key: DenseKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result."""
    return decoded_at_a_time(key, rows) * (2 * stride(key.codec.dim) + 4)


def scoring_bytes(key: DenseKey, keep: int, queries: int) -> int:
    """Return the bytes that scoring takes beside its result."""
    count = min(queries, rows_at_a_time(key.projection, MOST_QUERIES))
    return count * (key.projection.bytes_a_row + (1 if one_byte(keep) else 2) * query_bytes(key.codec.dim) + 4)
