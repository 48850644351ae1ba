"""Index: a flat index over codes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import as_float32, as_rows, as_threads, blocks, one_of
from ._ids import as_names, as_row_ids
from ._placed import Placed
from ._rates import Bits, shown
from ._rows import Rows
from ._search import Searches, refuse_cuda
from ._stored import Stored
from .codec import Metric, Refine, Scale, TurboQuant
from .codes import Codes, check_codec
from .papers import PaperCodec

if TYPE_CHECKING:
    from .gpu.index import DeviceIndex

Keep: TypeAlias = Literal["float32", "float16", "bfloat16", "int8"]

_METRICS = ("ip", "cosine", "l2")

#: Values that are encoded while searches wait: a tenth of a millisecond, with a dense matrix a few. More come encoded.
_FEW = 1 << 13
#: Bytes of a coordinate of kept rows.
_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int8": 1}


class Index(Rows, Searches, Stored, Placed):
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
    codes of ⌊bits⌋ bits (from 1 bit; not with a codec fitted to queries). :attr:`plain_rows`
    counts them; results hold rows of both kinds.

    Memory: packed codes + 4 bytes a scale (one a vector, two with outliers), 4 for bounds (plain codecs from 2 bits,
    fitted ones), 4 more for "l2", 8 for the id, 8 where a fitted index has plain rows, the text of string ids. A map
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

    __slots__ = ("_core", "_placed", "_plain", "codec", "keep", "metric")

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
            advice = "; PaperIndex(codec, metric) searches its codes" if isinstance(codec, PaperCodec) else ""
            raise TypeError(f"codec must be a TurboQuant, got {type(codec).__name__}{advice}")
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
    def bits(self) -> Bits:
        """Bits a coordinate; of a fitted codec the average, a float; of one with outliers two numbers."""
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
        refuse_cuda(x, "x", codes_first if self.metric == "ip" and not self.codec._cpu_only and not self.keep else "")
        threads = as_threads(threads)
        x = as_rows(x, "x", self.dim, "codec")
        if 0 < x.size <= _FEW:
            new = self._core.add(as_float32(x, "x"), ids, replace)
            return as_names(ids) if isinstance(ids, list) else new
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
        return as_names(ids) if isinstance(ids, list) else new

    def add_codes(self, codes: Codes, ids: ArrayLike | Sequence[str] | None = None) -> NDArray[Any]:
        """Append codes that :meth:`TurboQuant.encode` made, with metric "ip" only (the others store more than codes).

        Returns and raises as :meth:`add`; codes of another codec, truncated ones and those on a GPU are refused, and an
        index with ``keep=`` refuses all, since it needs the vectors.
        """
        check_codec(codes, self.codec)
        if self.metric != "ip":
            raise ValueError(f'metric must be "ip" to add codes, got "{self.metric}"; add the vectors instead')
        if codes.bits != self.bits:
            raise ValueError(f"codes must be whole, {self.bits} bits, got codes truncated to {codes.bits}")
        if self.keep is not None:
            raise ValueError(f'keep must be None to add codes, got "{self.keep}"; add the vectors instead')
        given = None if ids is None else as_row_ids(ids)
        none = np.empty(0, np.float32)
        new = self._core.add_codes(*codes._contiguous(), none, given, False, None, None)
        return as_names(given) if isinstance(given, list) else new

    @classmethod
    def _from_core(cls, core: _core.FlatIndex) -> Index:
        index = object.__new__(cls)
        keep = None if core.keep is None else one_of(core.keep, "keep", tuple(_WIDTHS))
        index._take(TurboQuant._from_core(core.codec), one_of(core.metric, "metric", _METRICS), keep, core)
        return index

    def _take(
        self,
        codec: TurboQuant,
        metric: Metric,
        keep: Keep | None,
        core: _core.FlatIndex,
        placed: DeviceIndex | None = None,
    ) -> None:
        self.codec = codec
        self.metric: Metric = metric
        self.keep: Keep | None = keep
        self._core = core
        self._placed = placed
        plain = codec._core.plain()
        self._plain = None if plain is None else TurboQuant._from_core(plain)

    def __repr__(self) -> str:
        widths = self.codec._core.full
        staged = sum(widths) > 1 if self.codec.fitted else len(widths) == 1 and widths[0] > 1
        size = self.codec.bytes_per_vector() + (4 if self.metric == "l2" else 0) + (4 if staged else 0) + 8
        # Where some rows are plain codes, every row has its number.
        size += 8 if self.plain_rows else 0
        what = f"dim={self.dim}, bits={shown(self.bits)}, metric={self.metric!r}, n={len(self)}"
        if self.keep is not None:
            size += self.dim * _WIDTHS[self.keep] + (4 if self.keep == "int8" else 0)
            what += f", keep={self.keep!r}"
        if self.device != "cpu":
            what += f", device={self.device!r}"
        return f"Index({what}, {size:.1f} bytes per vector)"

    def __reduce__(self) -> tuple[Any, ...]:
        # The copy belongs to no file and is on the CPU.
        return Index.from_bytes, (self.to_bytes(),)


def _converted(x: NDArray[Any], keep: Keep) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return rows (n, dim) in the form in which an index keeps them: bytes, and scales (one a row for int8)."""
    kept = np.empty((len(x), x.shape[1] * _WIDTHS[keep]), np.uint8)
    scales = np.empty(len(x) if keep == "int8" else 0, np.float32)
    for first, block in blocks(x, "x"):
        part = slice(first, first + len(block))
        _core.convert_rows(keep, block, kept[part], scales[part], first)
    return kept, scales
