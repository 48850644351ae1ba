"""Axes and what lies along them: eigenvectors of second moments, shrunk by how little the sample tells.

Score-weighted axes. A code replaces x by x + e, and a query sees q·e: on average over queries of second moment Q the
square of that is tr(Q·E[eeᵀ]). With y = Q^½ x the loss is |Q^½ e|², plain squared error again, and the query becomes
Q^−½ q, because q·x = (Q^−½ q)·(Q^½ x). So the best linear transform is the eigenbasis V of Q^½ C Q^½, C the second
moment of the rows: rows are multiplied with Vᵀ Q^½, queries with Vᵀ Q^−½. Where C and Q have the same axes, both are
orthogonal up to a factor for each axis, and what remains is to weigh the variance along an axis, λ, by that of queries.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .lapack import eigh
from .sample import Moments

Floats = NDArray[np.float64]

#: Queries count in every direction, at least with this share of an even spread: their sample does not show all.
LEAST_QUERY_SHARE = 0.01
#: No axis has less than this share of the even variance: its deviation is a divisor.
LEAST_VARIANCE = 2.0**-40


@dataclass(frozen=True)
class Spectrum:
    """Axes in descending order of cost.

    Attributes
    ----------
    rows : ndarray of float64, shape (d, d)
        What rows are multiplied with, one axis a row.
    queries : ndarray of float64 or None, shape (d, d)
        What queries are multiplied with; None if the same (then the axes are orthonormal).
    variance : ndarray of float64, shape (d,)
        Of unit rows along each axis.
    costs : ndarray of float64, shape (d,)
        What a relative squared error of 1 along each axis costs.
    shrinkage : float
        Share of the even spread in the second moment.
    """

    rows: Floats
    queries: Floats | None
    variance: Floats
    costs: Floats
    shrinkage: float


def shrunk(moments: Moments) -> tuple[Floats, float]:
    """Return the second moment of unit rows, (d, d), shrunk towards an even spread, and the share of that.

    The share is the oracle-approximating one (Chen, Wiesel, Eldar, Hero: Shrinkage algorithms for MMSE covariance
    estimation, 2010, equation 23), the least expected error for Gaussian rows. A sample of few rows is nearly even
    then, and the code nearly plain.

    >>> second, share = shrunk(Moments(4, np.diag([4.0, 0.0])))
    >>> share, second.tolist()
    (0.5, [[0.75, 0.0], [0.0, 0.25]])
    """
    dim, n = len(moments.second), moments.rows
    second = moments.second / max(1, n)
    even = float(np.trace(second)) / dim
    spread = float(np.sum(second * second))
    whole = (even * dim) ** 2
    excess = (n + 1.0 - 2.0 / dim) * (spread - whole / dim)
    share = 1.0 if excess <= 0 else min(1.0, ((1.0 - 2.0 / dim) * spread + whole) / excess)
    return (1.0 - share) * second + share * even * np.eye(dim), share


def orthonormal(moments: Moments) -> Spectrum:
    """Axes of the rows alone; the cost of an axis is its variance, so that what is minimised is the error of rows."""
    second, share = shrunk(moments)
    variance, axes = _descending(second)
    return Spectrum(axes, None, variance, variance, share)


def weighted(spectrum: Spectrum, power: float) -> Spectrum:
    """The same axes with costs λ^power.

    1 is the squared error of the rows. 2 is that of scores if queries are like rows: an axis matters as much as
    queries vary along it. In between, both count.
    """
    return replace(spectrum, costs=spectrum.variance**power)


def dual(moments: Moments, queries: Moments, power: float) -> Spectrum:
    """Axes for scores of given queries: Q^power stands for Q in the notes of this module."""
    second, share = shrunk(moments)
    wanted, _ = shrunk(queries)
    values, vectors = eigh(wanted)
    values = np.maximum(values, LEAST_QUERY_SHARE * values.mean()) ** (0.5 * power)
    root = (vectors * values) @ vectors.T
    inverse = (vectors / values) @ vectors.T
    variance, axes = _descending(root @ second @ root)
    # Total variance 1, as of unit rows: the deviations of a description have an upper limit.
    scale = np.sqrt(variance.sum())
    variance = variance / variance.sum()
    return Spectrum(axes @ root / scale, axes @ inverse * scale, variance, variance, share)


def even(dim: int, seed: int) -> Spectrum:
    """Random axes of one variance: what a plain code is, in the form of a fitted one."""
    axes = np.linalg.qr(np.random.default_rng([seed, dim]).standard_normal((dim, dim)))[0]
    variance = np.full(dim, 1.0 / dim)
    return Spectrum(axes, None, variance, variance, 1.0)


def _descending(matrix: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues, at least a trifle, and eigenvectors as rows, the largest first."""
    values, vectors = eigh(matrix)
    values, axes = values[::-1], vectors[:, ::-1].T
    # The sign of an eigenvector is LAPACK's whim; the largest coordinate is made positive.
    top = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return np.maximum(values, LEAST_VARIANCE * max(values[0], 0.0) + 1e-30), axes * np.where(top < 0, -1.0, 1.0)
