"""A flat index over codes with three metrics: what :class:`turboquant_rs.Index` must return."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .codes import Codes
from .fitted_codec import FittedTurboQuant
from .mse import TurboQuant
from .originals import exact_scores, kept
from .rows import TINY, norm, prepare
from .scan import score
from .staged import DEVIATIONS, clamp, has_first_stage, row_bounds, upper
from .topk import top_k

#: With metric "l2" norms must be below this, so that their squares are finite.
L2_NORM_LIMIT = 2.0**63


class Index:
    """An exact scan of codes. Scores: inner product or cosine (larger is nearer), or squared L2 distance (smaller is
    nearer); of the codes, and at most what their first stage allows (docs/numerics.md section 12).

    Rows that a fitted codec codes badly, since they are unlike its sample, are kept as plain codes beside the others.
    With ``keep`` the rows themselves are kept, too, in that form, for exact scores.

    Examples
    --------
    >>> ix = Index(TurboQuant(8, bits=8), metric="l2")
    >>> ix.add(np.eye(8, dtype=np.float32), np.arange(8))
    >>> ix.search(np.eye(8, dtype=np.float32)[3:4], k=1)[1]
    array([[3]])
    """

    def __init__(self, codec: TurboQuant, metric: str = "ip", keep: str | None = None) -> None:
        self.codec = codec
        self.metric = metric
        self.keep = keep
        self.ids = np.empty(0, np.int64)
        #: The strings that the ids of an index file stand for, where they do.
        self.names: list[str] | None = None
        #: Codecs with their rows: numbers in the order of adding, codes.
        self.partitions: list[tuple[TurboQuant, NDArray[np.int64], Codes]] = []
        self.squares = np.empty(0, np.float32)
        self.originals = np.empty((0, codec.dim))

    def add(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Append rows (n, dim) float32 under ``ids`` (n,) int64."""
        unit_norm = self.metric == "cosine"
        numbers = len(self.ids) + np.arange(len(x))
        badly = np.zeros(len(x), bool)
        codec = self.codec
        if isinstance(codec, FittedTurboQuant) and codec.plain is not None:
            badly = codec.coded_badly(x, unit_norm=unit_norm)
            self.append(codec.plain, numbers[badly], codec.plain.encode(x[badly], unit_norm=unit_norm))
        self.append(codec, numbers[~badly], codec.encode(x[~badly], unit_norm=unit_norm))
        if self.metric == "l2":
            self.squares = np.concatenate([self.squares, squared_norm(x)])
        if self.keep is not None:
            self.originals = np.concatenate([self.originals, kept(x, self.keep)])
        self.ids = np.concatenate([self.ids, ids])

    def upsert(self, x: NDArray[np.float32], ids: NDArray[np.int64]) -> None:
        """Append rows under ``ids``; those that are there with the same ids go."""
        self.remove(self.ids[np.isin(self.ids, ids)])
        self.add(x, ids)

    def remove(self, ids: NDArray[np.int64]) -> None:
        """Drop the rows of ``ids``; the others get new numbers, in the same order."""
        self.retain(~np.isin(self.ids, ids))

    def retain(self, stays: NDArray[np.bool_]) -> None:
        """Keep the rows for which ``stays`` (n,) is true."""
        new_number = np.cumsum(stays) - 1
        for i, (codec, numbers, codes) in enumerate(self.partitions):
            here = stays[numbers]
            some = Codes(codes.packed[here], codes.scales[here], codes.spec, codes.keep)
            self.partitions[i] = (codec, new_number[numbers[here]], some)
        self.ids = self.ids[stays]
        if self.names is not None:
            self.names = [self.names[row] for row in np.flatnonzero(stays)]
        self.squares = self.squares[stays] if self.metric == "l2" else self.squares
        self.originals = self.originals[stays] if self.keep is not None else self.originals

    def append(self, codec: TurboQuant, numbers: NDArray[np.int64], codes: Codes) -> None:
        """Append codes to the partition of their codec."""
        for i, (other, old_numbers, old) in enumerate(self.partitions):
            if other.spec == codec.spec:
                packed, scales = np.concatenate([old.packed, codes.packed]), np.concatenate([old.scales, codes.scales])
                both = Codes(packed, scales, codes.spec, codes.keep)
                self.partitions[i] = (codec, np.concatenate([old_numbers, numbers]), both)
                return
        self.partitions.append((codec, numbers, codes))

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        rescore: int | None = None,
        *,
        allowed: NDArray[np.bool_] | None = None,
        deviations: float = DEVIATIONS,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return (scores, ids), (nq, k) each, nearest first: of all rows, or of those ``allowed`` (n,) is true for.

        Scores are cut ``deviations`` standard deviations above the estimates from their first stages.

        With ``rescore`` the best of the k · rescore nearest, by exact scores.
        """
        if rescore is not None:
            _, candidates = self.search(
                queries, min(k * rescore, len(self.ids)), allowed=allowed, deviations=deviations
            )
            found = [self.best_of(query, ids[ids >= 0], k) for query, ids in zip(queries, candidates, strict=True)]
            scores, ids = np.array([scores for scores, _ in found]), np.array([ids for _, ids in found])
            return scores.reshape(len(queries), k).astype(np.float32), ids.reshape(len(queries), k).astype(np.int64)
        allowed = np.ones(len(self.ids), bool) if allowed is None else allowed
        l2 = self.metric == "l2"
        scores, ids = top_k(self.ranked_by(queries, deviations)[:, allowed], self.ids[allowed], k, smaller_is_nearer=l2)
        return (np.maximum(scores, np.float32(0)) if l2 else scores), ids

    def range_search(
        self,
        queries: NDArray[np.float32],
        threshold: float,
        *,
        allowed: NDArray[np.bool_] | None = None,
        deviations: float = DEVIATIONS,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Return (lims, scores, ids): query i's are at ``lims[i]:lims[i + 1]``, in the order of a search.

        They are the rows whose score, as a search returns it, is at least the threshold (float32), with "l2" at most.

        >>> ix = Index(TurboQuant(8, bits=8), metric="l2")
        >>> ix.add(np.eye(8, dtype=np.float32), np.arange(8))
        >>> lims, scores, ids = ix.range_search(np.eye(8, dtype=np.float32)[3:5], 0.1)
        >>> lims.tolist(), ids.tolist()
        ([0, 1, 2], [3, 4])
        """
        scores, ids = self.search(queries, len(self.ids), allowed=allowed, deviations=deviations)
        limit = np.float32(threshold)
        within = (scores <= limit if self.metric == "l2" else scores >= limit) & (ids >= 0)
        return np.concatenate([[0], np.cumsum(within.sum(axis=1))]), scores[within], ids[within]

    def ranked_by(self, queries: NDArray[np.float32], deviations: float = DEVIATIONS) -> NDArray[np.float32]:
        """Return what every row is ranked by, (nq, n): scores, larger is nearer, or distances, smaller is nearer."""
        s = np.empty((len(queries), len(self.ids)), np.float32)
        for codec, numbers, codes in self.partitions:
            s[:, numbers] = score(codec, queries, codes, cosine=self.metric == "cosine")
            if has_first_stage(codec):
                cosine = self.metric == "cosine"
                ends = upper(codec, queries, codes, row_bounds(codec, codes), cosine=cosine, deviations=deviations)
                s[:, numbers] = clamp(s[:, numbers], ends)
        if self.metric != "l2":
            return s
        return (squared_norm(queries)[:, None] + self.squares) - np.float32(2) * s

    def best_of(
        self, query: NDArray[np.float32], ids: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the k best of ``ids`` by exact scores, (k,) each."""
        order = np.argsort(self.ids)
        rows = self.originals[order[np.searchsorted(self.ids, ids, sorter=order)]]
        scores = exact_scores(self.metric, query, rows)
        best, found = top_k(scores[None], ids, k, smaller_is_nearer=self.metric == "l2")
        return best[0], found[0]


def squared_norm(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |x|² of rows (n, dim) as (n,) float32: the norm of docs/numerics.md section 2, squared once."""
    row, exponent = prepare(x)
    n = np.ldexp(norm(row), exponent)
    if (n >= L2_NORM_LIMIT).any():
        raise ValueError("norms must be below 2**63 for squared L2 distances")
    square = n * n
    return np.where(square < TINY, np.float32(0), square)
