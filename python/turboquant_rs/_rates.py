"""Bits a coordinate, as users give them, and the bits of each segment that they stand for."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ._arrays import as_int

if TYPE_CHECKING:
    from . import _core
    from .codec import TurboQuant

#: A whole number; the average of a fitted codec; of a split codec those of the outliers and of the other channels.
Bits: TypeAlias = int | float | tuple[int, int]


def keep_of(codec: TurboQuant, bits: Any) -> list[int]:
    """Return the bits that codes of ``bits`` bits a coordinate have of every segment."""
    if codec.fitted:
        return codec._core.full if bits == codec.bits else codec._core.prefix(row_bits_of(codec, bits))
    if codec.split:
        return pair_of(bits)
    return [as_int(bits, "bits", 1, codec._core.full[0])]


def bits_of(core: _core.Codec, keep: list[int]) -> Bits:
    """Return the bits a coordinate of codes that keep these bits of every segment; the inverse of :func:`keep_of`."""
    if core.fitted:
        return core.row_bits(keep) / core.dim
    return (keep[0], keep[1]) if len(keep) == 2 else keep[0]


def pair_of(bits: Any) -> list[int]:
    """Return the bits of the two segments of a split code: one number for both, or two."""
    if isinstance(bits, (tuple, list)):
        if len(bits) != 2:
            raise ValueError(f"bits must be two numbers, of the outliers and of the other channels, got {bits!r}")
        return [as_int(value, "bits", 1, 8) for value in bits]
    return [as_int(bits, "bits", 1, 8)] * 2


def cut(codec: TurboQuant, bits: Any, held: list[int]) -> list[int]:
    """Return the bits that are kept of every segment of fitted codes with ``held``; refuses what they lack."""
    core, row_bits = codec._core, row_bits_of(codec, bits)
    keep = core.prefix(row_bits)
    # Whole units are kept, so codes may hold a little less than was asked for: the same may be asked again.
    if sum(keep) > sum(held) or (keep == core.full and -(-row_bits // 8) > core.row_bytes(held)):
        most = core.row_bits(held) / codec.dim
        raise ValueError(f"bits must be at most what the codes hold, {most:g}, got {bits}")
    if row_bits < core.first_unit:
        least = core.first_unit / codec.dim
        raise ValueError(f"bits must be enough for the first unit, about {least:g}, got {bits}")
    return keep


def row_bits_of(codec: TurboQuant, bits: Any) -> int:
    """Return the whole bits in a row of ``bits`` bits a coordinate, which may be any rational number."""
    if isinstance(bits, (bool, np.bool_)) or not isinstance(bits, (int, float, Fraction, np.integer, np.floating)):
        raise TypeError(f"bits must be a number, got {bits!r}")
    if not 0 < bits <= 8:
        raise ValueError(f"bits must be above 0 and at most 8, got {bits}")
    # A float stands for the fraction that prints like it: 0.3 is three tenths.
    rate = bits if isinstance(bits, Fraction) else Fraction(float(bits)).limit_denominator(65_536)
    return math.ceil(rate * codec.dim)


def shown(bits: Bits) -> str:
    """Return bits as text.

    >>> shown(4), shown(2.5), shown((3, 2))
    ('4', '2.5', '(3, 2)')
    """
    return str(bits) if isinstance(bits, tuple) else f"{bits:g}"
