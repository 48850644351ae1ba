"""Embedded codes: the units and stages of a code, and how units become bytes (docs/numerics.md section 8).

Every prefix of stages is itself a good code of fewer bits, because the top s bits of a b-bit Lloyd–Max index decode
to the conditional mean of their cell at almost no loss. One encode therefore serves every rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Widths of the units of a b-bit code, most significant bits first. Only 1, 2 and 4 occur: no field straddles a byte.
UNITS: dict[int, tuple[int, ...]] = {
    1: (1,),
    2: (1, 1),
    3: (1, 2),
    4: (1, 1, 2),
    5: (1, 1, 2, 1),
    6: (1, 1, 2, 2),
    7: (1, 1, 2, 1, 2),
    8: (1, 1, 2, 4),
}


def stage_ends(bits: int) -> tuple[int, ...]:
    """Return the bit counts at which a stage of a ``bits``-bit code ends: the rates it can be truncated to.

    >>> stage_ends(4), stage_ends(3), stage_ends(7)
    ((1, 2, 4), (1, 3), (1, 2, 4, 7))
    """
    if bits == 3:
        return (1, 3)
    return tuple(s for s in (1, 2, 4) if s < bits) + (bits,)


def units_of(bits: int, keep: int) -> tuple[int, ...]:
    """Return the widths of the units that hold the top ``keep`` bits."""
    taken: list[int] = []
    for width in UNITS[bits]:
        if sum(taken) == keep:
            break
        taken.append(width)
    return tuple(taken)


def row_bytes(dim: int, bits: int, keep: int) -> int:
    """Return the bytes of one packed row of a segment of ``dim`` coordinates.

    >>> row_bytes(97, 4, 4)
    51
    """
    return sum((dim * width + 7) // 8 for width in units_of(bits, keep))


def pack(codes: NDArray[np.uint8], bits: int, keep: int) -> NDArray[np.uint8]:
    """Pack the top ``keep`` of ``bits`` bits of ``codes`` (n, dim) uint8 into (n, row_bytes) uint8.

    >>> pack(np.array([[0, 1, 2, 3]], np.uint8), bits=2, keep=2)
    array([[12, 10]], dtype=uint8)
    """
    return np.concatenate(pack_units(codes, bits, keep), axis=1)


def pack_units(codes: NDArray[np.uint8], bits: int, keep: int) -> list[NDArray[np.uint8]]:
    """Return the packed units one by one, (n, bytes) uint8 each."""
    parts = []
    shift = bits
    for width in units_of(bits, keep):
        shift -= width
        field = (codes >> np.uint8(shift)) & np.uint8((1 << width) - 1)
        planes = (field[:, :, None] >> np.arange(width, dtype=np.uint8)) & np.uint8(1)
        flat = planes.reshape(len(codes), codes.shape[1] * width)
        parts.append(np.packbits(flat, axis=1, bitorder="little"))
    return parts


def pack_row(segments: list[list[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    """Return packed rows of the units of every segment: by the unit's index first, then by segment.

    >>> a, b, c = (np.array([[value]], np.uint8) for value in (1, 2, 3))
    >>> pack_row([[a, c], [b]])
    array([[1, 2, 3]], dtype=uint8)
    """
    longest = max(len(units) for units in segments)
    units = [units[i] for i in range(longest) for units in segments if i < len(units)]
    return np.concatenate(units, axis=1)


def unpack_row(packed: NDArray[np.uint8], segments: list[tuple[int, int, int]]) -> list[NDArray[np.uint8]]:
    """Return the codes of every segment, (n, dim) uint8, from :func:`pack_row`'s bytes and their (dim, bits, keep)."""
    widths = [units_of(bits, keep) for _, bits, keep in segments]
    found: list[list[NDArray[np.uint8]]] = [[] for _ in segments]
    at = 0
    for i in range(max(map(len, widths))):
        for units, segment_widths, (dim, _, _) in zip(found, widths, segments, strict=True):
            if i < len(segment_widths):
                size = (dim * segment_widths[i] + 7) // 8
                units.append(packed[:, at : at + size])
                at += size
    rows = (np.concatenate(units, axis=1) for units in found)
    return [unpack(row, *segment) for row, segment in zip(rows, segments, strict=True)]


def unpack(packed: NDArray[np.uint8], dim: int, bits: int, keep: int) -> NDArray[np.uint8]:
    """Return the top ``keep`` bits of every code, (n, dim) uint8 in 0 … 2**keep − 1, from :func:`pack`'s bytes."""
    codes = np.zeros((len(packed), dim), np.uint8)
    at = 0
    for width in units_of(bits, keep):
        size = (dim * width + 7) // 8
        planes = np.unpackbits(packed[:, at : at + size], axis=1, bitorder="little")[:, : dim * width]
        field = (planes.reshape(len(packed), dim, width) << np.arange(width, dtype=np.uint8)).sum(
            axis=2, dtype=np.uint8
        )
        codes = (codes << np.uint8(width)) | field
        at += size
    return codes
