"""The exact optimum of the per-vector assignment scale.

For any product codebook the code with the largest cosine to y is the nearest-level rounding of t·y for some t > 0:
with c* that code and t = |c*|²/⟨y, c*⟩, no code c is nearer to t·y, as |t·y − c|² ≥ t²|y|² − (t·|y|·cos*)² = |t·y −
c*|². The rounding changes only where t crosses a breakpoint β_k/|y_i|, so a sweep over the sorted breakpoints that
updates ⟨y, c⟩ and |c|² meets every candidate. The codec itself tries a few scales (`reference.trial_ranges`); the
sweep says how much of the possible gain they keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_EVENTS_PER_BLOCK = 1 << 21  # 16 MiB a float64 temporary, about eight of them at once
_TIE = 1e-12  # breakpoints closer than this (relative) are one: no t lies safely between them


@dataclass(frozen=True)
class SweepResult:
    """Best code of each row.

    Attributes
    ----------
    codes : ndarray of uint8, shape (n, d)
    t : ndarray of float64, shape (n,)
        Middle of the interval of scales that give these codes.
    cosine : ndarray of float64, shape (n,)
        Between y and the levels of its code.
    """

    codes: npt.NDArray[np.uint8]
    t: Floats
    cosine: Floats


def boundaries_of(levels: npt.ArrayLike) -> Floats:
    """Midpoints of ascending levels; shape (2^b − 1,), float64.

    >>> boundaries_of([-1.5, -0.5, 0.5, 1.5]).tolist()
    [-1.0, 0.0, 1.0]
    """
    c = np.asarray(levels, dtype=np.float64)
    return np.asarray(0.5 * (c[1:] + c[:-1]))


def assign(y: npt.ArrayLike, levels: npt.ArrayLike, t: npt.ArrayLike = 1.0) -> npt.NDArray[np.uint8]:
    """Codes of t·y, ties to the lower code.

    Parameters
    ----------
    y : array_like, shape (n, d)
    levels : array_like, shape (2^b,), ascending
    t : array_like, scalar or shape (n,)

    Returns
    -------
    ndarray of uint8, shape (n, d)

    >>> assign([[0.2, -2.0, 1.0]], [-1.5, -0.5, 0.5, 1.5], t=2.0).tolist()
    [[2, 0, 3]]
    """
    scaled = np.asarray(y, dtype=np.float64) * np.asarray(t, dtype=np.float64).reshape(-1, 1)
    return np.searchsorted(boundaries_of(levels), scaled, side="left").astype(np.uint8)


def cosine(y: npt.ArrayLike, levels: npt.ArrayLike, t: npt.ArrayLike = 1.0) -> Floats:
    """Cosine between each row of y and the levels of its code at scale t; float64, shape (n,). A zero row has 0.

    >>> cosine([[1.0, -1.0]], [-1.0, 1.0]).round(6).tolist()
    [1.0]
    """
    rows = np.asarray(y, dtype=np.float64)
    c = np.asarray(levels, dtype=np.float64)[assign(rows, levels, t)]
    product = np.sqrt(_dot(rows, rows) * _dot(c, c))
    return np.divide(_dot(rows, c), product, out=np.zeros(len(rows)), where=product > 0)


def best_of(y: npt.ArrayLike, levels: npt.ArrayLike, scales: npt.ArrayLike) -> Floats:
    """Largest cosine over a list of trial scales, the same list for every row; float64, shape (n,).

    >>> y, levels = [[0.3, 0.9]], [-1.5, -0.5, 0.5, 1.5]
    >>> bool(best_of(y, levels, [1.0, 1.2])[0] > cosine(y, levels)[0])
    True
    """
    found = [cosine(y, levels, float(t)) for t in np.asarray(scales, dtype=np.float64).ravel()]
    return np.asarray(np.max(found, axis=0))


def sweep(y: npt.ArrayLike, levels: npt.ArrayLike, window: tuple[float, float] = (0.0, float("inf"))) -> SweepResult:
    """Code of the largest cosine over all scales t in the window.

    Parameters
    ----------
    y : array_like, shape (n, d)
        Rotated rows at unit variance (|y|² ≈ d).
    levels : array_like, shape (2^b,)
        Ascending and symmetric about 0, b ≤ 8.
    window : (float, float)
        Scales to search. The default searches all, d·(2^(b−1) − 1) breakpoints a row; a window around 1 makes many
        bits at large d affordable.

    Returns
    -------
    SweepResult

    Examples
    --------
    >>> y = np.random.default_rng(0).standard_normal((4, 32))
    >>> table = [-1.5104, -0.4528, 0.4528, 1.5104]
    >>> bool(np.all(sweep(y, table).cosine >= cosine(y, table)))
    True
    """
    rows = np.asarray(y, dtype=np.float64)
    table = np.asarray(levels, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"y must have 2 dimensions (n, d), got {rows.ndim}")
    half = len(table) // 2
    if len(table) < 2 or not np.array_equal(table, -table[::-1]):
        raise ValueError("levels must be symmetric about 0")
    if not 0 <= window[0] < window[1]:
        raise ValueError(f"window must be ascending and not negative, got {window}")
    positive = table[half:]
    thresholds = 0.5 * (positive[1:] + positive[:-1])
    t = np.ones(len(rows))
    step = max(1, _EVENTS_PER_BLOCK // max(1, rows.shape[1] * max(1, len(thresholds))))
    for start in range(0, len(rows), step):
        stop = start + step
        t[start:stop] = _best_scales(np.abs(rows[start:stop]), positive, thresholds, window)
    return SweepResult(assign(rows, table, t), t, cosine(rows, table, t))


def kept_share(
    y: npt.ArrayLike, levels: npt.ArrayLike, scales: npt.ArrayLike, best: npt.ArrayLike | None = None
) -> float:
    """Share of the exact gain in distortion that trial scales keep; 1 is all of it.

    Distortion is 1 − cos², what is left after the best scale of the code. `best` takes the cosines of a sweep that was
    run before.

    >>> y = np.random.default_rng(0).standard_normal((200, 64))
    >>> table = [-1.5104, -0.4528, 0.4528, 1.5104]
    >>> 0.8 < kept_share(y, table, np.linspace(0.8, 1.2, 16)) <= 1.0
    True
    """
    exact = np.asarray(sweep(y, levels).cosine if best is None else best, dtype=np.float64)
    plain = np.mean(cosine(y, levels) ** 2)
    gain = float(np.mean(exact**2) - plain)
    return float(np.mean(best_of(y, levels, scales) ** 2) - plain) / gain if gain > 0 else 1.0


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.einsum("ij,ij->i", a, b))


def _best_scales(size: Floats, positive: Floats, thresholds: Floats, window: tuple[float, float]) -> Floats:
    """Middle of the best interval of scales for rows of absolute values, shape (n, d)."""
    n = len(size)
    low, high = window
    first = np.searchsorted(thresholds, low * size, side="left")
    last = np.full_like(first, len(thresholds))
    if np.isfinite(high):
        last = np.searchsorted(thresholds, high * size, side="left")
    width = int((last - first).max(initial=0))
    if width == 0:
        return np.ones(n)
    # One event per coordinate and threshold crossed inside the window; the unused ones sit at infinity.
    k = first[:, :, None] + np.arange(width)
    used = (k < last[:, :, None]) & (size[:, :, None] > 0)
    k = np.minimum(k, len(thresholds) - 1)
    at = np.full(k.shape, np.inf)
    np.divide(thresholds[k], size[:, :, None], out=at, where=used)
    along = np.where(used, size[:, :, None] * np.diff(positive)[k], 0.0).reshape(n, -1)
    energy = np.where(used, np.diff(positive**2)[k], 0.0).reshape(n, -1)
    at = at.reshape(n, -1)
    order = np.argsort(at, axis=1)
    at = np.take_along_axis(at, order, axis=1)

    start = positive[first]
    edge = np.full((n, 1), max(low, 0.0))
    a = np.concatenate([_dot(size, start)[:, None], np.take_along_axis(along, order, axis=1)], axis=1).cumsum(axis=1)
    q = np.concatenate([_dot(start, start)[:, None], np.take_along_axis(energy, order, axis=1)], axis=1).cumsum(axis=1)
    left = np.concatenate([edge, at], axis=1)
    right = np.concatenate([at, np.full((n, 1), np.inf)], axis=1)
    right = np.minimum(right, high)
    merit = np.where(right > left * (1.0 + _TIE), a / np.sqrt(q), -np.inf)
    pick = merit.argmax(axis=1)[:, None]
    lo, hi = np.take_along_axis(left, pick, axis=1)[:, 0], np.take_along_axis(right, pick, axis=1)[:, 0]
    middle = np.where(np.isfinite(hi), 0.5 * (lo + np.where(np.isfinite(hi), hi, 0.0)), 2.0 * lo)
    return np.where(np.isfinite(middle) & (middle > 0), middle, 1.0)
