"""A codec with outlier channels for kernels: its two segments as groups of units of one bit, each with a scale."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..reference.units import units_of
from .fitted import MOST_BITS, ScoreTables, score_tables

#: From queries (nq, dim) float32 and whether they are for cosines: integers (nq, dim) int16, segment after segment,
#: what one unit of each segment is worth (nq, 2), norms (nq,) and their powers of two; ValueError for faulty ones.
Integers: TypeAlias = Callable[
    [NDArray[np.float32], bool],
    tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.float32], NDArray[np.int32]],
]


class SplitKey:
    """What decides kernels and tables of a codec with outliers.

    Parameters
    ----------
    sizes, bits : (int, int)
        Coordinates of the segments, and their bits.
    queries
        What prepares queries.
    """

    def __init__(self, sizes: tuple[int, int], bits: tuple[int, int], queries: Integers) -> None:
        self.sizes, self.bits, self.queries = sizes, bits, queries
        self.key = ("split", sizes, bits)
        #: Bytes of a row in planes.
        self.row_bytes = sum(bits * -(-size // 8) for size, bits in zip(self.sizes, self.bits, strict=True))

    def scoring(self, keep: tuple[int, ...]) -> ScoreTables:
        """Return tables for scores of rows in planes; ``keep`` is all bits."""
        assert keep == self.bits
        return self._tables

    @cached_property
    def _tables(self) -> ScoreTables:
        units, at = np.zeros((len(self.sizes), MOST_BITS), np.int32), 0
        for row, size, bits in zip(units, self.sizes, self.bits, strict=True):
            row[:bits] = at + -(-size // 8) * np.arange(bits)
            at += -(-size // 8) * bits
        groups = [([s], bits, bits, size) for s, (size, bits) in enumerate(zip(self.sizes, self.bits, strict=True))]
        return score_tables(self.sizes, groups, units, fitted=False)

    def planes(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed rows (n, bytes) as planes of one bit, (n, row_bytes): segment by segment, high bits first.

        Units of two and four bits become as many planes, so that one kernel reads all.
        """
        segments: list[list[NDArray[np.uint8]]] = [[], []]
        widths, at = [units_of(bits, bits) for bits in self.bits], 0
        for i in range(max(map(len, widths))):
            for planes, size, own in zip(segments, self.sizes, widths, strict=True):
                if i < len(own):
                    end = at + -(-size * own[i] // 8)
                    planes += _planes(packed[:, at:end], size, own[i])
                    at = end
        return np.concatenate([plane for planes in segments for plane in planes], axis=1)

    def placed(self, values: NDArray[np.int16]) -> tuple[NDArray[np.int8], NDArray[np.int8] | None]:
        """Return queries' integers (nq, dim), segment after segment, in the columns of groups.

        With low bytes if those of any segment take two: high · 128 + low.
        """
        tables = self._tables
        whole, first = np.zeros((len(values), tables.query_bytes), np.int16), 0
        for start, size in zip(tables.columns[:, 0], self.sizes, strict=True):
            whole[:, start : start + size] = values[:, first : first + size]
            first += size
        if not tables.wide:
            return whole.astype(np.int8), None
        high, low, start = whole.copy(), np.zeros_like(whole), 0
        for granules, wide in tables.groups[:, [3, 5]]:
            end = 8 * int(granules)
            if wide:
                some = whole[:, start:end]
                high[:, start:end] = (some + 64) >> 7
                low[:, start:end] = some - 128 * high[:, start:end]
            start = end
        return high.astype(np.int8), low.astype(np.int8)


def _planes(unit: NDArray[np.uint8], size: int, width: int) -> list[NDArray[np.uint8]]:
    """Return one unit of ``size`` coordinates, (n, bytes), as ``width`` planes of one bit, high bits first.

    >>> [int(plane[0, 0]) for plane in _planes(np.array([[0b10_01]], np.uint8), 2, 2)]
    [2, 1]
    """
    if width == 1:
        return [unit]
    bits = np.unpackbits(unit, axis=1, count=size * width, bitorder="little").reshape(len(unit), size, width)
    return [np.packbits(bits[:, :, bit], axis=1, bitorder="little") for bit in reversed(range(width))]
