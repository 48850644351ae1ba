"""What is measured: recall, distortion, error of inner products, bytes."""

from __future__ import annotations

import functools
from collections.abc import Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .neighbors import METRICS, Truth, scores_of, true_neighbors

__all__ = [
    "METRICS",
    "InnerProductError",
    "Truth",
    "bytes_per_vector",
    "distortion",
    "inner_product_error",
    "one_at_k",
    "overlap_at_k",
    "scores_of",
    "theory_distortion",
    "true_neighbors",
]

EPS = 1e-6  # scores that differ by less than this share of their scale are tied


class Compressed(Sized, Protocol):
    """Something with a length in vectors and a size in bytes: codes, an index, an array."""

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        ...


def overlap_at_k(truth: Truth, ids: npt.ArrayLike, k: int = 10, *, eps: float = EPS) -> float:
    """k@k: the share of the true top k among the first k returned, averaged over queries.

    A returned row counts when it is as near as the true k-th, up to a tie: scores within eps of each other, relative to
    |q||x| (ip), 1 (cosine) or |q|² + |x|² (l2, squared) of the true k-th. An id returned twice counts once.

    Parameters
    ----------
    truth : Truth
        With at least k neighbours.
    ids : array_like of int, shape (nq, ≥ k)
        Best first; negative ids are padding.
    k : int
    eps : float

    Returns
    -------
    float, 0 to 1

    Examples
    --------
    >>> truth = true_neighbors([[1.0], [0.9], [0.9], [0.1]], [[1.0]], k=2)
    >>> [overlap_at_k(truth, [found], k=2) for found in ([0, 1], [2, 0], [0, 3], [0, 0])]
    [1.0, 1.0, 0.5, 0.5]
    """
    found = _first(truth, ids, k)
    near = scores_of(truth, found) >= (_merit(truth, k - 1) - eps * _scale(truth, k - 1))[:, None]
    return float(np.mean((near & _unrepeated(found)).sum(axis=1) / k))


def one_at_k(truth: Truth, ids: npt.ArrayLike, k: int = 10, *, eps: float = EPS) -> float:
    """1@k: how often the true nearest row, or one tied with it, is among the first k returned.

    >>> truth = true_neighbors([[1.0], [0.9], [0.1]], [[1.0], [2.0]], k=1)
    >>> one_at_k(truth, [[1, 0], [1, 2]], k=2)
    0.5
    """
    near = scores_of(truth, _first(truth, ids, k)) >= (_merit(truth, 0) - eps * _scale(truth, 0))[:, None]
    return float(np.mean(near.any(axis=1)))


def distortion(x: npt.ArrayLike, x_hat: npt.ArrayLike) -> float:
    """Mean of |x − x̂|²/|x|² over rows (n, d); the paper's D_mse. Zero rows count only if x̂ is not zero, as infinite.

    >>> distortion([[3.0, 4.0], [0.0, 0.0]], [[3.0, 3.0], [0.0, 0.0]])
    0.04
    """
    a, b = np.asarray(x, dtype=np.float64), np.asarray(x_hat, dtype=np.float64)
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"x and x_hat must have one shape (n, d), got {a.shape} and {b.shape}")
    error, energy = np.einsum("ij,ij->i", a - b, a - b), np.einsum("ij,ij->i", a, a)
    rows = (energy > 0) | (error > 0)
    with np.errstate(divide="ignore"):
        return float(np.mean(error[rows] / energy[rows])) if rows.any() else 0.0


@dataclass(frozen=True)
class InnerProductError:
    """Error e = (⟨q, x̂⟩ − ⟨q, x⟩) / (|q||x|) over all pairs, with ρ the cosine of q and x.

    Attributes
    ----------
    bias : float
        Slope of the estimate against the truth, through 0, minus 1; 0 for an unbiased scale.
    mean : float
        Of e.
    variance_times_dim : float
        d times the variance of e: about 1/cos² − 1 of the code at ρ = 0, the paper's d·D_prod.
    rank_error_times_dim : float
        d times the mean squared residual after the slope is taken out, which is what a ranking sees.
    rms : float
        Root mean square of e.
    pairs : int
    """

    bias: float
    mean: float
    variance_times_dim: float
    rank_error_times_dim: float
    rms: float
    pairs: int


