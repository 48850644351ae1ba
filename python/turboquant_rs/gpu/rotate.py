"""Rows through structured rotations on a device, for codecs that need them as floats (docs/numerics-papers.md)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from .backend import Backend
from .constants import rotation_tables, uploaded_rotation
from .plan import RowPlan, launch_factor, row_plan

#: What rows are refused for, as the kernels number it: nothing, a norm beyond float32, a query's norm of 2^96 or more.
REFUSALS = {"nothing": 0, "norm": 1, "query": 2}
Refusal = Literal["nothing", "norm", "query"]


def rotate(
    backend: Backend,
    dim: int,
    seed: int,
    x: Any,
    rows: tuple[Any, Any, Any],
    faults: Any,
    first: int,
    refuse: Refusal,
    *,
    cut: bool = False,
) -> None:
    """Prepare rows (n, dim) float32 and rotate them, by segments 0, 1, … of ``seed`` one after another.

    ``rows`` are the results: (n, size) float32, of which a rotation gives ``dim``, norms (n,) float32 without their
    powers of two, and those (n,) int32. Faults count rows from ``first``. ``cut``:
    coordinates below 2^−40 are 0.
    """
    out, norms, exponents = rows
    n, size = out.shape
    plan, tables = _plan(backend, "rotate", dim, seed, -(-size // dim), cut=cut)
    numbers = (np.int32(size), np.int32(REFUSALS[refuse]), np.int64(first), np.int64(n))
    blocks = n * -(-size // dim)
    plan.launch(backend, blocks, (x, *tables, out, norms, exponents, faults, *numbers))


def rotate_given(backend: Backend, dim: int, seed: int, x: Any, out: Any) -> None:
    """Rotate rows (n, dim) float32 as they are into ``out`` (n, size), as :func:`rotate`."""
    n, size = out.shape
    plan, tables = _plan(backend, "rotate", dim, seed, -(-size // dim), given=True)
    numbers = (np.int32(size), np.int32(0), np.int64(0), np.int64(n))
    plan.launch(backend, n * -(-size // dim), (x, *tables, out, None, None, None, *numbers))


def unrotate(backend: Backend, dim: int, seed: int, rows: Any, powers: Any = None) -> None:
    """Rotate rows (n, dim) float32 of any size back, in place, and multiply by powers of two (n,) int32 if given."""
    plan, tables = _plan(backend, "unrotate", dim, seed, 1, given=True, powers=powers is not None)
    numbers = (np.int32(dim), np.int32(0), np.int32(0), np.int32(0), np.int64(len(rows)))
    plan.launch(backend, len(rows), (None, None, *tables, rows, powers, np.float32(0), *numbers))


def unrotate_signs(
    backend: Backend, dim: int, seed: int, size: int, start: int, packed: Any, scales: Any, constant: Any, out: Any
) -> None:
    """Decode the signs of :func:`rotate`'s ``size`` values, which lie in packed rows from byte ``start`` on.

    ``out`` (n, dim) float32 is the sum of the rotations' inverses, times the last of a row's scales times ``constant``.
    """
    n, row_bytes = packed.shape
    plan, tables = _plan(backend, "unrotate", dim, seed, -(-size // dim))
    norms = 1 if len(scales.shape) == 1 else scales.shape[1]
    numbers = (np.int32(size), np.int32(row_bytes), np.int32(start), np.int32(norms), np.int64(n))
    plan.launch(backend, n, (packed, scales, *tables, out, None, np.float32(constant), *numbers))


def _plan(
    backend: Backend,
    work: Literal["rotate", "unrotate"],
    dim: int,
    seed: int,
    count: int,
    *,
    given: bool = False,
    cut: bool = False,
    powers: bool = False,
) -> tuple[RowPlan, tuple[Any, Any, np.float32]]:
    """Return the kernel and what it reads of ``count`` rotations: signs, permutations, the factor."""
    rotation = rotation_tables(dim, seed)
    # Rows that are rotated back as they are may be of any size.
    exact = given and work == "unrotate"
    parameters = {"TQ_GIVEN": int(given), "TQ_CUT": int(cut), "TQ_POWERS": int(powers)}
    plan = row_plan(backend, work, dim, rotation.rounds, 0, parameters, exact=exact)
    by_lanes = plan.kernel.name.endswith("_warp")
    signs, source = uploaded_rotation(backend, dim, seed, by_lanes=by_lanes, count=count)
    return plan, (signs, source, rotation.factor if exact else launch_factor(dim, rotation))
