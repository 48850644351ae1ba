"""The order of a code's units: what a bit buys, and prefixes that fill whole numbers of bits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .allocation import BLOCK, Floats, stops
from .distortion import distortions


def unit_order(segments: Sequence[tuple[int, int]], costs: Floats) -> list[int]:
    """Return the segment of every unit, one bit of a segment each, by what it buys a byte: most first.

    D is convex, so a segment's bits come most significant first, and every prefix is the greedy allocation of its size.
    Where the next unit would pass the end of a whole number of bits a coordinate, where codes are likely truncated, the
    units that buy most together in the bytes that are left come before it.

    Parameters
    ----------
    segments : sequence of (axes, bits)
    costs : ndarray of float64, shape (d,)
        As for :func:`turboquant_rs.fit.allocation.allocate`.

    Examples
    --------
    >>> costs = np.array([4.0] * 8 + [1.0] * 16)
    >>> unit_order([(8, 3), (16, 1)], costs)               # 3 bytes end after three units of one byte
    [0, 0, 0, 1]
    >>> unit_order([(8, 3), (16, 1)], np.array([4.0] * 8 + [3.0] * 16))
    [0, 1, 0, 0]
    """
    gains = -np.diff(distortions())
    units = []
    start = 0
    for segment, (axes, bits) in enumerate(segments):
        nbytes = -(-axes // BLOCK)
        worth = float(costs[start : start + axes].sum())
        units += [(-worth * float(gains[bit]) / nbytes, segment, bit, nbytes) for bit in range(bits)]
        start += axes
    # Equal worth (axes of no variance): by segment, then by bit, so that bits stay in order.
    units.sort()
    order: list[int] = []
    spent = 0
    for stop in stops(len(costs), sum(nbytes for *_, nbytes in units)):
        lengths = [nbytes for *_, nbytes in units]
        taken = _best_fit(np.array([-worth * nbytes for worth, _, _, nbytes in units]), lengths, stop - spent)
        left = Counter(unit[1] for unit, mine in zip(units, taken, strict=True) if mine)
        later = []
        for unit in units:
            # Of units worth the same, a segment's first ones.
            if left[unit[1]] > 0:
                left[unit[1]] -= 1
                order.append(unit[1])
                spent += unit[3]
            else:
                later.append(unit)
        units = later
    return order + [segment for _, segment, *_ in units]


def _best_fit(worths: Floats, lengths: Sequence[int], room: int) -> NDArray[np.bool_]:
    """Which units are worth most together in at most ``room`` bytes: the knapsack's dynamic programme, exact."""
    best = np.zeros(room + 1)
    better = np.zeros((len(lengths), room + 1), np.bool_)
    for i, length in enumerate(lengths):
        if length <= room:
            with_it = best[: room + 1 - length] + worths[i]
            better[i, length:] = with_it > best[length:]
            best[length:] = np.maximum(best[length:], with_it)
    taken = np.zeros(len(lengths), np.bool_)
    for i in reversed(range(len(lengths))):
        if better[i, room]:
            taken[i] = True
            room -= lengths[i]
    return taken
