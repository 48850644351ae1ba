"""The solver of equation 4: the scalar quantizer of least squared error for one coordinate of a rotated vector.

A coordinate of a random unit vector of ``dim`` dimensions has the Beta density of Lemma 1 (arXiv 2504.19874)

    f(x) = Γ(dim/2) / (√π·Γ((dim−1)/2)) · (1 − x²)^((dim−3)/2),    −1 ≤ x ≤ 1,

which tends to N(0, 1/dim). Everything here is in *unit-variance* coordinates √dim·x, so that tables of different
dimensions, and the Gaussian limit, look alike.

Equation 4 asks for the 2^bits levels that minimise E(x − nearest level)². At the optimum every boundary is the midpoint
of its levels and every level is the mean of its cell. Both densities are even, and so is the optimum: only the positive
half of the levels is solved for, with a boundary at 0. Lloyd's alternation approaches it, Newton's method finishes.

Nothing here runs between a row and its bytes: ``make_tables`` rounds the answers to float32 once and they are shipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# 64 Gauss-Legendre nodes a cell integrate cos^125 over a quarter turn, and a Gaussian over REACH, to the last bits.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)

# The mass beyond REACH standard deviations above the last boundary is less than e^-40 of the last cell's.
REACH = 9.0

_LLOYD_STEPS = 20
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Law:
    """An even density of one coordinate, seen through a variable ``t`` in which it is smooth up to its ends.

    ``x(t)`` is the unit-variance coordinate, ``t(x)`` its inverse, ``weight(t)`` = f(x(t))·dx/dt,
    ``density(x)`` = f(x), ``end`` the largest x.
    """

    x: Callable[[Array], Array]
    t: Callable[[Array], Array]
    weight: Callable[[Array], Array]
    density: Callable[[Array], Array]
    end: float


def gaussian_law() -> Law:
    """Return N(0, 1), the limit of Lemma 1 for large dimensions; ``t`` is x itself."""

    def density(x: Array) -> Array:
        value: Array = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return value

    return Law(x=lambda t: t, t=lambda x: x, weight=density, density=density, end=math.inf)


def beta_law(dim: int) -> Law:
    """Return Lemma 1's law of √dim·(a coordinate of a random unit vector of ``dim`` ≥ 2 dimensions).

    With x = √dim·sin t the density becomes K·cos(t)^(dim−2): a plain trigonometric polynomial, without the endpoint
    singularities that (1 − x²)^((dim−3)/2) has at dim = 2 (where it is infinite) and at other even dims (a root).
    """
    if dim < 2:
        raise ValueError(f"dim must be at least 2, got {dim}")
    root = math.sqrt(dim)
    constant = math.exp(math.lgamma(dim / 2) - math.lgamma((dim - 1) / 2)) / math.sqrt(math.pi)

    def x(t: Array) -> Array:
        value: Array = root * np.sin(t)
        return value

    def t(x: Array) -> Array:
        value: Array = np.arcsin(np.minimum(x / root, 1.0))
        return value

    def weight(t: Array) -> Array:
        value: Array = constant * np.cos(t) ** (dim - 2)
        return value

    def density(x: Array) -> Array:
        value: Array = constant / root * (1 - (x / root) ** 2) ** ((dim - 3) / 2)
        return value

    return Law(x, t, weight, density, end=root)


@dataclass(frozen=True)
class Quantizer:
    """A symmetric scalar quantizer of a unit-variance coordinate. All arrays are float64.

    ``levels`` (2^bits,) ascending, ``boundaries`` (2^bits − 1,) between them, ``masses`` (2^bits,) the probability of
    each cell, ``distortion`` E(x − level)², ``residual`` max |level − mean of its cell| when it was solved for.
    """

    levels: Array
    boundaries: Array
    masses: Array
    distortion: float
    residual: float

    @property
    def bits(self) -> int:
        """The width of its codes."""
        return len(self.levels).bit_length() - 1

    def keep(self, bits: int) -> Quantizer:
        """Return the quantizer of the top ``bits`` bits of each code: merged cells, each decoded to its mean.

        Cells are numbered in ascending order, so the codes that share their top bits are neighbours.

        >>> top = solve(4).keep(2)
        >>> top.levels.round(4), round(top.distortion, 4)
        (array([-1.6052, -0.4968,  0.4968,  1.6052]), 0.1203)
        """
        if not 1 <= bits <= self.bits:
            raise ValueError(f"bits must be between 1 and {self.bits}, got {bits}")
        run = 1 << (self.bits - bits)
        masses = self.masses.reshape(-1, run).sum(axis=1)
        means = (self.masses * self.levels).reshape(-1, run).sum(axis=1) / masses
        return Quantizer(means, self.boundaries[run - 1 :: run], masses, _distortion(means, masses), self.residual)


def solve(bits: int, dim: int | None = None) -> Quantizer:
    """Return equation 4's optimum for ``bits`` ≥ 1 bits: Lemma 1's law for a ``dim`` ≥ 2, the Gaussian for None.

    Deterministic up to the last bits of the platform's exp, sin, cos; residual < 1e-12. A few milliseconds.

    Examples
    --------
    The paper gives ±√(2/π), and ±0.453, ±1.51, both over √d, for large d (section 3.1):

    >>> solve(1).levels, solve(2).levels.round(4)
    (array([-0.79788456,  0.79788456]), array([-1.5104, -0.4528,  0.4528,  1.5104]))
    >>> solve(2, dim=3).levels * 4 / 3**0.5          # a coordinate in three dimensions is uniform (Archimedes)
    array([-3., -1.,  1.,  3.])
    """
    if bits < 1:
        raise ValueError(f"bits must be at least 1, got {bits}")
    return solve_law(gaussian_law() if dim is None else beta_law(dim), bits)


def solve_law(law: Law, bits: int) -> Quantizer:
    """Return the optimum for ``bits`` ≥ 1 bits of an even law of unit variance; residual < 1e-12."""
    c = _companded(law, 1 << (bits - 1))
    for _ in range(_LLOYD_STEPS):
        masses, moments = cell_integrals(law, c)
        c = moments / masses
    residual = math.inf
    for _ in range(_NEWTON_STEPS):
        step, candidate = _newton(law, c)
        if candidate >= residual / 2:  # Newton doubles the digits until rounding stops it
            break
        residual = candidate
        c = c - step
    masses, moments = cell_integrals(law, c)
    residual = float(np.abs(c - moments / masses).max())
    if not residual < 1e-12:
        raise ArithmeticError(f"no convergence for {bits} bits: residual {residual}")
    middle = 0.5 * (c[:-1] + c[1:])
    return Quantizer(
        levels=np.concatenate([-c[::-1], c]),
        boundaries=np.concatenate([-middle[::-1], [0.0], middle]),
        masses=np.concatenate([masses[::-1], masses]),
        distortion=_distortion(c, 2 * masses),
        residual=residual,
    )


def _distortion(levels: Array, masses: Array) -> float:
    """E(x − c)² = E x² − E c² where every level is the mean of its cell, and E x² = 1."""
    return 1.0 - float((masses * levels * levels).sum())


def _companded(law: Law, count: int) -> Array:
    """Return ``count`` ascending positive start levels, at the quantiles of the density f^(1/3) (Panter and Dite 1951).

    That density is the optimum's for many levels, so the start is good exactly where Lloyd's alternation is slow.
    """
    x = np.linspace(0.0, min(law.end, 4 * REACH), 1 << 16)
    middle = 0.5 * (x[:-1] + x[1:])
    mass = np.concatenate([[0.0], np.cumsum(np.cbrt(law.density(middle)))])
    start: Array = np.interp((np.arange(count) + 0.5) / count, mass / mass[-1], x)
    return start


def cell_integrals(law: Law, c: Array) -> tuple[Array, Array]:
    """Return ∫ f and ∫ x·f over the cell of each positive level ``c``, by Gauss-Legendre quadrature in ``t``.

    All three are (N,); the cells end at 0, at the midpoints of the ascending ``c`` and at the law's end. Closed forms
    of ∫ x·f exist, but they subtract nearly equal numbers; a mean over positive weights loses no digit.
    """
    middle = 0.5 * (c[:-1] + c[1:])
    last = middle[-1] if len(middle) else 0.0
    edges = law.t(np.concatenate([[0.0], middle, [min(law.end, last + REACH)]]))
    half = 0.5 * np.diff(edges)[:, None]
    t = edges[:-1, None] + half * (1.0 + _NODES)
    weights = half * _WEIGHTS * law.weight(t)
    masses: Array = weights.sum(axis=1)
    moments: Array = (weights * law.x(t)).sum(axis=1)
    return masses, moments


def _newton(law: Law, c: Array) -> tuple[Array, float]:
    """Return Newton's step for F(c) = 0 and max |F_k / P_k|, where F_k = c_k·P_k − M_k, P_k the mass, M_k the moment.

    A boundary β between c_k and c_{k+1} moves half as fast as either, and c_k − β = −(c_{k+1} − c_k)/2, so it
    contributes −w with w = f(β)·(c_{k+1} − c_k)/4 to both diagonal entries and to both entries beside them.
    """
    masses, moments = cell_integrals(law, c)
    f = c * masses - moments
    w = 0.25 * law.density(0.5 * (c[:-1] + c[1:])) * np.diff(c)
    diagonal = masses.copy()
    diagonal[:-1] -= w
    diagonal[1:] -= w
    return _solve_tridiagonal(diagonal, -w, f), float(np.abs(f / masses).max())


def _solve_tridiagonal(diagonal: Array, beside: Array, right: Array) -> Array:
    """Solve a symmetric tridiagonal system by elimination without pivots (the matrix is positive definite)."""
    d, y = diagonal.copy(), right.copy()
    for k in range(1, len(d)):
        factor = beside[k - 1] / d[k - 1]
        d[k] -= factor * beside[k - 1]
        y[k] -= factor * y[k - 1]
    y[-1] /= d[-1]
    for k in range(len(d) - 2, -1, -1):
        y[k] = (y[k] - beside[k] * y[k + 1]) / d[k]
    return y
