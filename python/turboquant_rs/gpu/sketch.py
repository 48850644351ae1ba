"""Projections and their signs on a device: what QJL and TurboQuantProd have in common (docs/numerics-papers.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..reference.projection import HADAMARD, sign_constant
from ..reference.rng import derive
from .backend import Backend
from .constants import uploaded
from .dense import BUFFER, multiply, planes, stride
from .kernels import Kernel
from .plan import WARPS, Part, grid, norms_of, query_bytes
from .rotate import rotate, rotate_given, unrotate_signs
from .score import Prepared
from .score import multiply as multiply_codes


@dataclass(frozen=True)
class Matrix:
    """A dense projection: what 1 stands for, and the values (size, dim) int16, made when they are asked for."""

    step: np.float32
    values: Callable[[], NDArray[np.int16]]


def matrix_from(make: Callable[[], tuple[NDArray[np.int16], float] | None]) -> Matrix | None:
    """Return the matrix that ``make`` returns with what 1 stands for, or None; it is made anew for every upload."""
    found = make()
    if found is None:
        return None

    def values() -> NDArray[np.int16]:
        again = make()
        assert again is not None
        return again[0]

    return Matrix(np.float32(found[1]), values)


@dataclass(frozen=True)
class SketchKey:
    """What decides a sketch's kernels and tables: ``size`` signs of a projection of ``dim`` coordinates."""

    kind: str
    dim: int
    size: int
    seed: int
    #: Of the other parameters; None of "hadamard".
    matrix: Matrix | None = field(default=None, compare=False, repr=False)

    @cached_property
    def constant(self) -> np.float32:
        """What a product of a projected query with signs is multiplied with, beside the row's norm."""
        return sign_constant(self.kind, self.dim, self.size)

    @property
    def bytes_a_row(self) -> int:
        """Bytes of a row in hand: its values, norm and power of two, and, of a matrix, the row in fixed point."""
        return 4 * self.size + 8 + (0 if self.matrix is None else 2 * stride(self.dim))

    @property
    def stream(self) -> int:
        """Seed of a structured projection's rotations."""
        return derive(self.seed, HADAMARD)


@dataclass(frozen=True)
class Projected:
    """Projected rows on a device."""

    #: (n, size) int32: products with a matrix, or float32 by their bits.
    words: Any
    norms: Any
    exponents: Any
    #: Rows in fixed point on their way to a matrix.
    planes: tuple[Any, Any] | None

    def __getitem__(self, rows: slice) -> Projected:
        """Return some of the rows."""
        fixed = None if self.planes is None else (self.planes[0][rows], self.planes[1][rows])
        return Projected(self.words[rows], self.norms[rows], self.exponents[rows], fixed)


