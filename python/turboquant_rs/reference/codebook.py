"""The codebook of equation 4 (arXiv 2504.19874): levels, boundaries, integer levels (docs/numerics.md 5 and 10).

The levels are constants, solved for once in float64 by ``lloyd_max``, rounded once to float32 and shipped by
``make_tables``: no machine derives them again, so no libm stands between a row and its bytes.

Layout of ``beta_levels.bin``: little-endian float32 without a header,

    for dim = 2 … 127:  for bits = 1 … 8:  for keep = bits, bits−1, … 1:  the 2^(keep−1) positive levels, ascending.

The negative half is their mirror image. ``beta_offset`` finds one run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .gaussian_levels import GAUSSIAN

#: The first dimension that the Beta tables leave to the Gaussian one, for any width and for at most ``NARROW`` bits.
BETA_END, BETA_END_NARROW, NARROW = 128, 64, 4

#: Floats that ``beta_levels.bin`` holds for each dimension: Σ (2^bits − 1) for bits 1 … 8.
_PER_DIM = 502

_BETA_FILE = Path(__file__).with_name("beta_levels.bin")


def levels(bits: int, keep: int, dim: int) -> NDArray[np.float32]:
    """Return the level of each ``keep``-bit code: the top ``keep`` bits of a ``bits``-bit code of one segment.

    Parameters
    ----------
    bits : int, 1 … 8 – width of the codes as they were assigned.
    keep : int, 1 … bits – how many of their most significant bits are left.
    dim : int, ≥ 1 – dimensions of the segment.

    Returns
    -------
    (2^keep,) float32, ascending, symmetric about 0, read-only; for coordinates of unit variance (√dim times those of a
    unit vector). ``keep == bits``: the optimum of equation 4. Fewer: the mean of each merged cell.

    Notes
    -----
    Lemma 1's Beta law tends to N(0, 1); from 128 dimensions, or from 64 at up to 4 bits, the Gaussian table costs less
    than 0.5 % of the distortion and stands for all. In one dimension a unit vector is ±1, and so are the outer levels.

    Examples
    --------
    >>> levels(2, 2, 768)
    array([-1.5104176 , -0.45278004,  0.45278004,  1.5104176 ], dtype=float32)
    >>> levels(4, 2, 768)
    array([-1.6052171 , -0.49678674,  0.49678674,  1.6052171 ], dtype=float32)
    >>> levels(2, 2, 3)
    array([-1.299038 , -0.4330127,  0.4330127,  1.299038 ], dtype=float32)
    >>> levels(2, 2, 1)
    array([-1.        , -0.33333334,  0.33333334,  1.        ], dtype=float32)
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be between 1 and 8, got {bits}")
    if not 1 <= keep <= bits:
        raise ValueError(f"keep must be between 1 and bits ({bits}), got {keep}")
    if dim < 1:
        raise ValueError(f"dim must be at least 1, got {dim}")
    if dim >= BETA_END or (dim >= BETA_END_NARROW and bits <= NARROW):
        dim = BETA_END  # the Gaussian table is one array for all of them
    return _levels(bits, keep, dim)


