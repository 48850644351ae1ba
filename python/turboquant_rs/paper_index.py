"""PaperIndex: a flat index over the papers' other codecs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import as_ids, as_int, as_threads, back, one_of
from ._results import Out, places
from .codec import Metric, queries_of
from .filters import Allowed, Filter, as_filter
from .papers import PaperCodec

_METRICS = ("ip", "cosine", "l2")


class PaperIndex:
    """Search codes of :class:`QJL`, :class:`TurboQuantProd` or :class:`PolarQuant`: an exact scan, with the same ids
    and scores on every machine, for any batch, threads and k (docs/numerics-papers.md section 7).

    It is here to compare these codecs as they would be used. :class:`Index` over :class:`TurboQuant` finds more at
    equal bits, and has what this one lacks: range search, string ids, exact scores, merging and files (pickles and
    copies it has; they start again with the largest id that is there plus one).

    Parameters
    ----------
    codec : QJL, TurboQuantProd or PolarQuant
        The codec to use.
    metric : "ip" (default), "cosine" or "l2"
        Scores are inner products or cosines (larger is nearer), or squared L2 distances (smaller is nearer).

    Attributes
    ----------
    codec, metric
        As given.

    Notes
    -----
    With "cosine" a row is divided by its norm before it is encoded, and so is a query. With "l2" a score is
    |q|² + |x|² − 2·s with the norms of the vectors themselves and s, the codec's estimate of ⟨q, x⟩; below 0 it is 0.

    Memory: :meth:`PaperCodec.bytes_per_vector`, 4 more bytes a vector for "l2", 8 for the id. Searches from many
    threads run side by side; an add waits for searches in progress and is then seen whole.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import PaperIndex, TurboQuantProd
    >>> x = np.random.default_rng(0).standard_normal((1000, 64))
    >>> index = PaperIndex(TurboQuantProd(64, bits=6), metric="l2")
    >>> ids = index.add(x)
    >>> index
    PaperIndex(TurboQuantProd(dim=64, bits=6), metric='l2', n=1000, 68.0 bytes per vector)
    >>> scores, ids = index.search(x[5], k=3)
    >>> int(ids[0]), bool(scores[0] < 10 < scores[1])
    (5, True)
    """

    __slots__ = ("_core", "codec", "metric")

    def __init__(self, codec: PaperCodec, metric: Metric = "ip") -> None:
        if not isinstance(codec, PaperCodec):
            raise TypeError(f"codec must be a QJL, TurboQuantProd or PolarQuant, got {type(codec).__name__}")
        self.codec = codec
        self.metric: Metric = one_of(metric, "metric", _METRICS)
        self._core = _core.PaperIndex(codec._core, self.metric)

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids in the order of adding, (n,) int64, a copy."""
        return self._core.ids()

    @property
    def nbytes(self) -> int:
        """Bytes held: codes, scales, squared norms (l2), ids and the codec; removed rows count until their place is
        taken back. The map of ids that do not ascend is left out.
        """
        return self._core.nbytes + self.codec.nbytes

    @property
    def removed(self) -> int:
        """Vectors that were removed and whose place is not yet taken back."""
        return self._core.removed

    def __len__(self) -> int:
        return len(self._core)

    def __contains__(self, row_id: object) -> bool:
        if not isinstance(row_id, (int, np.integer)) or isinstance(row_id, bool):
            return False
        return 0 <= int(row_id) < 1 << 63 and self._core.contains(int(row_id))

    def __iter__(self) -> Iterator[int]:
        """Iterate over the ids in the order of adding, as they are now."""
        return iter(self.ids.tolist())

    def add(self, x: ArrayLike, ids: ArrayLike | None = None, *, threads: int | None = None) -> NDArray[np.int64]:
        """Encode the rows of ``x`` and append them.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            As for the codec's ``encode``. The rows themselves are not kept. With "cosine" their norms are dropped.
        ids : array_like of int, shape (n,), optional
            Ids from 0 to 2**63 − 1, distinct and new; by default the next free ones, from 0 (the largest id that ever
            was in the index plus one).
        threads : int, optional
            Threads to use; by default one a core. The codes do not depend on it.

        Returns
        -------
        ndarray of int64, shape (n,)
            The ids.

        Raises
        ------
        ValueError, TypeError
            As for the codec's ``encode``; for ids that are taken, given twice, negative or not one a row; with
            "l2" for norms from 2**63. The index is then unchanged.
        """
        given = None if ids is None else as_ids(ids, "ids")
        return self._core.add(*self.codec._encode(x, self.metric, as_threads(threads)), given, False)

    def upsert(self, x: ArrayLike, ids: ArrayLike, *, threads: int | None = None) -> NDArray[np.int64]:
        """Add the rows of ``x`` in place of those with the same ids, and of none where an id is new.

        A search sees either the old rows or the new ones. The new ones are last in the order of adding.

        Parameters
        ----------
        x, threads
            As for :meth:`add`.
        ids : array_like of int, shape (n,)
            Ids, distinct.

        Returns
        -------
        ndarray of int64, shape (n,)
            The ids.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`add`, but for ids that are taken. The index is then unchanged.
        """
        given = as_ids(ids, "ids")
        return self._core.add(*self.codec._encode(x, self.metric, as_threads(threads)), given, True)

    def remove(self, ids: ArrayLike | int) -> None:
        """Remove vectors: no search finds them any more. Removed ids are free, but not assigned again.

        Once more than a quarter of the rows that are stored are removed ones, their place is taken back (see
        :meth:`compact`).

        Parameters
        ----------
        ids : int or array_like of int, shape (n,)
            Ids of vectors in the index, in any order; one may stand twice.

        Raises
        ------
        KeyError
            For an id that is not in the index; nothing is then removed.
        ValueError, TypeError
            For what is no id.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import QJL, PaperIndex
        >>> index = PaperIndex(QJL(8, 64))
        >>> ids = index.add(np.eye(8))
        >>> index.remove([2, 5])
        >>> len(index), 2 in index, index.add(np.eye(8)[2:3]).tolist()
        (6, False, [8])
        """
        single = isinstance(ids, (int, np.integer)) and not isinstance(ids, bool)
        self._core.remove(as_ids([ids] if single else ids, "ids"))

    def compact(self) -> None:
        """Take the place of removed vectors back, in place; no result changes. Filters made before it are refused."""
        self._core.compact()

    def filter(self, allowed: Allowed) -> Filter:
        """Return a reusable set of vectors that searches may return.

        Parameters
        ----------
        allowed : array_like of bool, shape (n,); array_like of int; range or slice; or Filter
            As for :meth:`Index.filter`.

        Returns
        -------
        Filter
            Of the vectors that are in the index now.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`Index.filter`.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import QJL, PaperIndex
        >>> index = PaperIndex(QJL(8, 64))
        >>> ids = index.add(np.eye(8))
        >>> len(index.filter(range(2, 5))), len(index.filter([7, 8]))
        (3, 1)
        """
        if isinstance(allowed, Filter):
            return allowed
        return Filter._of(as_filter(self._core, allowed, "allowed"))

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        filter: Allowed | None = None,  # noqa: A002 - the word that users look for
        threads: int | None = None,
    ) -> Out:
        """Return the ``k`` nearest vectors of every query, nearest first; equal scores by the lower id.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for the codec's ``score``; norms below 2**96 (below 2**63 with "l2", any with "cosine"). One 1-D query
            gives 1-D results.
        k : int, default 10
            At least 1. Beyond the number of vectors that are allowed, ids are −1 and scores −inf (+inf with "l2").
        filter : Filter, array_like of bool or int, range or slice, optional
            The vectors that may be returned, as for :meth:`filter`; by default all. The result is the ranking of all
            vectors without the others. Blocks of 1,024 vectors without one that is allowed are not read.
        threads : int, optional
            Threads to use; by default one a core. Results do not depend on it.

        Returns
        -------
        scores : ndarray of float32, shape (nq, k) or (k,)
            Estimates from the codes: inner products, cosines (which may pass 1 by the estimate's error), or squared
            L2 distances, never below 0. In the array namespace of ``queries``, as are the ids.
        ids : ndarray of int64, shape (nq, k) or (k,)

        Raises
        ------
        ValueError, TypeError
            As for the codec's ``score`` and :meth:`filter`, for k below 1, and for a filter of another index or from
            before removed vectors' place was taken back (see :meth:`compact`).
        """
        k = as_int(k, "k", 1, (1 << 63) - 1)
        rows, single = queries_of(queries, self.dim, "index")
        threads = as_threads(threads)
        scores, ids = places(None, k, rows, single)
        allowed = None if filter is None else as_filter(self._core, filter, "filter")
        self._core.search(rows, k, scores, ids, allowed, self.codec._products_per_score(), threads)
        if single:
            scores, ids = scores[0], ids[0]
        return back(scores, queries), back(ids, queries)

    def reconstruct(self, ids: ArrayLike | int) -> NDArray[np.float32]:
        """Return the decoded vectors of the given ids, (n, dim) float32, or (dim,) for one id; of x/|x| with "cosine".

        Raises
        ------
        KeyError
            For an id that is not in the index.
        """
        if isinstance(ids, (int, np.integer)) and not isinstance(ids, bool):
            return self._core.reconstruct(as_ids([ids], "ids"))[0]  # type: ignore[no-any-return]
        return self._core.reconstruct(as_ids(ids, "ids"))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.codec, self.metric, *self._core.parts())

    def __repr__(self) -> str:
        size = self.codec.bytes_per_vector() + (4 if self.metric == "l2" else 0) + 8
        return f"PaperIndex({self.codec!r}, metric={self.metric!r}, n={len(self)}, {size:.1f} bytes per vector)"


def _rebuild(
    codec: PaperCodec,
    metric: Metric,
    packed: NDArray[np.uint8],
    scales: NDArray[np.float32],
    squares: NDArray[np.float32],
    ids: NDArray[np.int64],
) -> PaperIndex:
    index = PaperIndex(codec, metric)
    index._core.add(packed, scales, squares, ids, False)
    return index
