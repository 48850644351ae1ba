"""Index: a flat index over codes."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import TO_HOST, as_flag, as_ids, as_int, as_rows, as_threads, as_threshold, back, one_of
from ._device import describe, on_cuda
from ._rates import Bits, shown
from ._results import Out, SearchStats, as_stats, places
from .codec import Metric, Refine, Scale, TurboQuant, queries_of
from .codes import Codes
from .filters import Allowed, Filter, as_filter
from .papers import PaperCodec

_METRICS = ("ip", "cosine", "l2")


class Index:
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

    Notes
    -----
    Rows that a fitted codec codes worse than plain codes would be, since they are unlike its sample, are kept as plain
    codes of the next lower whole number of bits (from 1 bit; not with a codec fitted to queries). :attr:`plain_rows`
    counts them; results hold rows of both kinds.

    Memory: packed codes + 4 bytes a vector for the scale, 4 more for "l2", 8 for the id. Searches from many threads
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

    __slots__ = ("_core", "_plain", "codec", "metric")

    def __init__(
        self, dim: int | None = None, bits: int | None = None, metric: Metric = "ip", *, codec: TurboQuant | None = None
    ) -> None:
        if codec is None:
            if dim is None:
                raise TypeError("dim must be given, or a codec")
            codec = TurboQuant(dim, 4 if bits is None else bits)
        elif not isinstance(codec, TurboQuant):
            advice = "; PaperIndex(codec, metric) searches its codes" if isinstance(codec, PaperCodec) else ""
            raise TypeError(f"codec must be a TurboQuant, got {type(codec).__name__}{advice}")
        elif dim not in (None, codec.dim) or bits not in (None, codec.bits):
            raise ValueError(f"dim and bits must be the codec's ({codec!r}) or left out, got dim={dim}, bits={bits}")
        metric = one_of(metric, "metric", _METRICS)
        self._take(codec, metric, _core.FlatIndex(codec._core, metric))

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
        threads: int | None = None,
    ) -> Index:
        """Return an empty index whose codec is fitted to a sample; nothing is added.

        Parameters
        ----------
        sample, bits, metric, queries, center, scale, refine, seed, threads
            As for :meth:`TurboQuant.fit`.

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
        return cls(codec=codec, metric=metric)

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.codec.dim

    @property
    def bits(self) -> Bits:
        """Bits a coordinate; of a fitted codec the average, a float; of one with outliers two numbers."""
        return self.codec.bits

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids in the order of adding, (n,) int64, a copy."""
        return self._core.ids()

    @property
    def plain_rows(self) -> int:
        """Vectors that are kept as plain codes, since the fitted codec codes them badly."""
        return self._core.plain_rows

    @property
    def nbytes(self) -> int:
        """Bytes held: codes, scales, squared norms (l2), ids and the codec; the map of the caller's ids is left out."""
        return self._core.nbytes

    def __len__(self) -> int:
        return len(self._core)

    def add(self, x: ArrayLike, ids: ArrayLike | None = None, *, threads: int | None = None) -> NDArray[np.int64]:
        """Encode the rows of ``x`` and append them.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            As for :meth:`TurboQuant.encode`, but in host memory. The rows themselves are not kept. With "cosine" their
            norms are dropped.
        ids : array_like of int, shape (n,), optional
            Ids from 0 to 2**63 − 1, distinct and new; by default the next free ones, from 0 (the largest id so far
            plus one).

        Returns
        -------
        ndarray of int64, shape (n,)
            The ids.

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.encode`; for ids that are taken, given twice, negative or not one a row; with
            "l2" for norms from 2**63. The index is then unchanged.
        """
        codes_first = 'encode them there and add the codes, index.add_codes(index.codec.encode(x).to("cpu")), or '
        _refuse_cuda(x, "x", codes_first if self.metric == "ip" and not self.codec._cpu_only else "")
        given = None if ids is None else as_ids(ids, "ids")
        threads = as_threads(threads)
        l2 = self.metric == "l2"
        unit_norm, split = self.metric == "cosine", None
        if self._plain is None:
            codes, squares = self.codec._encode(x, threads, unit_norm=unit_norm, squares=l2)
        else:
            x = as_rows(x, "x", self.dim, "codec")
            badly = np.zeros(len(x), bool)
            codes, squares = self.codec._encode(x, threads, unit_norm=unit_norm, squares=l2, badly=badly)
            if badly.any():
                plain, _ = self._plain._encode(x[badly], threads, unit_norm=unit_norm)
                split = (badly, plain.packed, plain.scales)
        return self._core.add_codes(codes.packed, codes.scales, squares, given, split)

    def add_codes(self, codes: Codes, ids: ArrayLike | None = None) -> NDArray[np.int64]:
        """Append codes that :meth:`TurboQuant.encode` made, with metric "ip" only (the others store more than codes).

        Returns and raises as :meth:`add`; codes of another codec, truncated ones and those on a GPU are refused.
        """
        self.codec._check(codes)
        if self.metric != "ip":
            raise ValueError(f'metric must be "ip" to add codes, got "{self.metric}"; add the vectors instead')
        if codes.bits != self.bits:
            raise ValueError(f"codes must be whole, {self.bits} bits, got codes truncated to {codes.bits}")
        given = None if ids is None else as_ids(ids, "ids")
        return self._core.add_codes(*codes._contiguous(), np.empty(0, np.float32), given, None)

    def search(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        filter: Allowed | None = None,  # noqa: A002 - the word that users look for
        exact: bool = False,
        out: Out | None = None,
        stats: SearchStats | None = None,
        threads: int | None = None,
    ) -> Out:
        """Return the ``k`` nearest vectors of every query, nearest first; equal scores by the lower id.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`TurboQuant.encode`, but in host memory; norms below 2**96 (below 2**63 with "l2"). One 1-D
            query gives 1-D results.
        k : int, default 10
            At least 1. Beyond the number of vectors that are allowed, ids are −1 and scores −inf (+inf with "l2").
        filter : Filter, array_like of bool or int, range or slice, optional
            The vectors that may be returned, as for :meth:`filter`; by default all. The result is the ranking of all
            vectors without the others. Blocks of 64 vectors without one that is allowed are not read.
        exact : bool, default False
            Read every vector in full. By default up to eight queries read the first stage of every vector and the rest
            of those that may be among the k nearest. The result is the same.
        out : (ndarray of float32, ndarray of int64), optional
            Where to write scores and ids: C-contiguous, of the result's shapes, apart from each other and the queries.
            They are returned.
        stats : SearchStats, optional
            What the search read is added to it.
        threads : int, optional
            Threads to use; by default one a core. Results do not depend on it.

        Returns
        -------
        scores : ndarray of float32, shape (nq, k) or (k,)
            Estimates from the codes: inner products, cosines (which may pass 1 by the estimate's error), or squared
            L2 distances, never below 0. In the array namespace of ``queries``, as are the ids; or ``out``.
        ids : ndarray of int64, shape (nq, k) or (k,)

        Raises
        ------
        ValueError, TypeError
            As for :meth:`TurboQuant.encode` and :meth:`filter`, for k below 1, for ``out`` that does not fit, and for a
            filter of another index.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> index = Index(64)
        >>> ids = index.add(np.random.default_rng(0).standard_normal((1000, 64)))
        >>> out = np.empty(3, np.float32), np.empty(3, np.int64)
        >>> scores, found = index.search(np.ones(64), 3, filter=range(100), out=out)
        >>> found is out[1], bool((found < 100).all())
        (True, True)
        """
        _refuse_cuda(queries, "queries")
        k = as_int(k, "k", 1, (1 << 63) - 1)
        rows, single = queries_of(queries, self.dim, "index")
        exact, stats, threads = as_flag(exact, "exact"), as_stats(stats), as_threads(threads)
        allowed = None if filter is None else as_filter(self._core, filter, "filter")
        scores, ids = places(out, k, rows, single)
        read = self._core.search(rows, k, scores, ids, allowed, exact, threads)
        if stats is not None:
            stats._add(read)
        if out is not None:
            return out[0], out[1]
        if single:
            scores, ids = scores[0], ids[0]
        return back(scores, queries), back(ids, queries)

    def range_search(
        self,
        queries: ArrayLike,
        threshold: float,
        *,
        filter: Allowed | None = None,  # noqa: A002 - the word that users look for
        exact: bool = False,
        stats: SearchStats | None = None,
        threads: int | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Return all vectors with a score of at least ``threshold``, with "l2" at most, for every query.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`search`; a 1-D query is one of a batch.
        threshold : float
            Compared, as float32, with scores as :meth:`search` returns them: inner products, cosines or squared L2
            distances. Not NaN.
        filter, exact, stats, threads
            As for :meth:`search`.

        Returns
        -------
        lims : ndarray of int64, shape (nq + 1,)
            Query i's vectors are at ``lims[i]:lims[i + 1]``. In the array namespace of ``queries``, as are the others.
        scores : ndarray of float32, shape (lims[-1],)
            Nearest first for each query; equal scores by the lower id: the places of :meth:`search` with k = n that are
            within the threshold.
        ids : ndarray of int64, shape (lims[-1],)

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
        _refuse_cuda(queries, "queries")
        limit = as_threshold(threshold)
        rows, _ = queries_of(queries, self.dim, "index")
        exact, stats, threads = as_flag(exact, "exact"), as_stats(stats), as_threads(threads)
        allowed = None if filter is None else as_filter(self._core, filter, "filter")
        lims, scores, ids, read = self._core.range_search(rows, limit, allowed, exact, threads)
        if stats is not None:
            stats._add(read)
        return back(lims, queries), back(scores, queries), back(ids, queries)

    def filter(self, allowed: Allowed) -> Filter:
        """Return a reusable set of vectors that searches may return.

        Parameters
        ----------
        allowed : array_like of bool, shape (n,); array_like of int; range or slice; or Filter
            A mask over the vectors in the order of adding; ids in any order, of which those that the index does not
            have count for nothing; a range or slice of ids, not of places; or a filter, which is returned.

        Returns
        -------
        Filter
            Of the vectors that are in the index now; those added later are not in it.

        Raises
        ------
        ValueError
            For a mask that is not one value a vector, and for a slice with a negative end.
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

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to a file of its own: docs/format.md, version 1. From then on :meth:`commit` appends to it.

        The file takes the place of what is at ``path`` as a whole, when it is on the device: a crash leaves the old one
        or the new one. Who has mapped the old one keeps it.

        Raises
        ------
        OSError
            If the file cannot be written. BlockingIOError if another index writes to the one at ``path``. What is there
            is then unchanged.
        CorruptError
            If this index is mapped and its file is damaged.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from turboquant_rs import Index
        >>> x = np.random.default_rng(0).standard_normal((1000, 64))
        >>> path = Path(tempfile.mkdtemp()) / "vectors.tqi"
        >>> index = Index(64, bits=4)
        >>> ids = index.add(x[:999])
        >>> index.save(path)
        >>> ids = index.add(x[999:])
        >>> index.commit()
        >>> Index.open(path)
        Index(dim=64, bits=4, metric='ip', n=1000, 48.0 bytes per vector)
        """
        self._core.save(os.fspath(path))

    def commit(self) -> None:
        """Append what was added since :meth:`save`, :meth:`open` or the last commit; it is on the device on return.

        A crash leaves the vectors before or after. Others who have the file open keep what they see; opening it again
        shows the new vectors. The first commit makes this index the file's only writer, until it is gone or saved to
        another path.

        Raises
        ------
        OSError
            If there is no file yet (FileNotFoundError) or it cannot be written, if another index is its writer
            (BlockingIOError), or if the file is not the one that this index read or wrote last.
        """
        self._core.commit()

    @classmethod
    def open(cls, path: str | os.PathLike[str], mmap: bool = True) -> Index:
        """Return the index in a file that :meth:`save` and :meth:`commit` wrote.

        Parameters
        ----------
        path : path-like
            The file.
        mmap : bool, default True
            Map the file: it is searched where it is, opening takes milliseconds, and processes share its memory. Each
            block of 64 KiB is compared with its checksum before it is first used; :meth:`verify` looks at all of them
            at once. With False, everything is read and compared now. Either way, commits of less than 1 MiB are copied
            into memory, and so are the ids of a file of several commits; :meth:`save` puts them together again.

        Returns
        -------
        Index
            With the file's codec and metric. Vectors that are added are kept in memory until :meth:`commit`.

        Raises
        ------
        OSError
            If the file cannot be read.
        CorruptError
            If it is no index file, of a newer format, or damaged, with section and offset. Of a mapped file, a search
            raises that before it uses damaged bytes.

        Notes
        -----
        A mapped file may be replaced (:meth:`save`) and appended to (:meth:`commit`), but must not be cut short by
        others: the operating system then ends the process (SIGBUS).
        """
        return cls._from_core(_core.FlatIndex.open(os.fspath(path), bool(mmap)))

    def verify(self) -> None:
        """Compare all that is mapped with its checksums; what is in memory has been compared when it was read.

        Raises
        ------
        CorruptError
            For the first damaged block, with section and offset.
        """
        self._core.verify()

    def to_bytes(self) -> bytes:
        """Return the bytes that :meth:`save` writes."""
        return self._core.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes | bytearray | memoryview) -> Index:
        """Return the index in :meth:`to_bytes`'s bytes, or those of a file, all of which are checked.

        Raises
        ------
        CorruptError
            As for :meth:`open`.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise TypeError(f"data must be bytes or an object with a buffer, got {type(data).__name__}") from None
        return cls._from_core(_core.FlatIndex.from_bytes(bytes(view)))

    @classmethod
    def _from_core(cls, core: _core.FlatIndex) -> Index:
        index = object.__new__(cls)
        index._take(TurboQuant._from_core(core.codec), one_of(core.metric, "metric", _METRICS), core)
        return index

    def _take(self, codec: TurboQuant, metric: Metric, core: _core.FlatIndex) -> None:
        self.codec = codec
        self.metric: Metric = metric
        self._core = core
        plain = codec._core.plain()
        self._plain = None if plain is None else TurboQuant._from_core(plain)

    def __repr__(self) -> str:
        widths = self.codec._core.full
        bounds = 4 if not self.codec.fitted and len(widths) == 1 and widths[0] > 1 else 0
        size = self.codec.bytes_per_vector() + (4 if self.metric == "l2" else 0) + bounds + 8
        what = f"dim={self.dim}, bits={shown(self.bits)}, metric={self.metric!r}, n={len(self)}"
        return f"Index({what}, {size:.1f} bytes per vector)"

    def __reduce__(self) -> tuple[Any, ...]:
        # The copy belongs to no file.
        return Index.from_bytes, (self.to_bytes(),)


def _refuse_cuda(value: Any, name: str, advice: str = "") -> None:
    """Refuse an array in the memory of a GPU: the index and its scan are on the CPU."""
    if on_cuda(value, name):
        text = f"{name} must be in host memory, where the index is, got a CUDA array ({describe(value)})"
        raise TypeError(f"{text}; {advice}copy it to the host: {TO_HOST.format(name)}")