@cache
def _levels(bits: int, keep: int, dim: int) -> NDArray[np.float32]:
    count = 1 << keep
    if dim == 1:
        whole = ((2 * np.arange(count) + 1 - count) / (count - 1)).astype(np.float32)
    else:
        if dim == BETA_END:
            half = np.array(GAUSSIAN[bits - 1][keep - 1], dtype=np.float32)
        else:
            start = beta_offset(dim, bits, keep)
            half = _beta_table()[start : start + count // 2]
        whole = np.concatenate([-half[::-1], half])
    whole.setflags(write=False)
    return whole


def boundaries(levels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return β_k = ½·(c_k + c_{k+1}) of (2^s,) float32 ``levels``, in float32: (2^s − 1,) float32, ascending.

    code(y) is the number of boundaries below y, so a tie goes to the lower code.

    >>> boundaries(levels(2, 2, 768))
    array([-0.9815988,  0.       ,  0.9815988], dtype=float32)
    """
    result: NDArray[np.float32] = np.float32(0.5) * (levels[:-1] + levels[1:])
    return result


def one_byte(bits: int, *, fitted: bool = False) -> bool:
    """Return whether codes of so many bits are scored with levels and queries of one byte, not two.

    5 bits of a fitted code are: narrower segments stand beside them.

    >>> one_byte(4), one_byte(5), one_byte(5, fitted=True)
    (True, False, True)
    """
    return bits <= (5 if fitted else 4)


def integer_levels(
    bits: int, keep: int, dim: int, *, fitted: bool = False
) -> tuple[NDArray[np.int8] | NDArray[np.int16], np.float32]:
    """Return integers l_k and a scale α with levels(bits, keep, dim) ≈ α·l, the form in which codes are scored.

    Returns
    -------
    ints : (2^keep,) – of one byte (:func:`one_byte`) int8, at most 127 in magnitude: of the roundings that send the
        largest level to 127 … 64, each with its least-squares scale, the one of least squared error over the law of the
        coordinates.
        Of two bytes int16, at most 16319 = 127·128 + 63: two signed bytes hi·128 + lo with hi = (l + 64) >> 7 in
        −127 … 127 and lo in −64 … 63.
    scale : float32, α.

    Notes
    -----
    Weights are the masses of the cells; without them the outer levels count too much and scores are stretched. The
    search is in float64, one operation after another, sums from the lowest level to the highest onto 0.0: another
    order could let another scale win (docs/numerics.md section 10).

    Examples
    --------
    >>> integer_levels(2, 2, 768)[0]
    array([-120,  -36,   36,  120], dtype=int8)
    """
    exact = [float(c) for c in levels(bits, keep, dim)]
    top_level = exact[-1]
    if not one_byte(keep, fitted=fitted):
        alpha = top_level / 16_319
        return np.array([round(c / alpha) for c in exact], dtype=np.int16), np.float32(alpha)
    weights = masses(bits, keep, dim)
    best, least = (0.0, [0]), float("inf")
    for top in range(127, 63, -1):
        ints = [round(c / (top_level / top)) for c in exact]  # Python rounds halves to even
        product, squares, error = 0.0, 0.0, 0.0
        for c, value, p in zip(exact, ints, weights, strict=True):
            product += p * (c * value)
            squares += p * (value * value)
        alpha = product / squares
        for c, value, p in zip(exact, ints, weights, strict=True):
            difference = c - value * alpha
            error += p * (difference * difference)
        if error < least:
            best, least = (alpha, ints), error
    return np.array(best[1], dtype=np.int8), np.float32(best[0])


def masses(bits: int, keep: int, dim: int) -> list[float]:
    """Return the probability of every cell of the top ``keep`` bits.

    A level is the mean of the two that split its cell, which gives their shares: no integral is needed.

    >>> [round(p, 3) for p in masses(2, 2, 768)]
    [0.163, 0.337, 0.337, 0.163]
    """
    result = [0.5, 0.5]
    for kept in range(1, keep):
        parents = [float(c) for c in levels(bits, kept, dim)]
        children = [float(c) for c in levels(bits, kept + 1, dim)]
        split: list[float] = []
        for j, (mass, parent) in enumerate(zip(result, parents, strict=True)):
            low, high = children[2 * j], children[2 * j + 1]
            lower = mass * ((high - parent) / (high - low))
            split += [lower, mass - lower]
        result = split
    return result


def beta_offset(dim: int, bits: int, keep: int) -> int:
    """Return where the positive levels of (dim, bits, keep) start in ``beta_levels.bin``, counted in floats.

    A width takes 2^bits − 1 floats, so widths 1 … bits−1 take 2^bits − 1 − bits; within a width, the runs above
    ``keep`` take 2^bits − 2^keep.

    >>> beta_offset(2, 1, 1), beta_offset(2, 2, 2), beta_offset(2, 2, 1), beta_offset(3, 1, 1)
    (0, 1, 3, 502)
    """
    return (dim - 2) * _PER_DIM + ((1 << bits) - 1 - bits) + ((1 << bits) - (1 << keep))


@cache
def _beta_table() -> NDArray[np.float32]:
    return np.frombuffer(_BETA_FILE.read_bytes(), dtype="<f4").astype(np.float32)
