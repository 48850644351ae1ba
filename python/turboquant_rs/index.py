"""Index: a flat index over codes."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import TO_HOST, as_ids, as_int, as_rows, as_threads, back, one_of
from ._device import describe, on_cuda
from ._rates import Bits, shown
from .codec import Metric, Refine, Scale, TurboQuant, queries_of
from .codes import Codes

_METRICS = ("ip", "cosine", "l2")

#: No machine holds a result of this many places (8 bytes each); larger ones would overflow sizes.
_MOST_PLACES = 1 << 50


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
            raise TypeError(f"codec must be a TurboQuant, got {type(codec).__name__}")
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
        self, queries: ArrayLike, k: int = 10, *, threads: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return the ``k`` nearest vectors of every query, nearest first; equal scores by the lower id.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`TurboQuant.encode`, but in host memory; norms below 2**96 (below 2**63 with "l2"). One 1-D
            query gives 1-D results.
        k : int, default 10
            At least 1. Beyond the number of vectors, ids are −1 and scores −inf (+inf with "l2").
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
            As for :meth:`TurboQuant.encode`, and for k below 1.
        """
        _refuse_cuda(queries, "queries")
        k = as_int(k, "k", 1, (1 << 63) - 1)
        rows, single = queries_of(queries, self.dim, "index")
        threads = as_threads(threads)
        try:
            if k > _MOST_PLACES // max(1, len(rows)):
                raise MemoryError
            scores = np.empty((len(rows), k), np.float32)
            ids = np.empty((len(rows), k), np.int64)
        except (MemoryError, ValueError):
            raise ValueError(f"k must be small enough for {len(rows)} rows of results to fit memory, got {k}") from None
        self._core.search(rows, k, scores, ids, threads)
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
