"""The outlier split of the TurboQuant paper (arXiv 2504.19874, section 4.3): some channels in a wider segment.

The channels of a split codec are put in order first: the outliers, then the others, each ascending. The two runs are
segments with their own rotation, norm, scale and codebook; nothing else in the codec knows of channels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def order_of(dim: int, outliers: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the channels in the order of the segments: outliers, then the others, (dim,) int64.

    >>> order_of(5, (1, 3))
    array([1, 3, 0, 2, 4])
    """
    return np.concatenate([np.array(outliers, np.int64), np.flatnonzero(~mask_of(dim, outliers))])


def mask_of(dim: int, outliers: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which channels are outliers, (dim,) bool."""
    mask = np.zeros(dim, bool)
    mask[list(outliers)] = True
    return mask


def to_bytes(dim: int, outliers: tuple[int, ...]) -> bytes:
    """Return the section of a file: one bit a channel, low bit first, padded to a byte with zeros.

    >>> to_bytes(10, (0, 9)).hex()
    '0102'
    """
    return np.packbits(mask_of(dim, outliers), bitorder="little").tobytes()


def from_bytes(section: bytes, dim: int) -> tuple[int, ...]:
    """Return the outliers in :func:`to_bytes`'s bytes; ValueError if padding is set."""
    bits = np.unpackbits(np.frombuffer(section, np.uint8), bitorder="little")
    if bits[dim:].any():
        raise ValueError("padding of the outliers is not zero")
    return tuple(np.flatnonzero(bits).tolist())


def check(dim: int, bits: tuple[int, int], outliers: tuple[int, ...]) -> None:
    """Refuse what is no split: outliers in another order, none or all of the channels, or a narrower first segment."""
    if sorted(set(outliers)) != list(outliers) or (outliers and not 0 <= outliers[0] <= outliers[-1] < dim):
        raise ValueError(f"outliers must be distinct channels of {dim} in ascending order")
    if not 1 <= len(outliers) < dim:
        raise ValueError(f"outliers must be some of the {dim} channels, got {len(outliers)}")
    if not 8 >= bits[0] >= bits[1] >= 1:
        raise ValueError(f"bits must be 8 to 1, the outliers' first, got {bits}")
