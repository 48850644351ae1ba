"""Which axes get how many bits: dynamic programming over segments and widths, exact in bytes.

Axes are sorted by what an error on them costs, and come in blocks of eight, so that one bit of a block is one byte.
An allocation cuts the blocks into segments, gives each a width from 8 bits down, and leaves the last blocks without
any. What it minimises is Σ cost·D(bits), D the exact distortion of the tables, plus a small price for every segment.

Without the price, handing out bits one by one to the block where the next buys most is optimal, because D is convex and
all bits cost the same (`greedy`); it leaves many short segments. The programme finds the best allocation of few and
long ones, which rotate into better Gaussians and scan faster. What a segment of unlike blocks costs shorter prefixes of
the code counts, too: its blocks get their bits together there, the important ones too few. Spending bits by variance
and finding the segments by dynamic programming: SAQ (arXiv 2509.12086, section 4).
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .distortion import MOST_BITS, distortions

#: Axes of a block: one bit of each is one byte.
BLOCK = 8
#: Blocks that a segment may have: 8, 16, 24 or 32 axes. Longer ones would make prefixes of units coarse.
SIZES = (1, 2, 3, 4)
#: The same above 4,096 axes, where segments of 32 would be more than the 255 that a codec may have.
LONG_SIZES = (*SIZES, 6, 8)
#: Price of a segment, as a share of the least possible Σ cost·D(bits).
PRICE = 3e-3
#: Weight of what segments cost prefixes of whole bits, a share of the least objective of each prefix. At 1 segments are
#: shorter, and prefixes of sentence embeddings lose 0.002 of 10@10 at one and two bits.
PREFIX = 0.05

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Allocation:
    """Segments of axes from the most to the least important.

    Attributes
    ----------
    segments : tuple of (axes, bits)
        In non-increasing width; together at most as many axes as there are.
    objective : float
        Σ cost·D(bits) over all axes, those without bits included; no price in it.
    """

    segments: tuple[tuple[int, int], ...]
    objective: float

    @property
    def nbytes(self) -> int:
        """Bytes of one row's codes: every bit of a segment takes whole bytes."""
        return sum(-(-axes // BLOCK) * bits for axes, bits in self.segments)

    @property
    def axes(self) -> int:
        """Axes that have bits."""
        return sum(axes for axes, _ in self.segments)


def budget(dim: int, bits: float) -> int:
    """Return the bytes of a row's codes at ``bits`` bits a coordinate on average: ⌈dim·bits/8⌉.

    >>> budget(768, 1.5), budget(100, 1), budget(384, 0.25)
    (144, 13, 12)
    """
    # A width like 2.3 is the nearest float to it; the product must not round up for that.
    return max(1, int(np.ceil(round(dim * bits / 8, 9))))


def stops(dim: int, nbytes: int) -> list[int]:
    """Return the bytes of every whole number of bits a coordinate below ``nbytes``: where codes are likely truncated.

    >>> stops(128, 64), stops(100, 20)
    ([16, 32, 48], [13])
    """
    return [stop for bits in range(1, MOST_BITS) if (stop := budget(dim, bits)) < nbytes]


def allocate(
    costs: Floats, nbytes: int, *, price: float = PRICE, prefix: float = PREFIX, sizes: Sequence[int] | None = None
) -> Allocation:
    """Return the best allocation of exactly ``nbytes`` bytes.

    Parameters
    ----------
    costs : ndarray of float64, shape (d,)
        What a relative squared error of 1 on each axis costs, at least 0, in descending order.
    nbytes : int, 1 to 8·⌈d/8⌉
    price : float
        Of a segment, as a share of the least objective.
    prefix : float
        Weight of what a segment costs each prefix of whole bits, relative to the least objective of the prefix.
    sizes : sequence of int, optional
        Blocks that a segment may have; 1 is among them, else some byte counts could not be met. By default up to 4,
        above 4,096 axes up to 8.

    Returns
    -------
    Allocation

    Notes
    -----
    The table is (blocks + 1) × (nbytes + 1) for each width from 8 to 1; a segment of width b that starts at block i
    moves i by its blocks and the bytes by blocks·b. Widths are visited in descending order, hence never increase.

    Examples
    --------
    >>> allocate(np.array([4.0] * 8 + [1.0] * 8 + [0.0] * 8), 4).segments
    ((8, 3), (8, 1))
    """
    if sizes is None:
        sizes = SIZES if len(costs) <= 4096 else LONG_SIZES
    starts, least = _block_sums(costs), greedy(costs, nbytes)
    blocks = len(starts) - 1
    fee = price * least.objective
    unlike = prefix * least.objective * _prefix_losses(costs, nbytes, max(sizes))
    table = np.full((blocks + 1, nbytes + 1), np.inf)
    table[0, 0] = 0.0
    # How a state was reached at each width: 0, by no segment of it; s, by one of s blocks.
    steps = np.zeros((MOST_BITS + 1, blocks + 1, nbytes + 1), np.int8)
    for bits in range(MOST_BITS, 0, -1):
        d = float(distortions()[bits])
        for end in range(1, blocks + 1):
            for size in sizes:
                start, spent = end - size, size * bits
                if start < 0 or spent > nbytes:
                    continue
                paid = d * (starts[end] - starts[start]) + fee + float(unlike[bits, size, end])
                reached = table[start, : nbytes + 1 - spent] + paid
                better = reached < table[end, spent:]
                table[end, spent:][better] = reached[better]
                steps[bits, end, spent:][better] = size
    totals = table[:, nbytes] + (starts[-1] - starts)
    return _walk_back(steps, int(totals.argmin()), nbytes, costs)


def greedy(costs: Floats, nbytes: int) -> Allocation:
    """Return the allocation that gives bit after bit to the block where the next one buys most.

    The least objective of all, and runs of equal width uncut.

    >>> greedy(np.array([4.0] * 8 + [1.0] * 8 + [0.0] * 8), 4).segments
    ((8, 3), (8, 1))
    """
    sums = np.diff(_block_sums(costs))
    if not 1 <= nbytes <= MOST_BITS * len(sums):
        raise ValueError(f"nbytes must be between 1 and {MOST_BITS * len(sums)}, got {nbytes}")
    gains = -np.diff(distortions())
    widths = np.zeros(len(sums), np.int64)
    heap = [(-float(total * gains[0]), block) for block, total in enumerate(sums)]
    heapq.heapify(heap)
    for _ in range(nbytes):
        _, block = heapq.heappop(heap)
        widths[block] += 1
        if widths[block] < MOST_BITS:
            heapq.heappush(heap, (-float(sums[block] * gains[widths[block]]), block))
    segments: list[tuple[int, int]] = []
    for block, bits in enumerate(widths[widths > 0].tolist()):
        axes = min(BLOCK, len(costs) - block * BLOCK)
        if segments and segments[-1][1] == bits:
            segments[-1] = (segments[-1][0] + axes, bits)
        else:
            segments.append((axes, bits))
    return Allocation(tuple(segments), _objective(segments, costs))


def _block_sums(costs: Floats) -> Floats:
    """Sums of costs before each block, and of all."""
    edges = np.minimum(np.arange(0, len(costs) + BLOCK, BLOCK), len(costs))
    return np.concatenate([[0.0], np.cumsum(costs)])[edges]


def _prefix_losses(costs: Floats, nbytes: int, longest: int) -> Floats:
    """What prefixes of whole bits lose by a segment, because its blocks get their bits together.

    A prefix has the units that buy at least θ a byte, what the last byte of the best allocation of its size buys. So a
    segment of s blocks costs it min_k (cost·D(k) + θ·s·k), k up to the segment's width, and its blocks one by one less,
    or as much if they are alike.

    Returns
    -------
    ndarray of float64, shape (9, longest + 1, blocks + 1)
        By a segment's width, blocks and end: the sum over the prefixes, each relative to its least objective.
    """
    starts = _block_sums(costs)
    sums = np.diff(starts)
    losses = np.zeros((MOST_BITS + 1, longest + 1, len(starts)))
    gains = np.sort((sums[:, None] * -np.diff(distortions())).ravel())
    for stop in stops(len(costs), nbytes):
        least, theta = greedy(costs, stop).objective, float(gains[-stop])
        if least == 0.0:
            break
        alone = np.concatenate([[0.0], np.cumsum(_least(sums, theta)[MOST_BITS])])
        for size in range(2, min(longest, len(sums)) + 1):
            together = _least(starts[size:] - starts[:-size], size * theta)
            losses[:, size, size:] += (together - (alone[size:] - alone[:-size])) / least
    return losses


def _least(sums: Floats, theta: float) -> Floats:
    """min_k (sums·D(k) + θ·k) for k up to each width, (9, len(sums))."""
    bits = np.arange(MOST_BITS + 1)[:, None]
    return np.minimum.accumulate(sums * distortions()[:, None] + theta * bits, axis=0)


def _walk_back(steps: NDArray[np.int8], block: int, nbytes: int, costs: Floats) -> Allocation:
    segments: list[tuple[int, int]] = []
    bits = 1
    while block > 0:
        # A state improved at a narrower width was reached by it; else by a wider one.
        size = int(steps[bits, block, nbytes])
        if size == 0:
            bits += 1
            continue
        start = block - size
        segments.append((min(block * BLOCK, len(costs)) - start * BLOCK, bits))
        block, nbytes = start, nbytes - size * bits
    segments.reverse()
    return Allocation(tuple(segments), _objective(segments, costs))


def _objective(segments: Sequence[tuple[int, int]], costs: Floats) -> float:
    total, start = 0.0, 0
    for axes, bits in segments:
        total += float(distortions()[bits]) * float(costs[start : start + axes].sum())
        start += axes
    return total + float(costs[start:].sum())