def inner_product_error(x: npt.ArrayLike, x_hat: npt.ArrayLike, q: npt.ArrayLike) -> InnerProductError:
    """Errors of ⟨q, x̂⟩ against ⟨q, x⟩ for every pair.

    Parameters
    ----------
    x, x_hat : array_like, shape (n, d)
        Rows and their decoded codes; x without zero rows.
    q : array_like, shape (nq, d)
        Without zero rows.

    Returns
    -------
    InnerProductError

    Examples
    --------
    >>> x = np.eye(4)
    >>> error = inner_product_error(x, 1.5 * x, x)
    >>> error.bias, error.rank_error_times_dim
    (0.5, 0.0)
    """
    a, b, v = (np.asarray(m, dtype=np.float64) for m in (x, x_hat, q))
    if a.ndim != 2 or a.shape != b.shape or v.ndim != 2 or v.shape[1] != a.shape[1]:
        raise ValueError(f"x, x_hat must be (n, d) and q (nq, d), got {a.shape}, {b.shape}, {v.shape}")
    size, length = np.linalg.norm(a, axis=1), np.linalg.norm(v, axis=1)
    if not size.all() or not length.all():
        raise ValueError("x and q must not have zero rows")
    v = v / length[:, None]
    n = square = cross = total = error2 = 0.0
    for start in range(0, len(a), 4096):
        part = slice(start, start + 4096)
        rho = v @ (a[part] / size[part, None]).T
        e = v @ (b[part] / size[part, None]).T - rho
        n += e.size
        square += float(np.sum(rho * rho))
        cross += float(np.sum(rho * e))
        total += float(np.sum(e))
        error2 += float(np.sum(e * e))
    dim, mean, slope = a.shape[1], total / n, cross / square if square else 0.0
    return InnerProductError(
        bias=slope,
        mean=mean,
        variance_times_dim=dim * (error2 / n - mean * mean),
        rank_error_times_dim=dim * max(0.0, error2 - slope * cross) / n / (1.0 + slope) ** 2,
        rms=(error2 / n) ** 0.5,
        pairs=int(n),
    )


def bytes_per_vector(compressed: Compressed) -> float:
    """Bytes of everything kept, codes and scales, divided by the number of vectors.

    >>> bytes_per_vector(np.zeros((10, 48), np.uint8))
    48.0
    """
    n = len(compressed)
    if n == 0:
        raise ValueError("an empty collection has no bytes per vector")
    return compressed.nbytes / n


@functools.cache
def theory_distortion(bits: int, dim: int | None = None) -> float:
    """Distortion of equation 4's optimum for a random unit vector (arXiv 2504.19874, theorem 1).

    Solved for the Beta law of `dim` ≥ 2 coordinates, or the Gaussian limit for None; with the paper's scale n/√d. The
    shipped Gaussian table is within 0.5 % of it wherever the codec uses it.

    >>> [round(theory_distortion(bits), 4) for bits in (1, 2, 3, 4)]
    [0.3634, 0.1175, 0.0345, 0.0095]
    >>> round(theory_distortion(4, 128), 6)
    0.009315
    """
    from turboquant_rs.reference.lloyd_max import solve

    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be between 1 and 8, got {bits}")
    value: float = solve(bits, dim).distortion
    return value


def _first(truth: Truth, ids: npt.ArrayLike, k: int) -> npt.NDArray[np.int64]:
    found = np.asarray(ids)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    if found.ndim != 2 or found.shape[0] != len(truth.queries) or found.shape[1] < k:
        raise ValueError(f"ids must have shape ({len(truth.queries)}, at least {k}), got {found.shape}")
    return found[:, :k].astype(np.int64)


def _merit(truth: Truth, rank: int) -> npt.NDArray[np.float64]:
    if rank >= truth.scores.shape[1]:
        raise ValueError(f"truth has {truth.scores.shape[1]} neighbours a query, {rank + 1} are needed")
    column = truth.scores[:, rank]
    return np.asarray(-column if truth.metric == "l2" else column)


def _scale(truth: Truth, rank: int) -> npt.NDArray[np.float64]:
    if truth.metric == "cosine":
        return np.ones(len(truth.queries))
    q = np.linalg.norm(truth.queries.astype(np.float64), axis=1)
    x = np.linalg.norm(truth.base[truth.ids[:, rank]].astype(np.float64), axis=1)
    return np.asarray(q * q + x * x if truth.metric == "l2" else q * x)


def _unrepeated(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """True at the first of equal ids of a row."""
    earlier = (ids[:, :, None] == ids[:, None, :]) & np.tri(ids.shape[1], k=-1, dtype=bool)
    return np.asarray(~earlier.any(axis=2))