def rows_at_a_time(key: SketchKey, rows: int) -> int:
    """Return how many rows are projected at a time."""
    return max(1, min(rows, BUFFER // key.bytes_a_row))


def room_for(backend: Backend, key: SketchKey, rows: int) -> Projected:
    """Return memory for projected rows."""
    fixed = [backend.empty((rows, stride(key.dim)), np.int8) for _ in range(0 if key.matrix is None else 2)]
    words = backend.empty((rows, key.size), np.int32)
    norms, exponents = backend.empty((rows,), np.float32), backend.empty((rows,), np.int32)
    return Projected(words, norms, exponents, (fixed[0], fixed[1]) if fixed else None)


def project(
    backend: Backend,
    key: SketchKey,
    x: Any,
    room: Projected,
    faults: Any,
    first: int,
    what: Literal["norm", "query"],
    *,
    cosine: bool = False,
) -> None:
    """Prepare and project rows (n, dim) float32 into ``room``; faults count rows from ``first``.

    ``cosine``: queries may have any norm; by a matrix.
    """
    n = len(x)
    if room.planes is None:
        rows = (room.words.view(np.float32), room.norms, room.exponents)
        rotate(backend, key.dim, key.stream, x, rows, faults, first, what)
        return
    parameters = {"TQ_CENTERED": 0, "TQ_DIM": key.dim, "TQ_STRIDE": stride(key.dim), "TQ_WARPS": WARPS}
    rest: tuple[Any, ...] = (None, faults, np.int32(cosine))
    if what == "norm":
        parameters["TQ_UNIT_NORM"] = 0
        rest = (None, faults, np.int64(first))
    kernel = Kernel("fitted_rows" if what == "norm" else "fitted_queries", tuple(sorted(parameters.items())))
    args = (x, None, *room.planes, room.norms, room.exponents, *rest, np.int64(n))
    backend.launch(kernel, grid(backend, -(-n // WARPS)), 32 * WARPS, args, 0)
    multiply(backend, room.planes, uploaded_matrix(backend, key, "rows"), products=room.words)


def project_given(backend: Backend, key: SketchKey, rows: Any, room: Projected) -> None:
    """Project rows (n, dim) float32 as they are, whose norms ``room`` has."""
    if room.planes is None:
        rotate_given(backend, key.dim, key.stream, rows, room.words.view(np.float32))
        return
    numbers = (np.int32(key.dim), np.int32(stride(key.dim)), np.int64(len(rows)))
    launch_by_warps(backend, "sketch_fixed", len(rows), (rows, room.norms, *room.planes, *numbers))
    multiply(backend, room.planes, uploaded_matrix(backend, key, "rows"), products=room.words)


def write_signs(backend: Backend, room: Projected, packed: Any, start: int, scales: Any) -> None:
    """Write signs of projected rows to packed rows from byte ``start`` on, and norms to ``scales`` if given."""
    n, size = room.words.shape
    numbers = (np.int32(size), np.int32(packed.shape[1]), np.int32(start), np.int64(n))
    launch_by_warps(backend, "sketch_signs", n, (room.words, room.norms, room.exponents, packed, scales, *numbers))


def prepare(
    backend: Backend,
    key: SketchKey,
    room: Projected,
    faults: Any,
    worth_of_one: np.float32,
    *,
    wide: bool = True,
    cosine: bool = False,
    columns: int = 0,
) -> Prepared:
    """Return projected queries as integers of two bytes, or one; ``worth_of_one``: what a level of 1 stands for.

    ``cosine`` and ``columns`` are those of :func:`.score.prepare`.
    """
    n, width = len(room.words), query_bytes(key.size)
    high = backend.empty((n, width), np.int8)
    low = backend.empty((n, width), np.int8) if wide else None
    worth = backend.empty((n,), np.float32)
    rotated = backend.empty((n, columns), np.float32) if columns else None
    step = np.float32(0) if key.matrix is None else key.matrix.step
    kind = (np.int32(wide), np.int32(cosine), np.int32(columns))
    numbers = (worth_of_one, step, *kind, np.int32(key.size), np.int32(width), np.int64(n))
    args = (room.words, room.norms, room.exponents, high, low, worth, rotated, faults, *numbers)
    launch_by_warps(backend, "sketch_integers", n, args)
    return Prepared(high, low, worth, faults, rotated, room.norms, room.exponents)


def multiply_signs(
    backend: Backend, key: SketchKey, prepared: Prepared, packed: Any, start: int, scales: Any, out: Any
) -> None:
    """Write what queries make of signs from byte ``start`` of packed rows on, (nq, n) float32, with the last scale.

    Where something stands before the signs, its scores are there and added to.
    """
    levels = uploaded(backend, "sketch levels", (), lambda: np.array([-1, 1], np.int16))
    norms = norms_of(scales)
    part = Part(key.size, 1, 1, packed.shape[1], start, norms, norms - 1, sketch=True, added=start > 0)
    multiply_codes(backend, part, levels, prepared, packed, scales, out)


def decode_signs(backend: Backend, key: SketchKey, packed: Any, start: int, scales: Any, out: Any) -> None:
    """Write what signs decode to, (n, dim) float32, from packed rows from byte ``start`` on and their last scale."""
    n = len(packed)
    if key.matrix is None:
        unrotate_signs(backend, key.dim, key.stream, key.size, start, packed, scales, key.constant, out)
        return
    line = stride(key.size)
    step = decoded_at_a_time(key, n)
    plane = backend.empty((step, line), np.int8)
    norms = norms_of(scales)
    for first in range(0, n, step):
        part = slice(first, first + step)
        count = len(out[part])
        shape = (np.int32(key.size), np.int32(packed.shape[1]), np.int32(start), np.int32(line), np.int64(count))
        launch_by_warps(backend, "sketch_units", count, (packed[part], plane[:count], *shape))
        products = out[part].view(np.int32)
        multiply(backend, (None, plane[:count]), uploaded_matrix(backend, key, "back"), products=products)
        numbers = (key.constant, key.matrix.step, np.int32(key.dim), np.int32(norms), np.int64(count))
        launch_by_warps(backend, "sketch_values", count, (scales[part], None, out[part], *numbers))


def decoded_at_a_time(key: SketchKey, rows: int) -> int:
    """Return how many rows are decoded by a matrix at a time."""
    return max(1, min(rows, BUFFER // stride(key.size)))


def decoding_signs_bytes(key: SketchKey, rows: int) -> int:
    """Return the bytes that decoding takes beside its result."""
    return 0 if key.matrix is None else decoded_at_a_time(key, rows) * stride(key.size)


def preparing_bytes(key: SketchKey, queries: int) -> int:
    """Return the bytes that ``queries`` in hand take as integers and on their way there."""
    return queries * (key.bytes_a_row + 2 * query_bytes(key.size) + 4)


def launch_by_warps(
    backend: Backend,
    name: str,
    rows: int,
    args: tuple[Any, ...],
    parameters: dict[str, int] | None = None,
    shared: int = 0,
) -> None:
    """Launch a kernel of one warp a row."""
    kernel = Kernel(name, tuple(sorted({"TQ_WARPS": WARPS, **(parameters or {})}.items())))
    backend.launch(kernel, grid(backend, -(-rows // WARPS)), 32 * WARPS, args, shared)


def uploaded_matrix(backend: Backend, key: SketchKey, what: Literal["rows", "back"]) -> tuple[Any, Any]:
    """Return the device's copies of both planes of a projection's matrix, or of its transpose."""

    def part(which: int) -> NDArray[np.int8]:
        assert key.matrix is not None
        values = key.matrix.values()
        return planes(values if what == "rows" else np.ascontiguousarray(values.T))[which]

    found = [uploaded(backend, f"sketch {what} {i}", (key,), lambda i=i: part(i)) for i in range(2)]  # type: ignore[misc]
    return found[0], found[1]
