"""Dense products in fixed point on a device (docs/numerics.md section 11): rows with the rows of a stored matrix."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import Backend
from .kernels import Kernel
from .plan import WARPS, grid

#: Values of a line of fixed point are a multiple of this: a step of dense_mma.cu.
STEP = 64
#: Up to so many rows a warp a matrix row multiplies by dp4a (TQ_FEW of dense_dp4a.cu); more go to the matrix unit.
FEW_ROWS = 4
#: Tiles of dense_mma.cu: rows and matrix rows; bytes of its four tiles.
TILE, TILE_BYTES = 64, 4 * 64 * 64
#: Bytes that planes and products of the rows in hand may take.
BUFFER = 64 << 20


def planes(matrix: NDArray[np.int16]) -> tuple[NDArray[np.int8], NDArray[np.int8]]:
    """Return a matrix (rows, columns) int16 as high and low bytes, 256·high + low, zeros up to whole steps.

    >>> [int(part[0, 0]) for part in planes(np.array([[-32_000]], np.int16))]
    [-125, 0]
    """
    rows, columns = matrix.shape
    padded = np.zeros((rows, stride(columns)), np.int32)
    padded[:, :columns] = matrix
    high = (padded + 128) >> 8
    return high.astype(np.int8), (padded - 256 * high).astype(np.int8)


def stride(values: int) -> int:
    """Return the bytes of a line of one plane: whole steps."""
    return -(-values // STEP) * STEP


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

    Rows of one byte a value have no high plane (None). Either ``products`` (n, columns) int32 is written, or ``out``
    (n, columns) float32: product · factor of the row ((n,) float32), + ``center`` (columns,) float32 if there is one.
    """
    n, stride = rows[1].shape
    columns = matrix[0].shape[0]
    few = n <= FEW_ROWS or backend.capability < 80
    parameters = {
        "TQ_STRIDE": int(stride),
        "TQ_COLUMNS": int(columns),
        "TQ_DECODED": int(out is not None),
        "TQ_ONE_BYTE_ROWS": int(rows[0] is None),
    }
    if few:
        parameters["TQ_WARPS"] = WARPS
        blocks, threads, shared = -(-columns // WARPS), 32 * WARPS, 0
    else:
        blocks, threads, shared = -(-n // TILE) * -(-columns // TILE), 128, TILE_BYTES
    kernel = Kernel("dense_dp4a" if few else "dense_mma", tuple(sorted(parameters.items())))
    args = (*rows, *matrix, products, out, factors, center, np.int64(n))
    backend.launch(kernel, grid(backend, blocks), threads, args, shared)
