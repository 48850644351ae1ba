"""Searches of an index: the nearest vectors, all within a threshold, of all or of those that a filter allows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import TO_HOST, as_deviations, as_flag, as_int, as_threads, as_threshold, back
from ._core import Filter as RowFilter
from ._device import describe, on_cuda
from ._ids import as_names
from ._rescore import Source, best, from_source
from ._results import Out, SearchStats, as_stats, places
from .codec import Metric, queries_of
from .filters import Allowed, Filter, as_filter

if TYPE_CHECKING:
    from .codec import TurboQuant
    from .gpu.index import DeviceIndex


class Searches:
    """What an index finds."""

    __slots__ = ()

    _core: _core.FlatIndex
    codec: TurboQuant
    metric: Metric
    keep: str | None
    _placed: DeviceIndex | None

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    def __len__(self) -> int:
        raise NotImplementedError

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        filter: Allowed | None = None,  # noqa: A002 - the word that users look for
        exact: bool = False,
        deviations: float = 3.0,
        rescore: int | None = None,
        rescore_from: Source | None = None,
        out: Out | None = None,
        stats: SearchStats | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return the ``k`` nearest vectors of every query, nearest first; equal scores by the lower id.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`TurboQuant.encode`, in host memory or, of an index on a GPU, on that GPU; norms below 2**96
            (below 2**63 with "l2"). One 1-D query gives 1-D results.
        k : int, default 10
            At least 1. Beyond the number of vectors that are allowed, ids are −1 (None in an index of string ids) and
            scores −inf (+inf with "l2").
        filter : Filter, array_like of bool, int or str, range or slice, optional
            The vectors that may be returned, as for :meth:`filter`; by default all. The result is the ranking of all
            vectors without the others. Blocks of 16 vectors without one that is allowed are not read.
        exact : bool, default False
            Read every vector in full. By default few queries, or any number where products are dear, read the first
            stage of every vector and the rest of those that may be among the k nearest. The result is the same.
        deviations : float, default 3.0
            How many standard deviations of its error a score may lie above the estimate from the first stage: what lies
            higher is cut to that, whether ``exact`` or not (docs/numerics.md section 12). 3 costs less than 0.001 of
            recall. Fewer leave more vectors unread and lose some neighbors; for every value, results are those of the
            same ranking whatever k, batch, threads or processor. 0 to 1000.
        rescore : int, optional
            Find the ``rescore · k`` nearest by codes, and of these the k nearest by exact scores. The index must keep
            vectors (``Index(..., keep="float16")``), or ``rescore_from`` must have them. The first ten of k = 100 are
            then no longer those of k = 10.
        rescore_from : array_like, shape (m, dim), or callable, optional
            The vectors for ``rescore``: row i of an array, memory-mapped or not, is the vector of id i; a function gets
            an array of n distinct ids and returns their vectors, (n, dim).
        out : (ndarray of float32, ndarray of int64), optional
            Where to write scores and ids: C-contiguous, of the result's shapes, apart from each other and the queries.
            They are returned. Not in an index of string ids, nor for queries on a GPU.
        stats : SearchStats, optional
            What the search read of codes is added to it.
        threads : int, optional
            Threads to use; by default one a core. Results do not depend on it.

        Returns
        -------
        scores : ndarray of float32, shape (nq, k) or (k,)
            Estimates from the codes: inner products, cosines (which may pass 1 by the estimate's error), or squared
            L2 distances, never below 0. With ``rescore`` exact ones, computed in float64 and rounded once; equal on
            every machine, too (docs/numerics.md section 14). In the array namespace of ``queries``, as are the ids; or
            ``out``.
        ids : ndarray of int64 or of objects (str), shape (nq, k) or (k,)

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.encode` and :meth:`filter`, for k or rescore below 1, for rescore without vectors,
            for vectors of ``rescore_from`` that are missing or not finite, for ``out`` that does not fit, for queries
            on another device than the index, and for a filter of another index or from before removed vectors' place
            was taken back (see :meth:`compact`).

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> x = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
        >>> index = Index(64, bits=2, keep="float16")
        >>> ids = index.add(x)
        >>> scores, found = index.search(x[7], k=3, rescore=4)
        >>> int(found[0]), bool(abs(scores[0] - (x[7] ** 2).sum()) < 0.1)
        (7, True)
        >>> out = np.empty(3, np.float32), np.empty(3, np.int64)
        >>> scores, found = index.search(np.ones(64), 3, filter=range(100), out=out)
        >>> found is out[1], bool((found < 100).all())
        (True, True)
        """
        k = as_int(k, "k", 1, (1 << 63) - 1)
        rows, single = self._queries(queries)
        exact, stats, threads = as_flag(exact, "exact"), as_stats(stats), as_threads(threads)
        deviations = as_deviations(deviations)
        factor = self._factor(rescore, rescore_from)
        allowed = None if filter is None else as_filter(self._core, filter, "filter")
        if out is not None and self._core.names_of(np.empty(0, np.int64)) is not None:
            raise ValueError("out must be None in an index of string ids, which no array of int64 holds, got a pair")
        if out is not None and on_cuda(queries, "queries"):
            raise ValueError("out must be None for queries on a GPU, whose results are arrays there, got a pair")
        if self._placed is None and rescore_from is None:
            scores, ids = places(out, k, rows, single)
            names, read = self._core.search(rows, k, factor, scores, ids, allowed, exact, deviations, threads)
        else:
            # Results go to the caller's arrays when they are whole.
            own = None if out is None else places(out, k, rows, single)
            scores, ids, read = self._found(queries, rows, k, factor, rescore_from, allowed, exact, deviations, threads)
            if own is not None:
                own[0][:], own[1][:] = scores, ids
            names = self._core.names_of(ids.ravel())
        if stats is not None:
            stats._add(read)
        if out is not None:
            return out[0], out[1]
        found = ids if names is None else as_names(names).reshape(ids.shape)
        if single:
            scores, found = scores[0], found[0]
        return self._back(scores, queries), found if names is not None else self._back(found, queries)

    def _found(
        self,
        queries: Any,
        rows: Any,
        k: int,
        factor: int,
        source: Source | None,
        allowed: RowFilter | None,
        exact: bool,
        deviations: float,
        threads: int | None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, int, int, int]]:
        """Return scores and ids, (nq, k), of a search on a GPU or with vectors of the caller's, and what was read."""
        wanted = max(1, min(k * factor, len(self))) if factor else k
        scores, ids = places(None, wanted, rows, False)
        if self._placed is None:
            _, read = self._core.search(rows, wanted, 0, scores, ids, allowed, exact, deviations, threads)
        else:
            nearest, numbers, read = self._placed.search(queries, rows, wanted, allowed, deviations)
            there = slice(nearest.shape[1])
            scores[:], ids[:] = np.inf if self.metric == "l2" else -np.inf, -1
            scores[:, there], ids[:, there] = nearest, numbers
        if factor:
            host = rows.get() if on_cuda(rows, "queries") else rows
            if source is None:
                self._core.exact_scores(host, ids.reshape(-1), scores.reshape(-1), threads)
            else:
                scores = from_source(self._core, host, ids, source, threads)
            scores, ids = best(scores, ids, k, smaller_is_nearer=self.metric == "l2")
        return scores, ids, read

    def _queries(self, queries: Any) -> tuple[Any, bool]:
        """Return queries as (nq, dim) float32, on the host or where the index is, and whether they were one 1-D."""
        if self._placed is None:
            refuse_cuda(queries, "queries", 'move the index, index.to("cuda"), or ')
        elif on_cuda(queries, "queries"):
            return self._placed.rows_of(queries)
        return queries_of(queries, self.dim, "index")

    def _back(self, result: NDArray[Any], queries: Any) -> Any:
        """Return a result in the array namespace of the queries."""
        if self._placed is not None and on_cuda(queries, "queries"):
            return self._placed.back(result, queries)
        return back(result, queries)

    def _factor(self, rescore: int | None, rescore_from: Source | None) -> int:
        """Return ``rescore``, 0 for none, if there are vectors for it."""
        factor = 0 if rescore is None else as_int(rescore, "rescore", 1, (1 << 63) - 1)
        if factor and rescore_from is None and self.keep is None:
            raise ValueError(
                f"rescore must be None, since this index keeps no vectors, got {factor}; make it with "
                '`keep="float16"`, or pass the vectors as rescore_from'
            )
        if rescore_from is not None and not factor:
            raise ValueError("rescore must be given with rescore_from, got None")
        return factor

    def range_search(
        self,
        queries: ArrayLike,
        threshold: float,
        *,
        filter: Allowed | None = None,  # noqa: A002 - the word that users look for
        exact: bool = False,
        deviations: float = 3.0,
        stats: SearchStats | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[Any]]:
        """Return all vectors with a score of at least ``threshold``, with "l2" at most, for every query.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`search`; a 1-D query is one of a batch.
        threshold : float
            Compared, as float32, with scores as :meth:`search` returns them: inner products, cosines or squared L2
            distances. Not NaN.
        filter, exact, deviations, stats, threads
            As for :meth:`search`.

        Returns
        -------
        lims : ndarray of int64, shape (nq + 1,)
            Query i's vectors are at ``lims[i]:lims[i + 1]``. In the array namespace of ``queries``, as are the others.
        scores : ndarray of float32, shape (lims[-1],)
            Nearest first for each query; equal scores by the lower id: the places of :meth:`search` with k = n that are
            within the threshold.
        ids : ndarray of int64 or of objects (str), shape (lims[-1],)

        Raises
        ------
        ValueError, TypeError
            As for :meth:`search`, and for a threshold that is NaN or no number.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(2, bits=8, metric="l2")
        >>> ids = index.add([[1, 0], [0, 1], [3, 3]])
        >>> lims, scores, ids = index.range_search([[0.1, 0.9], [9, 9]], 2.0)
        >>> lims.tolist(), ids.tolist()
        ([0, 2, 2], [1, 0])
        """
        limit = as_threshold(threshold)
        rows, _ = self._queries(queries)
        exact, stats, threads = as_flag(exact, "exact"), as_stats(stats), as_threads(threads)
        deviations = as_deviations(deviations)
        allowed = None if filter is None else as_filter(self._core, filter, "filter")
        if self._placed is None:
            lims, scores, ids, names, read = self._core.range_search(rows, limit, allowed, exact, deviations, threads)
        else:
            lims, scores, ids, read = self._placed.range_search(queries, rows, limit, allowed, deviations)
            names = self._core.names_of(ids)
        if stats is not None:
            stats._add(read)
        found = self._back(ids, queries) if names is None else as_names(names)
        return self._back(lims, queries), self._back(scores, queries), found

    def filter(self, allowed: Allowed) -> Filter:
        """Return a reusable set of vectors that searches may return.

        Parameters
        ----------
        allowed : array_like of bool, shape (n,); array_like of int or str; range or slice; or Filter
            A mask over the vectors in the order of adding; ids in any order, of which those that the index does not
            have count for nothing; a range or slice of integer ids, not of places; or a filter, which is returned.

        Returns
        -------
        Filter
            Of the vectors that are in the index now; those added later are not in it, and removed ones are not found.
            Searches refuse it once the place of removed vectors was taken back (see :meth:`compact`).

        Raises
        ------
        ValueError
            For a mask that is not one value a vector, a slice with a negative end, and ids of another kind than the
            index's.
        TypeError
            For anything else.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(64)
        >>> ids = index.add(np.random.default_rng(0).standard_normal((4, 64)), ids=[10, 20, 30, 40])
        >>> mask = [True, False, True, True]
        >>> [len(index.filter(allowed)) for allowed in (mask, [40, 41], range(20, 40), slice(30, None))]
        [3, 1, 2, 2]
        """
        if isinstance(allowed, Filter):
            return allowed
        return Filter._of(as_filter(self._core, allowed, "allowed"))


def refuse_cuda(value: Any, name: str, advice: str = "") -> None:
    """Refuse an array in the memory of a GPU: the index and its scan are on the CPU."""
    if on_cuda(value, name):
        text = f"{name} must be in host memory, where the index is, got a CUDA array ({describe(value)})"
        raise TypeError(f"{text}; {advice}copy it to the host: {TO_HOST.format(name)}")
