"""A backend that launches nothing and remembers what it was asked to: the kernels that drivers build."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from turboquant_rs import TurboQuant
from turboquant_rs.gpu import (
    cut_fitted,
    decode_fitted,
    dense_codec,
    encode_fitted,
    polar,
    prod,
    qjl,
    score_fitted,
    search,
)
from turboquant_rs.gpu.codec import split_key
from turboquant_rs.gpu.constants import CodecKey
from turboquant_rs.gpu.decode import decode
from turboquant_rs.gpu.encode import encode
from turboquant_rs.gpu.fitted import FittedKey
from turboquant_rs.gpu.gate import check_launch
from turboquant_rs.gpu.kernels import Kernel
from turboquant_rs.gpu.score import score
from turboquant_rs.gpu.search_fitted import FittedRows
from turboquant_rs.gpu.search_plain import PlainRows
from turboquant_rs.gpu.search_split import SplitRows
from turboquant_rs.gpu.sketch import Matrix, SketchKey
from turboquant_rs.reference import FittedTurboQuant
from turboquant_rs.reference.units import row_bytes


class Recorder:
    """Host arrays, no kernels; the launch gate is passed all the same."""

    key = ("recorder",)
    processors = 132
    shared_limit = 99 << 10
    capability = 80

    def __init__(self) -> None:
        self.kernels: list[Kernel] = []

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return zeros, aligned as device memory is."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        room = np.zeros(size + 256, np.uint8)
        first = -room.ctypes.data % 256
        return room[first : first + size].view(kind).reshape(shape)

    def asarray(self, host: NDArray[Any]) -> NDArray[Any]:
        """Return a copy."""
        array = self.empty(host.shape, host.dtype)
        array[...] = host
        return array

    def to_host(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return the array."""
        return array

    def copies(self) -> Any:
        """Nothing is searched that is in the host's memory."""
        raise NotImplementedError

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        """Remember the kernel."""
        check_launch(kernel, grid, block, args, shared, self.shared_limit)
        self.kernels.append(kernel)


def kernels_of(dim: int, bits: int, refine: int = 0) -> dict[str, Kernel]:
    """Return every kernel of a codec, by name: encode, decode, queries, scores and searches of few and of many."""
    recorder, codec = Recorder(), CodecKey(dim, bits, 0, "unbiased", refine)
    x, packed = recorder.empty((8, dim), np.float32), recorder.empty((8, row_bytes(dim, bits, bits)), np.uint8)
    scales, out = recorder.empty((8,), np.float32), recorder.empty((8, 8), np.float32)
    encode(recorder, codec, x, packed, scales)
    decode(recorder, codec, bits, packed, scales, x)
    score(recorder, codec, bits, x[:1], packed, scales, out[:1])
    score(recorder, codec, bits, x, packed, scales, out)
    words = recorder.empty((8,), np.uint32)
    part = search.RowPart(packed, scales, words, scales, words, 0)
    found = {kernel.name: kernel for kernel in recorder.kernels}
    for queries, refines in ((x[:1], bits > 1), (x[:1], False), (x, False)):
        rows = PlainRows(codec)
        rows.refines = refines
        search.search(recorder, "l2", [(rows, [(part, words)])], queries, 10)
    # Queries are prepared by the same kernel, with more to write.
    staged = [kernel for kernel in recorder.kernels if kernel not in found.values()]
    return found | {f"{k.name} staged" if k.name in found else k.name: k for k in staged}


