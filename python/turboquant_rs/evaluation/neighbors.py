"""True neighbours, by brute force in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

METRICS = ("ip", "cosine", "l2")

_BLOCK_SCORES = 1 << 22  # scores of one block, 32 MiB in float64
_BLOCK_VALUES = 1 << 22  # coordinates of one block of rows


@dataclass(frozen=True)
class Truth:
    """The k nearest rows of each query.

    Attributes
    ----------
    ids : ndarray of int64, shape (nq, k)
        Nearest first, equal scores by the lower id.
    scores : ndarray of float64, shape (nq, k)
        Inner product, cosine or squared L2 distance.
    metric : str
    base, queries : ndarray, shape (n, d) and (nq, d)
        As given; the metrics of recall score the ids that a search returns against them.
    """

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float64]
    metric: str
    base: npt.NDArray[np.floating]
    queries: npt.NDArray[np.floating]


def true_neighbors(base: npt.ArrayLike, queries: npt.ArrayLike, k: int = 10, metric: str = "ip") -> Truth:
    """Find the k nearest rows of each query exactly.

    Scores are float64 products in blocks, so memory stays below about 200 MiB beside the inputs.

    Parameters
    ----------
    base : array_like, shape (n, d)
        Any float dtype.
    queries : array_like, shape (nq, d)
    k : int, 1 to n
    metric : {"ip", "cosine", "l2"}
        Inner product, cosine (0 for a zero vector) or squared L2 distance.

    Returns
    -------
    Truth

    Examples
    --------
    >>> truth = true_neighbors([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]], [[1.0, 0.5]], k=2)
    >>> truth.ids.tolist(), truth.scores.tolist()
    ([[2, 0]], [[3.0, 1.0]])
    """
    x, q = _matrix(base, "base"), _matrix(queries, "queries")
    if x.shape[1] != q.shape[1]:
        raise ValueError(f"queries must have {x.shape[1]} columns (the base's), got {q.shape[1]}")
    if not 1 <= k <= len(x):
        raise ValueError(f"k must be between 1 and {len(x)} (the rows of base), got {k}")
    if metric not in METRICS:
        raise ValueError(f"metric must be one of {METRICS}, got {metric!r}")
    if not len(q):
        raise ValueError("queries must have at least one row, got 0")
    rows = max(1, min(8192, _BLOCK_VALUES // max(1, x.shape[1])))
    step = max(1, _BLOCK_SCORES // rows)
    ids = np.empty((len(q), 0), np.int64)
    merit = np.empty((len(q), 0))
    for start in range(0, len(x), rows):
        block = x[start : start + rows].astype(np.float64)
        near = [_nearest(q[i : i + step].astype(np.float64), block, k, metric) for i in range(0, len(q), step)]
        ids = np.concatenate([ids, np.concatenate([columns for columns, _ in near]) + start], axis=1)
        merit = np.concatenate([merit, np.concatenate([scores for _, scores in near])], axis=1)
        pick = _top(merit, k)  # earlier blocks stand to the left, so ties go to the lower id
        ids, merit = np.take_along_axis(ids, pick, axis=1), np.take_along_axis(merit, pick, axis=1)
    return Truth(ids, -merit if metric == "l2" else merit, metric, x, q)


def scores_of(truth: Truth, ids: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """True scores of returned ids, larger is nearer; float64 of the shape of ids, (nq, k).

    L2 comes as the negative squared distance; a negative id has −inf.

    >>> truth = true_neighbors([[1.0], [4.0]], [[2.0]], k=1, metric="l2")
    >>> scores_of(truth, [[1, -1]]).tolist()
    [[-4.0, -inf]]
    """
    wanted = np.asarray(ids)
    if wanted.ndim != 2 or len(wanted) != len(truth.queries):
        raise ValueError(f"ids must have shape ({len(truth.queries)}, k), got {wanted.shape}")
    out = np.full(wanted.shape, -np.inf)
    for i, row in enumerate(wanted):
        known = row >= 0
        block = truth.base[row[known]].astype(np.float64)
        out[i, known] = _merit(truth.queries[i : i + 1].astype(np.float64), block, truth.metric)[0]
    return out


def _merit(q: npt.NDArray[np.float64], x: npt.NDArray[np.float64], metric: str) -> npt.NDArray[np.float64]:
    """Scores (nq, n), larger is nearer."""
    product = np.asarray(q @ x.T)
    if metric == "ip":
        return product
    qq, xx = np.einsum("ij,ij->i", q, q)[:, None], np.einsum("ij,ij->i", x, x)[None, :]
    if metric == "l2":
        return np.asarray(np.minimum(2.0 * product - qq - xx, 0.0))
    norms = np.sqrt(qq * xx)
    return np.asarray(np.divide(product, norms, out=np.zeros_like(product), where=norms > 0))


def _nearest(
    q: npt.NDArray[np.float64], x: npt.NDArray[np.float64], k: int, metric: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float64]]:
    merit = _merit(q, x, metric)
    pick = _top(merit, k)
    return pick, np.take_along_axis(merit, pick, axis=1)


def _top(merit: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.intp]:
    """Columns of the k largest per row, equal ones by the lower column, best first."""
    columns = np.broadcast_to(np.arange(merit.shape[1]), merit.shape)
    if merit.shape[1] > 4 * k:
        keep = merit >= -np.partition(-merit, k - 1, axis=1)[:, k - 1 : k]
        # Ties at the cut make this more than k in some rows; short rows are filled up with columns that lose below.
        width = int(keep.sum(axis=1).max(initial=k))
        columns = np.sort(np.argpartition(~keep, width - 1, axis=1)[:, :width], axis=1)
    order = np.argsort(-np.take_along_axis(merit, columns, axis=1), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(columns, order, axis=1)


def _matrix(values: npt.ArrayLike, name: str) -> npt.NDArray[np.floating]:
    array = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{name} must have 2 dimensions (rows, columns), got {array.ndim}")
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
