"""Filter: which vectors of an index a search may return."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from . import _core
from ._arrays import as_ids, as_int
from ._core import Filter as _Rows
from ._ids import as_row_ids

_MOST = (1 << 63) - 1


class Filter:
    """A set of an index's vectors that a search may return; :meth:`Index.filter` makes it, for any number of searches.

    It knows of the vectors that were in the index when it was made: those added later are not in it, and removed ones
    are not found. Other indexes refuse it, and so does its own once the place of removed vectors was taken back
    (:meth:`Index.compact`). One bit a vector. Immutable, so any number of threads may share it.

    Notes
    -----
    ``a & b`` holds the vectors in both, ``a | b`` those in either, ``~a`` those that a knows of and leaves out;
    ``len`` counts them, of ``~a`` also vectors that had been removed before, which no search finds.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import Index
    >>> index = Index(64)
    >>> ids = index.add(np.random.default_rng(0).standard_normal((1000, 64)))
    >>> recent, english = index.filter(range(900, 1000)), index.filter(ids % 2 == 0)
    >>> recent & ~english
    Filter(50 vectors)
    >>> scores, found = index.search(np.ones(64), k=3, filter=recent & english)
    >>> bool((found >= 900).all()), (found % 2).tolist()
    (True, [0, 0, 0])
    """

    __slots__ = ("_core",)
    #: Arrays leave & and | to this class, which refuses them.
    __array_ufunc__ = None

    _core: _Rows

    def __init__(self) -> None:
        raise TypeError("filters are made by an index: index.filter(mask), index.filter(ids), index.filter(range(…))")

    @classmethod
    def _of(cls, core: _Rows) -> Filter:
        self: Filter = object.__new__(cls)
        self._core = core
        return self

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._core.nbytes

    def __len__(self) -> int:
        return len(self._core)

    def __and__(self, other: Filter) -> Filter:
        return self._of(self._core.and_(_filter(other)._core))

    def __or__(self, other: Filter) -> Filter:
        return self._of(self._core.or_(_filter(other)._core))

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> Filter:
        return self._of(self._core.complement())

    def __repr__(self) -> str:
        return f"Filter({len(self)} vectors)"

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a Filter cannot be pickled, since it is of one index in one process; keep its ids instead")


def _filter(other: object) -> Filter:
    if isinstance(other, Filter):
        return other
    raise TypeError(
        f"a Filter combines with a Filter of the same index, got {type(other).__name__}; index.filter makes one"
    )


#: What says which vectors are allowed.
Allowed: TypeAlias = Filter | ArrayLike | range | slice


def as_filter(index: _core.FlatIndex | _core.PaperIndex, allowed: Allowed, name: str) -> _Rows:
    """Return the filter of an index that a mask, ids, a range or slice of ids, or a filter stands for."""
    if isinstance(allowed, Filter):
        return allowed._core
    if isinstance(allowed, (range, slice)):
        return index.filter_range(*_progression(allowed, name))
    array = np.asarray(allowed)
    strings = array.dtype.kind in "UT" or (array.dtype.kind == "O" and any(isinstance(id_, str) for id_ in array.flat))
    if strings and array.ndim:
        return index.filter_ids(as_row_ids(allowed if isinstance(allowed, (list, tuple)) else array, name))
    if array.dtype != np.bool_:
        if array.size and array.dtype.kind not in "iu":
            kinds = "a Filter, a mask (bool), ids (integers or strings), a range or a slice of ids"
            raise TypeError(f"{name} must be {kinds}, got {type(allowed).__name__} of dtype {array.dtype}")
        return index.filter_ids(as_ids(allowed, name))
    if isinstance(allowed, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; fill it first")
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D mask, one value a vector, got {array.ndim}-D with shape {array.shape}")
    return index.filter_rows(np.ascontiguousarray(array))


def _progression(ids: range | slice, name: str) -> tuple[int, int, int]:
    """Return first, last and step of the ids in a range or slice that can be in an index; without one, last < first."""
    if isinstance(ids, slice):
        first = 0 if ids.start is None else as_int(ids.start, f"{name}.start", 0, _MOST)
        end = _MOST + 1 if ids.stop is None else as_int(ids.stop, f"{name}.stop", 0, _MOST + 1)
        ids = range(first, end, 1 if ids.step is None else as_int(ids.step, f"{name}.step", 1, _MOST))
    if ids.step < 0:
        ids = ids[::-1]
    if ids.start < 0:
        ids = range(ids.start % ids.step, ids.stop, ids.step)
    return (
        (min(ids.start, _MOST), min(ids[-1], _MOST), min(ids.step, _MOST)) if ids and ids.start <= _MOST else (1, 0, 1)
    )