def fitted_kernels_of(dim: int, axes: int, widths: tuple[int, ...], refine: int = 0) -> dict[str, Kernel]:
    """Return every kernel of a fitted codec with a center, by name, its segments of 32 axes and ``widths`` in turn."""
    recorder, count = Recorder(), axes // 32
    segments = [(32, widths[i * len(widths) // count]) for i in range(count)]
    order = [s for bit in range(8) for s, (_, width) in enumerate(segments) if bit < width]
    transform, sigmas = np.eye(axes, dim, dtype=np.int16) * np.int16(32_000), np.full(count, 0.03, np.float32)
    center = np.ones(dim, np.float32)
    key = FittedKey(FittedTurboQuant(center, transform, sigmas, segments, order, scale="matched", refine=refine))
    x, packed = recorder.empty((8, dim), np.float32), recorder.empty((8, key.row_bytes(key.full)), np.uint8)
    scales, out = recorder.empty((8,), np.float32), recorder.empty((8, 8), np.float32)
    encode_fitted.encode(recorder, key, x, packed, scales)
    cut_fitted.cut(recorder, key, key.full, key.codec.spec.ends()[0], packed, scales, scales)
    score_fitted.score(recorder, key, key.full, x[:1], packed, scales, out[:1])
    score_fitted.score(recorder, key, key.full, x, packed, scales, out)
    found = {kernel.name: kernel for kernel in recorder.kernels}
    recorder.kernels.clear()
    words = recorder.empty((8,), np.uint32)
    part = search.RowPart(packed, scales, words, scales, words, 0)
    for queries, refines in ((x[:1], True), (x[:1], False), (x, False)):
        rows = FittedRows(key)
        rows.refines = refines
        search.search(recorder, "l2", [(rows, [(part, words)])], queries, 10)
    staged = [kernel for kernel in recorder.kernels if kernel not in found.values()]
    found |= {f"{kernel.name} staged" if kernel.name in found else kernel.name: kernel for kernel in staged}
    recorder.kernels.clear()
    decode_fitted.decode(recorder, key, key.full, packed, scales, x)
    return found | {f"{kernel.name} back".replace("values back", "values"): kernel for kernel in recorder.kernels}


def qjl_kernels_of(dim: int, size: int, projection: str) -> dict[str, Kernel]:
    """Return every kernel of a QJL, by name; those that decode with a matrix are called "… back"."""
    return _paper_kernels(qjl, _sketch_key(dim, size, projection), dim, -(-size // 8), 1)


def prod_kernels_of(dim: int, bits: int, projection: str) -> dict[str, Kernel]:
    """Return every kernel of a TurboQuantProd, likewise; scores of its signs are called "… added"."""
    key = prod.ProdKey(bits, _sketch_key(dim, dim, projection))
    return _paper_kernels(prod, key, dim, key.row_bytes, 2)


def polar_kernels_of(dim: int, bits: tuple[int, ...]) -> dict[str, Kernel]:
    """Return every kernel of a PolarQuant, by name."""
    key = polar.PolarKey(dim, bits, "float16")
    return _paper_kernels(polar, key, dim, key.row_bytes, 0)


def dense_kernels_of(dim: int, bits: int, refine: int = 0) -> dict[str, Kernel]:
    """Return every kernel of a codec with a dense rotation, by name."""
    recorder = Recorder()
    matrix = Matrix(np.float32(1), lambda: np.ones((dim, dim), np.int16))
    key = dense_codec.dense_key(CodecKey(dim, bits, 0, "unbiased", refine), matrix)
    x, packed = recorder.empty((8, dim), np.float32), recorder.empty((8, row_bytes(dim, bits, bits)), np.uint8)
    scales, out = recorder.empty((8,), np.float32), recorder.empty((8, 8), np.float32)
    dense_codec.encode(recorder, key, x, packed, scales)
    dense_codec.decode(recorder, key, bits, packed, scales, x)
    dense_codec.score(recorder, key, bits, x, packed, scales, out)
    return {kernel.name: kernel for kernel in recorder.kernels}


def split_kernels_of(dim: int, bits: tuple[int, int], count: int) -> dict[str, Kernel]:
    """Return the kernels of searches of a codec with ``count`` outliers, by name."""
    recorder, rows = Recorder(), SplitRows(split_key(TurboQuant(dim, bits, outliers=range(count))))
    x, packed = recorder.empty((8, dim), np.float32), recorder.empty((8, rows.row_bytes), np.uint8)
    words, scales = recorder.empty((8,), np.uint32), recorder.empty((8, 2), np.float32)
    part = search.RowPart(packed, scales, None, None, words, 0)
    for queries in (x[:1], x):
        search.search(recorder, "ip", [(rows, [(part, words)])], queries, 10)
    return {kernel.name: kernel for kernel in recorder.kernels}


def _sketch_key(dim: int, size: int, projection: str) -> SketchKey:
    matrix = None if projection == "hadamard" else Matrix(np.float32(1), lambda: np.ones((size, dim), np.int16))
    return SketchKey(projection, dim, size, 0, matrix)


def _paper_kernels(driver: Any, key: Any, dim: int, row_bytes: int, norms: int) -> dict[str, Kernel]:
    recorder = Recorder()
    x, packed = recorder.empty((8, dim), np.float32), recorder.empty((8, row_bytes), np.uint8)
    scales, out = recorder.empty((8, norms), np.float32), recorder.empty((8, 8), np.float32)
    driver.encode(recorder, key, x, packed, scales)
    driver.score(recorder, key, x[:1], packed, scales, out[:1])
    driver.score(recorder, key, x, packed, scales, out)
    found = {}
    for kernel in recorder.kernels:
        parameters = dict(kernel.parameters)
        given = " given" if parameters.get("TQ_GIVEN") else ""
        found[kernel.name + (" added" if parameters.get("TQ_ADDED") else given)] = kernel
    recorder.kernels.clear()
    driver.decode(recorder, key, packed[:4], scales[:4], x[:4])
    driver.decode(recorder, key, packed, scales, x)
    for kernel in recorder.kernels:
        given = " given" if dict(kernel.parameters).get("TQ_GIVEN") else ""
        found[kernel.name + (" back" if kernel.name.startswith("dense") else given)] = kernel
    return found
