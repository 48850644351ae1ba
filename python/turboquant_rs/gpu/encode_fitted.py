"""Encoding by a fitted codec on a device: fixed point, products with the axes, codes (docs/numerics.md section 11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .axes import axes_plan
from .backend import Backend
from .constants import uploaded
from .dense import BUFFER, multiply, stride
from .faults import Fault, fault_buffer, first_fault
from .fitted import FittedKey, uploaded_center, uploaded_planes, uploaded_rotations, uploaded_segments
from .gate import require
from .kernels import Kernel
from .plan import WARPS, grid

#: Bytes of tables that are worth a block's shared memory; larger ones are read through the cache.
SHARED_TABLES = 16 << 10


def bytes_a_row(codec: FittedKey) -> int:
    """Return the bytes of a row in hand: in fixed point, its products with the axes, its norm and power of two."""
    return 2 * stride(codec.dim) + 4 * codec.axes + 8


def rows_at_a_time(codec: FittedKey, rows: int) -> int:
    """Return how many rows are in hand at a time."""
    return max(1, min(rows, BUFFER // bytes_a_row(codec)))


def buffer_bytes(codec: FittedKey, rows: int) -> int:
    """Return the bytes that encoding takes beside its result, scratch of many axes aside."""
    return rows_at_a_time(codec, rows) * bytes_a_row(codec)


def encode(
    backend: Backend,
    codec: FittedKey,
    x: Any,
    packed: Any,
    scales: Any,
    squares: Any = None,
    *,
    unit_norm: bool = False,
    validate: bool = True,
) -> Fault | None:
    """Encode the rows of a device array into device arrays; parameters, result and errors are :func:`.encode.encode`'s.

    Takes up to 64 MiB for rows in fixed point and their products.
    """
    n = len(x)
    width = codec.row_bytes(codec.full)
    require(x, "x", (n, codec.dim), np.float32)
    require(packed, "packed", (n, width), np.uint8)
    require(scales, "scales", (n,), np.float32)
    if squares is not None:
        require(squares, "squares", (n,), np.float32)
    if n == 0:
        return None
    faults = fault_buffer(backend)
    step = rows_at_a_time(codec, n)
    line = stride(codec.dim)
    high, low = (backend.empty((step, line), np.int8) for _ in range(2))
    products = backend.empty((step, codec.axes), np.int32)
    norms, exponents = backend.empty((step,), np.float32), backend.empty((step,), np.int32)
    matrix, center = uploaded_planes(backend, codec, "rows"), uploaded_center(backend, codec)
    shape, units, tables = uploaded_segments(backend, codec, None)
    whiten = uploaded(backend, "fitted whiten", codec.key[:1], lambda: codec.codec.whiten)
    reals, signs, source = uploaded_rotations(backend, codec, inverse=False)
    own = tables.nbytes if tables.nbytes <= SHARED_TABLES else 0
    plan = axes_plan(backend, codec, own)
    fixed = {
        "TQ_CENTERED": int(codec.centered),
        "TQ_DIM": codec.dim,
        "TQ_STRIDE": line,
        "TQ_UNIT_NORM": int(unit_norm),
        "TQ_WARPS": WARPS,
    }
    prepare = Kernel("fitted_rows", tuple(sorted(fixed.items())))
    choose = {"TQ_TRIALS": len(codec.trials), "TQ_SCALE": codec.scale, "TQ_TABLE_FLOATS": own // 4}
    without_norm = np.int32(unit_norm and not codec.centered)
    for first in range(0, n, step):
        count = min(step, n - first)
        part = slice(first, first + count)
        square = None if squares is None else squares[part]
        blocks = grid(backend, -(-count // WARPS))
        rows = (x[part], center, high[:count], low[:count], norms[:count], exponents[:count], square, faults)
        numbers = (np.int64(first), np.int64(count))
        backend.launch(prepare, blocks, 32 * WARPS, (*rows, *numbers), 0)
        multiply(backend, (high[:count], low[:count]), matrix, products=products[:count])
        args = (
            *(products[:count], norms[:count], exponents[:count], whiten, shape, reals, signs, source),
            *(units, tables, packed[part], scales[part], faults),
            *(without_norm, np.int32(width), np.int64(first)),
        )
        plan.launch(backend, "fitted_codes", own, count, choose, args)
    return first_fault(backend, faults) if validate else None
