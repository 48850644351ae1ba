"""Decoding codes of a fitted codec on a device: rows of axes in fixed point, products with the transposed matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from .axes import axes_plan
from .backend import Backend
from .constants import uploaded
from .dense import BUFFER, multiply, stride
from .fitted import FittedKey, uploaded_center, uploaded_planes, uploaded_rotations, uploaded_segments
from .gate import require


def decode(backend: Backend, codec: FittedKey, keep: tuple[int, ...], packed: Any, scales: Any, out: Any) -> None:
    """Decode device rows: ``out`` (n, dim) float32 from ``packed`` (n, row bytes of ``keep``) uint8 and scales.

    Arrays are C-contiguous device arrays; ``scales`` is (n, 1) or (n,) float32. Nothing is synchronised. Takes up to
    64 MiB for rows of axes in fixed point.
    """
    n, width = len(packed), codec.row_bytes(keep)
    require(packed, "packed", (n, width), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (n, codec.dim), np.float32)
    if n == 0:
        return
    line = stride(codec.axes)
    step = rows_at_a_time(codec, n)
    high, low = (backend.empty((step, line), np.int8) for _ in range(2))
    factors = backend.empty((step,), np.float32)
    matrix, center = uploaded_planes(backend, codec, "back"), uploaded_center(backend, codec)
    shape, units, tables = uploaded_segments(backend, codec, keep)
    gains = uploaded(backend, "fitted gains", codec.key[:1], lambda: codec.codec.gains)
    rotations = uploaded_rotations(backend, codec, inverse=True)
    plan = axes_plan(backend, codec, 0)
    for first in range(0, n, step):
        count = min(step, n - first)
        part = slice(first, first + count)
        planes = high[:count], low[:count]
        args = (packed[part], scales[part], gains, shape, *rotations, units, tables, *planes, factors[:count])
        plan.launch(backend, "fitted_values", 0, count, {"TQ_STRIDE": line}, (*args, np.int32(width)))
        multiply(backend, planes, matrix, out=out[part], factors=factors[:count], center=center)


def rows_at_a_time(codec: FittedKey, rows: int) -> int:
    """Return how many rows are in hand at a time: as many as the buffer holds in fixed point."""
    return max(1, min(rows, BUFFER // (2 * stride(codec.axes) + 4)))


def buffer_bytes(codec: FittedKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result, scratch of many axes aside."""
    return rows_at_a_time(codec, rows) * (2 * stride(codec.axes) + 4)
