"""Scales of truncated codes of a fitted codec, on a device; their bytes are the first of each row."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Backend
from .constants import uploaded
from .fitted import FittedKey, uploaded_rotations, uploaded_segments
from .gate import require
from .kernels import Kernel
from .plan import WARPS, grid


def cut(
    backend: Backend,
    codec: FittedKey,
    held: tuple[int, ...],
    keep: tuple[int, ...],
    packed: Any,
    scales: Any,
    out: Any,
) -> None:
    """Write to ``out`` (n,) float32 the scales of codes that keep ``keep`` of the ``held`` bits of every segment.

    ``packed`` (n, row bytes of ``held``) uint8 and ``scales`` (n, 1) or (n,) float32 are C-contiguous device arrays.
    Nothing is synchronised.
    """
    n, width = len(packed), codec.row_bytes(held)
    require(packed, "packed", (n, width), np.uint8)
    require(scales, "scales", (n,), np.float32)
    require(out, "out", (n,), np.float32)
    if n == 0:
        return
    left, dropped = list(held), []
    for segment in reversed(codec.fitted.order[sum(keep) : sum(held)]):
        dropped.append((segment, left[segment]))
        left[segment] -= 1
    steps = np.array(dropped, np.int32).reshape(-1, 2)
    shape, units, _ = uploaded_segments(backend, codec, held)
    tables = uploaded(backend, "fitted cut tables", codec.key[:1], lambda: codec.cutting[0])
    places = uploaded(backend, "fitted cut places", codec.key[:1], lambda: codec.cutting[1])
    reals, _, _ = uploaded_rotations(backend, codec, inverse=False)
    at = uploaded(
        backend, "fitted cut", (*codec.key, held, keep), lambda: np.concatenate([steps, np.zeros((1, 2), np.int32)])
    )
    parameters = {"TQ_SEGMENTS": len(codec.segments), "TQ_SCALE": codec.scale, "TQ_WARPS": WARPS}
    kernel = Kernel("fitted_cut", tuple(sorted(parameters.items())))
    args = (packed, scales, shape, reals, units, tables, places, at, out, np.int32(width), np.int32(len(steps)))
    blocks = grid(backend, -(-n // WARPS))
    backend.launch(kernel, blocks, 32 * WARPS, (*args, np.int64(n)), 4 * WARPS * len(codec.segments))
