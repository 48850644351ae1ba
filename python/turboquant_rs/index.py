"""Index: a flat index over codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import TO_HOST, as_int, as_rows, as_threads, back, blocks, one_of
from ._device import describe, on_cuda
from ._ids import as_row_ids
from ._rescore import Source, best, from_source
from ._rows import Rows
from ._stored import Stored
from .codec import Metric, Refine, Scale, TurboQuant, queries_of
from .codes import Codes

Keep: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]

_METRICS = ("ip", "cosine", "l2")

#: Bytes of a coordinate of kept rows.
_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}

#: No machine holds a result of this many places (8 bytes each); larger ones would overflow sizes.
_MOST_PLACES = 1 << 50


class Index(Rows, Stored):
    """Search codes: an exact scan, with the same ids and scores on every machine, for any batch, threads and k.

    Parameters
    ----------
    dim : int
        Coordinates of a vector; or give ``codec``.
    bits : int, default 4
        Bits a coordinate, 1 to 8.
    metric : "ip" (default), "cosine" or "l2"
        Scores are inner products or cosines (larger is nearer), or squared L2 distances (smaller is nearer).
    codec : TurboQuant, optional
        The codec to use, for a choice of seed, scale or refinement.
    keep : "float32", "float16", "bfloat16" or "int8", optional
        Keep the vectors beside their codes, so that ``search(..., rescore=4)`` can score candidates exactly: as they
        are, rounded to the nearest float of 2 bytes (ties to even; "float16" holds magnitudes up to 65,504, larger ones
        are refused), or to multiples of 1/127 of the vector's largest magnitude (1 byte a coordinate, 4 a vector).

    Notes
    -----
    Ids are integers, given or assigned, or strings (``add(x, ids=["a", "b"])``): the first vectors decide which. Equal
    scores come by the lower integer, strings in the order of adding.

    Rows that a fitted codec codes worse than plain codes would be, since they are unlike its sample, are kept as plain
    codes of the next lower whole number of bits (from 1 bit; not with a codec fitted to queries). :attr:`plain_rows`
    counts them; results hold rows of both kinds.

    Memory: packed codes + 4 bytes a vector for the scale, 4 more for "l2", 8 for the id, the text of string ids. A map
    from ids to vectors is made once ids do not ascend (:meth:`info` has its size). Searches from many threads
    run side by side; an add waits for searches in progress and is then seen whole.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import Index
    >>> x = np.random.default_rng(0).standard_normal((1000, 64))
    >>> index = Index(64, bits=8, metric="l2")
    >>> ids = index.add(x)
    >>> index
    Index(dim=64, bits=8, metric='l2', n=1000, 84.0 bytes per vector)
    >>> scores, ids = index.search(x[5], k=3)
    >>> int(ids[0]), bool(scores[0] < 0.1 < scores[1])
    (5, True)
    """

    __slots__ = ("_core", "_plain", "codec", "keep", "metric")

    def __init__(
        self,
        dim: int | None = None,
        bits: int | None = None,
        metric: Metric = "ip",
        *,
        codec: TurboQuant | None = None,
        keep: Keep | None = None,
    ) -> None:
        if codec is None:
            if dim is None:
                raise TypeError("dim must be given, or a codec")
            codec = TurboQuant(dim, 4 if bits is None else bits)
        elif not isinstance(codec, TurboQuant):
            raise TypeError(f"codec must be a TurboQuant, got {type(codec).__name__}")
        elif dim not in (None, codec.dim) or bits not in (None, codec.bits):
            raise ValueError(f"dim and bits must be the codec's ({codec!r}) or left out, got dim={dim}, bits={bits}")
        metric = one_of(metric, "metric", _METRICS)
        keep = None if keep is None else one_of(keep, "keep", tuple(_WIDTHS))
        self._take(codec, metric, keep, _core.FlatIndex(codec._core, metric, keep))

    @classmethod
    def fit(
        cls,
        sample: ArrayLike,
        bits: float = 2,
        metric: Metric = "ip",
        *,
        queries: ArrayLike | None = None,
        center: bool | Literal["auto"] = "auto",
        scale: Scale | Literal["auto"] = "auto",
        refine: Refine | Literal["auto"] = "auto",
        seed: int = 0,
        keep: Keep | None = None,
        threads: int | None = None,
    ) -> Index:
        """Return an empty index whose codec is fitted to a sample; nothing is added.

        Parameters
        ----------
        sample, bits, metric, queries, center, scale, refine, seed, threads
            As for :meth:`TurboQuant.fit`.
        keep
            As for :class:`Index`.

        Returns
        -------
        Index
            ``index.codec.report()`` tells what the fit is worth.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.fit`.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> x = np.random.default_rng(0).standard_normal((4000, 64)) * np.arange(1, 65) ** -0.5
        >>> index = Index.fit(x[:2000], bits=1, metric="cosine")
        >>> len(index), index.codec.fitted
        (0, True)
        >>> ids = index.add(x)
        """
        metric = one_of(metric, "metric", _METRICS)
        codec = TurboQuant.fit(
            sample,
            bits,
            queries=queries,
            center=center,
            metric=metric,
            scale=scale,
            refine=refine,
            seed=seed,
            threads=threads,
        )
        return cls(codec=codec, metric=metric, keep=keep)

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    @property
    def bits(self) -> int | float:
        """Bits a coordinate; of a fitted codec the average, a float."""
        return self.codec.bits

    def add(
        self, x: ArrayLike, ids: ArrayLike | Sequence[str] | None = None, *, threads: int | None = None
    ) -> NDArray[Any]:
        """Encode the rows of ``x`` and append them.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            As for :meth:`TurboQuant.encode`, but in host memory. The rows themselves are not kept (unless the index was
            made with ``keep=``). With "cosine" their norms are dropped.
        ids : array_like of int or sequence of str, shape (n,), optional
            Ids from 0 to 2**63 − 1 or strings, distinct and new; by default the next free integers, from 0 (the largest
            id that ever was in the index plus one). An index is of integers or of strings; mixing is refused.

        Returns
        -------
        ndarray of int64 or of objects (str), shape (n,)
            The ids.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.encode`; for ids that are taken, given twice, negative, of the other kind or not
            one a row; with "l2" for norms from 2**63; for values that ``keep`` cannot hold. The index is then
            unchanged.
        """
        return self._add(x, None if ids is None else as_row_ids(ids), threads, replace=False)

    def upsert(self, x: ArrayLike, ids: ArrayLike | Sequence[str], *, threads: int | None = None) -> NDArray[Any]:
        """Add the rows of ``x`` in place of those with the same ids, and of none where an id is new.

        A search sees either the old rows or the new ones. The new ones are last in the order of adding.

        Parameters
        ----------
        x, threads
            As for :meth:`add`.
        ids : array_like of int or sequence of str, shape (n,)
            Ids, distinct.

        Returns
        -------
        ndarray of int64 or of objects (str), shape (n,)
            The ids.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`add`, but for ids that are taken. The index is then unchanged.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(8)
        >>> ids = index.add(np.eye(8)[:2], ["a", "b"])
        >>> index.upsert(np.eye(8)[2:4], ["b", "c"]).tolist(), list(index)
        (['b', 'c'], ['a', 'b', 'c'])
        """
        return self._add(x, as_row_ids(ids), threads, replace=True)

    def _add(
        self, x: ArrayLike, ids: NDArray[np.int64] | list[str] | None, threads: int | None, *, replace: bool
    ) -> NDArray[Any]:
        codes_first = 'encode them there and add the codes, index.add_codes(index.codec.encode(x).to("cpu")), or '
        _refuse_cuda(x, "x", codes_first if self.metric == "ip" and not self.codec._cpu_only and not self.keep else "")
        threads = as_threads(threads)
        x = as_rows(x, "x", self.dim, "codec")
        l2 = self.metric == "l2"
        unit_norm, split = self.metric == "cosine", None
        if self._plain is None:
            codes, squares = self.codec._encode(x, threads, unit_norm=unit_norm, squares=l2)
        else:
            badly = np.zeros(len(x), bool)
            codes, squares = self.codec._encode(x, threads, unit_norm=unit_norm, squares=l2, badly=badly)
            if badly.any():
                plain, _ = self._plain._encode(x[badly], threads, unit_norm=unit_norm)
                split = (badly, plain.packed, plain.scales)
        kept = None if self.keep is None else _converted(x, self.keep)
        new = self._core.add_codes(codes.packed, codes.scales, squares, ids, replace, split, kept)
        return np.array(ids, object) if isinstance(ids, list) else new

    def add_codes(self, codes: Codes, ids: ArrayLike | Sequence[str] | None = None) -> NDArray[Any]:
        """Append codes that :meth:`TurboQuant.encode` made, with metric "ip" only (the others store more than codes).

        Returns and raises as :meth:`add`; codes of another codec, truncated ones and those on a GPU are refused, and an
        index with ``keep=`` refuses all, since it needs the vectors.
        """
        self.codec._check(codes)
        if self.metric != "ip":
            raise ValueError(f'metric must be "ip" to add codes, got "{self.metric}"; add the vectors instead')
        if codes.bits != self.bits:
            raise ValueError(f"codes must be whole, {self.bits} bits, got codes truncated to {codes.bits}")
        if self.keep is not None:
            raise ValueError(f'keep must be None to add codes, got "{self.keep}"; add the vectors instead')
        given = None if ids is None else as_row_ids(ids)
        none = np.empty(0, np.float32)
        new = self._core.add_codes(*codes._contiguous(), none, given, False, None, None)
        return np.array(given, object) if isinstance(given, list) else new

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        rescore: int | None = None,
        rescore_from: Source | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[Any]]:
        """Return the ``k`` nearest vectors of every query, nearest first; equal scores by the lower id.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`TurboQuant.encode`, but in host memory; norms below 2**96 (below 2**63 with "l2"). One 1-D
            query gives 1-D results.
        k : int, default 10
            At least 1. Beyond the number of vectors, ids are −1 (None in an index of string ids) and scores −inf (+inf
            with "l2").
        rescore : int, optional
            Find the ``rescore · k`` nearest by codes, and of these the k nearest by exact scores. The index must keep
            vectors (``Index(..., keep="float16")``), or ``rescore_from`` must have them. The first ten of k = 100 are
            then no longer those of k = 10.
        rescore_from : array_like, shape (m, dim), or callable, optional
            The vectors for ``rescore``: row i of an array, memory-mapped or not, is the vector of id i; a function gets
            an array of n distinct ids and returns their vectors, (n, dim).
        threads : int, optional
            Threads to use; by default one a core. Results do not depend on it.

        Returns
        -------
        scores : ndarray of float32, shape (nq, k) or (k,)
            Estimates from the codes: inner products, cosines (which may pass 1 by the estimate's error), or squared
            L2 distances, never below 0. With ``rescore`` exact ones, computed in float64 and rounded once; equal on
            every machine, too (docs/numerics.md section 13). In the array namespace of ``queries``, as are the ids.
        ids : ndarray of int64 or of objects (str), shape (nq, k) or (k,)

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.encode`, for k or rescore below 1, for rescore without vectors, and for vectors of
            ``rescore_from`` that are missing or not finite.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> x = np.random.default_rng(0).standard_normal((1000, 64), dtype=np.float32)
        >>> index = Index(64, bits=2, keep="float16")
        >>> ids = index.add(x)
        >>> scores, ids = index.search(x[7], k=3, rescore=4)
        >>> int(ids[0]), bool(abs(scores[0] - (x[7] ** 2).sum()) < 0.1)
        (7, True)
        """
        _refuse_cuda(queries, "queries")
        k = as_int(k, "k", 1, (1 << 63) - 1)
        rows, single = queries_of(queries, self.dim, "index")
        threads = as_threads(threads)
        factor = 0 if rescore is None else as_int(rescore, "rescore", 1, (1 << 63) - 1)
        if factor and rescore_from is None and self.keep is None:
            raise ValueError(
                f"rescore must be None, since this index keeps no vectors, got {factor}; make it with "
                '`keep="float16"`, or pass the vectors as rescore_from'
            )
        if rescore_from is not None and not factor:
            raise ValueError("rescore must be given with rescore_from, got None")
        if rescore_from is None:
            scores, ids = _room(len(rows), k)
            names = self._core.search(rows, k, factor, scores, ids, threads)
        else:
            scores, ids = _room(len(rows), max(1, min(k * factor, len(self))))
            self._core.search(rows, scores.shape[1], 0, scores, ids, threads)
            scores = from_source(self._core, rows, ids, rescore_from, threads)
            _room(len(rows), k)
            scores, ids = best(scores, ids, k, smaller_is_nearer=self.metric == "l2")
            names = self._core.names_of(ids.ravel())
        found: NDArray[Any] = ids if names is None else np.array(names, object).reshape(ids.shape)
        if single:
            scores, found = scores[0], found[0]
        return back(scores, queries), found if names is not None else back(found, queries)

    @classmethod
    def _from_core(cls, core: _core.FlatIndex) -> Index:
        index = object.__new__(cls)
        index._take(TurboQuant._from_core(core.codec), one_of(core.metric, "metric", _METRICS), None, core)
        return index

    def _take(self, codec: TurboQuant, metric: Metric, keep: Keep | None, core: _core.FlatIndex) -> None:
        self.codec = codec
        self.metric: Metric = metric
        self.keep: Keep | None = keep
        self._core = core
        plain = codec._core.plain()
        self._plain = None if plain is None else TurboQuant._from_core(plain)

    def __repr__(self) -> str:
        bounds = 4 if not self.codec.fitted and self.bits > 1 else 0
        size = self.codec.bytes_per_vector() + (4 if self.metric == "l2" else 0) + bounds + 8
        what = f"dim={self.dim}, bits={self.bits:g}, metric={self.metric!r}, n={len(self)}"
        if self.keep is not None:
            size += self.dim * _WIDTHS[self.keep] + (4 if self.keep == "int8" else 0)
            what += f", keep={self.keep!r}"
        return f"Index({what}, {size:.1f} bytes per vector)"

    def __reduce__(self) -> tuple[Any, ...]:
        # The copy belongs to no file.
        return Index.from_bytes, (self.to_bytes(),)


def _refuse_cuda(value: Any, name: str, advice: str = "") -> None:
    """Refuse an array in the memory of a GPU: the index and its scan are on the CPU."""
    if on_cuda(value, name):
        text = f"{name} must be in host memory, where the index is, got a CUDA array ({describe(value)})"
        raise TypeError(f"{text}; {advice}copy it to the host: {TO_HOST.format(name)}")


def _converted(x: NDArray[Any], keep: Keep) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return rows (n, dim) in the form in which an index keeps them: bytes, and scales (one a row for int8)."""
    kept = np.empty((len(x), x.shape[1] * _WIDTHS[keep]), np.uint8)
    scales = np.empty(len(x) if keep == "int8" else 0, np.float32)
    for first, block in blocks(x, "x"):
        part = slice(first, first + len(block))
        _core.convert_rows(keep, block, kept[part], scales[part], first)
    return kept, scales


def _room(queries: int, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return room for k results a query."""
    try:
        if k > _MOST_PLACES // max(1, queries):
            raise MemoryError
        return np.empty((queries, k), np.float32), np.empty((queries, k), np.int64)
    except (MemoryError, ValueError):
        raise ValueError(f"k must be small enough for {queries} rows of results to fit memory, got {k}") from None
