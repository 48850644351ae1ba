"""Dense products in fixed point on a device (docs/numerics.md section 11): rows with the rows of a stored matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Backend
from .kernels import Kernel
from .plan import WARPS, grid

#: Up to so many rows a warp a matrix row multiplies by dp4a (TQ_FEW of dense_dp4a.cu); more go to the matrix unit.
FEW_ROWS = 4
#: Tiles of dense_mma.cu: rows and matrix rows; bytes of its four tiles.
TILE, TILE_BYTES = 64, 4 * 64 * 64
#: Bytes that planes and products of the rows in hand may take.
BUFFER = 64 << 20


def multiply(
    backend: Backend,
    rows: tuple[Any, Any],
    matrix: tuple[Any, Any],
    *,
    products: Any = None,
    out: Any = None,
    factors: Any = None,
    center: Any = None,
) -> None:
    """Multiply rows with the rows of a matrix, both as planes (n, stride) and (columns, stride) int8.

    Either ``products`` (n, columns) int32 is written, or ``out`` (n, columns) float32: product · factor of the row
    ((n,) float32), + ``center`` (columns,) float32 if there is one.
    """
    n, stride = rows[0].shape
    columns = matrix[0].shape[0]
    few = n <= FEW_ROWS or backend.capability < 80
    parameters = {"TQ_STRIDE": int(stride), "TQ_COLUMNS": int(columns), "TQ_DECODED": int(out is not None)}
    if few:
        parameters["TQ_WARPS"] = WARPS
        blocks, threads, shared = -(-columns // WARPS), 32 * WARPS, 0
    else:
        blocks, threads, shared = -(-n // TILE) * -(-columns // TILE), 128, TILE_BYTES
    kernel = Kernel("dense_dp4a" if few else "dense_mma", tuple(sorted(parameters.items())))
    args = (*rows, *matrix, products, out, factors, center, np.int64(n))
    backend.launch(kernel, grid(backend, blocks), threads, args, shared)
