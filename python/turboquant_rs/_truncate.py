"""Truncation by the array API's functions alone, for codes that the Rust core cannot reach: docs/numerics.md section 8.

Float32 operations run one at a time, each rounded, in the order of the reference, so any namespace gives its bytes.
"""

from __future__ import annotations

from typing import Any

from ._device import namespace_of
from .reference.codebook import levels
from .reference.rows import TINY
from .reference.sums import LANES
from .reference.units import row_bytes, stage_ends, units_of

#: Coordinates of rows that are unpacked at a time; a coordinate takes about 20 bytes of temporaries.
BLOCK_COORDINATES = 1 << 23


def truncate(
    packed: Any, scales: Any, dim: int, bits: int, keep: int, top: int, scale: str, block: int = BLOCK_COORDINATES
) -> tuple[Any, Any]:
    """Return (packed, scales) of the ``top`` bits out of codes of ``bits`` bits that hold ``keep``, in their namespace.

    Only one segment; refusals as the core's.
    """
    allowed = [end for end in stage_ends(bits) if end <= keep]
    if top not in allowed:
        raise ValueError(f"bits must be one of {allowed} (where a stage ends), got {top}")
    xp = namespace_of(packed)
    # The first stages are the first bytes of a row.
    short = xp.asarray(packed[:, : row_bytes(dim, bits, top)], copy=True)
    if scale == "paper":
        return short, xp.asarray(scales, copy=True)
    tables = [xp.asarray(levels(bits, kept, dim), device=packed.device) for kept in (keep, top)]
    n, step = packed.shape[0], max(1, block // dim)
    factors = [
        _factor(xp, packed[first : min(first + step, n), :], tables, (dim, bits, keep, top), scale)
        for first in range(0, n, step)
    ]
    if not factors:
        return short, xp.asarray(scales, copy=True)
    scales = scales * xp.reshape(xp.concat(factors), (-1, 1))
    scales = xp.where(xp.abs(scales) < float(TINY), xp.zeros_like(scales), scales)
    check_finite(xp, scales)
    return short, scales


def check_finite(xp: Any, scales: Any) -> None:
    """Refuse scales (n, 1) that are not all finite, naming the first row; waits for a GPU."""
    finite = xp.isfinite(scales[:, 0])
    if not bool(xp.all(finite)):
        row = int(xp.argmax(xp.astype(~finite, xp.uint8)))
        raise ValueError(f"scales must be finite, got {float(scales[row, 0])} at row {row}")


def _factor(xp: Any, packed: Any, tables: list[Any], shape: tuple[int, int, int, int], scale: str) -> Any:
    """Return what the scales of a block of rows are multiplied with, (n,) float32."""
    dim, bits, keep, top = shape
    codes = _unpack(xp, packed, dim, bits, keep)
    c = _look_up(xp, tables[0], codes)
    d = _look_up(xp, tables[1], codes >> _uint8(xp, codes, keep - top))
    if scale == "unbiased":
        return _tree_sum(xp, c * c) / _tree_sum(xp, c * d)
    if scale == "mse":
        return _tree_sum(xp, c * d) / _tree_sum(xp, d * d)
    return xp.sqrt(_tree_sum(xp, c * c) / _tree_sum(xp, d * d))


def _unpack(xp: Any, packed: Any, dim: int, bits: int, keep: int) -> Any:
    """Return the top ``keep`` bits of every code, (n, dim) uint8, as the reference's ``unpack``."""
    n = packed.shape[0]
    codes = xp.zeros((n, dim), dtype=xp.uint8, device=packed.device)
    at = 0
    for width in units_of(bits, keep):
        size = (dim * width + 7) // 8
        bytes_ = packed[:, at : at + size]
        parts = [
            (bytes_ >> _uint8(xp, packed, shift)) & _uint8(xp, packed, (1 << width) - 1) for shift in range(0, 8, width)
        ]
        field = xp.reshape(xp.stack(parts, axis=2), (n, -1))[:, :dim]
        codes = (codes << _uint8(xp, packed, width)) | field
        at += size
    return codes


def _uint8(xp: Any, like: Any, value: int) -> Any:
    return xp.asarray(value, dtype=xp.uint8, device=like.device)


def _look_up(xp: Any, table: Any, codes: Any) -> Any:
    places = xp.reshape(xp.astype(codes, xp.int32), (-1,))
    return xp.reshape(xp.take(table, places, axis=0), codes.shape)


def _tree_sum(xp: Any, terms: Any) -> Any:
    """Sum the rows of ``terms`` (n, m) float32 in the one order of every sum: 64 strided partial sums, then halving."""
    n, m = terms.shape
    blocks = -(-m // LANES)
    pad = xp.zeros((n, blocks * LANES - m), dtype=xp.float32, device=terms.device)
    strided = xp.reshape(xp.concat([terms, pad], axis=1), (n, blocks, LANES))
    lanes = strided[:, 0, :]
    for block in range(1, blocks):
        lanes = lanes + strided[:, block, :]
    width = LANES
    while width > 1:
        width //= 2
        lanes = lanes[:, :width] + lanes[:, width:]
    return lanes[:, 0]
