"""A quantizer to a uniform grid with a search for each row's step, as of Extended RaBitQ (arXiv 2409.09913), on a GPU.

A rotated row is rounded to odd integers, multiples of a step that is searched for: of 64 steps over the whole range and
64 more about the best, the one whose integers make the smallest angle with the row. Scores are those integers' products
with a query's bytes, by the library's int8 product, and the unbiased scale. It is written in operations of arrays, each
of which reads and writes memory, so its encoding is a lower bound of what a kernel of its own would do; its search is
an upper bound, since integers are kept as bytes and nothing is unpacked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

#: Steps that are tried, over the range and about the best one.
STEPS = 64
#: Bytes of a block of float32 rows that is encoded at a time.
BLOCK = 256 << 20
#: Numbers of CUDA's types of values and of cuBLAS's kinds of sums, and its operations.
R_8I, R_32I, COMPUTE_32I = 3, 10, 72
NOT, TRANSPOSED = 0, 1

Products = Callable[[Any, Any], Any]


def int8_products(cp: Any, a: Any, b: Any) -> Any:
    """Return the products of rows (m, dim) and (n, dim) int8 as (m, n) int32, by cuBLAS; dim a multiple of 4."""
    from cupy.cuda import cublas
    from cupy.cuda.device import get_cublas_handle

    (m, dim), n = a.shape, len(b)
    out = cp.empty((m, n), np.int32)
    one, zero = np.ones(1, np.int32), np.zeros(1, np.int32)
    handle = get_cublas_handle()
    before = cublas.getPointerMode(handle)
    cublas.setPointerMode(handle, 0)  # one and zero are on the host
    try:
        # Columns come first: what is (m, n) here is (n, m) there.
        rows, queries = (b.data.ptr, R_8I, dim), (a.data.ptr, R_8I, dim)
        result = (out.data.ptr, R_32I, n, COMPUTE_32I, -1)
        shape = (TRANSPOSED, NOT, n, m, dim)
        cublas.gemmEx(handle, *shape, one.ctypes.data, *rows, *queries, zero.ctypes.data, *result)
    finally:
        cublas.setPointerMode(handle, before)
    return out


def products_of(cp: Any) -> Products | None:
    """Return :func:`int8_products` if it is right on this card, else None, after saying why."""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-127, 128, (n, 64), np.int8) for n in (5, 96))
    try:
        found = int8_products(cp, cp.asarray(a), cp.asarray(b)).get()
    except Exception as error:
        print(f"without int8 products by cuBLAS: {error!r}", file=sys.stderr)
        return None
    if not np.array_equal(found, a.astype(np.int32) @ b.astype(np.int32).T):
        print("without int8 products by cuBLAS: they are wrong", file=sys.stderr)
        return None
    return lambda a, b: int8_products(cp, a, b)


class Grid:
    """The quantizer, and a flat index of its codes.

    Parameters
    ----------
    cp : module
        CuPy, or NumPy.
    bits : int
        Up to 7, so that an integer takes a byte.
    """

    def __init__(self, cp: Any, dim: int, bits: int) -> None:
        self.cp, self.bits = cp, bits
        normal = np.random.default_rng(0).standard_normal((dim, dim)).astype(np.float32)
        self.rotation = cp.asarray(np.linalg.qr(normal)[0])

    def encode(self, x: Any) -> tuple[Any, Any]:
        """Return odd integers (n, dim) int8 and what one is worth, (n,) float32, of rows (n, dim) float32."""
        cp, step = self.cp, max(1, BLOCK // (4 * x.shape[1]))
        codes, scales = cp.empty(x.shape, np.int8), cp.empty((len(x),), np.float32)
        for first in range(0, len(x), step):
            part = slice(first, first + step)
            codes[part], scales[part] = self._encoded(x[part] @ self.rotation)
        return codes, scales

    def _encoded(self, rows: Any) -> tuple[Any, Any]:
        cp, top = self.cp, 2 ** (self.bits - 1)
        size = cp.abs(rows)
        largest = cp.maximum(size.max(axis=1), np.float32(1e-30))
        best, cosine = cp.ones(len(rows), np.float32), cp.full(len(rows), -1, np.float32)
        # Multipliers after which the largest magnitude is among the levels, from half a level to twice the last one.
        shares = np.linspace(0.5 / top, 2, STEPS)
        for about in (False, True):
            center, width = best * about, shares[1] - shares[0]
            for share in np.linspace(-width, width, STEPS) if about else shares:
                times = center + np.float32(share * top) / largest
                level = self._levels(size, times)
                angle = (level * size).sum(axis=1) / cp.sqrt((level * level).sum(axis=1))
                better = angle > cosine
                best, cosine = cp.where(better, times, best), cp.where(better, angle, cosine)
        level = self._levels(size, best)
        shared = cp.maximum((level * size).sum(axis=1), np.float32(1e-30))
        codes = cp.where(rows < 0, -level, level).astype(np.int8)
        return codes, (rows * rows).sum(axis=1) / shared

    def _levels(self, size: Any, times: Any) -> Any:
        """Return magnitudes of odd integers, (n, dim) float32."""
        top = np.float32(2 ** (self.bits - 1) - 1)
        return 2 * self.cp.clip(self.cp.floor(size * times[:, None]), np.float32(0), top) + 1

    def search(self, products: Products, codes: Any, scales: Any, queries: Any, k: int) -> Any:
        """Return ids (nq, k) of the rows of largest products, as many queries at a time as 1 GiB of products allows."""
        cp, best = self.cp, []
        rotated = queries @ self.rotation
        units = 127 / cp.maximum(cp.abs(rotated).max(axis=1), np.float32(1e-30))
        integers = cp.rint(rotated * units[:, None]).astype(np.int8)
        step = max(1, (1 << 28) // len(codes))
        for first in range(0, len(queries), step):
            scores = products(integers[first : first + step], codes).astype(np.float32) * -scales
            top = cp.argpartition(scores, k, axis=1)[:, :k]
            order = cp.argsort(cp.take_along_axis(scores, top, axis=1), axis=1)
            best.append(cp.take_along_axis(top, order, axis=1))
        return cp.concatenate(best)
