"""Where a search writes: arrays of its own or the caller's; and what it read."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Out: TypeAlias = tuple[NDArray[np.float32], NDArray[np.int64]]

#: No machine holds a result of this many places (8 bytes each); larger ones would overflow sizes.
_MOST_PLACES = 1 << 50


@dataclasses.dataclass(slots=True)
class SearchStats:
    """What searches read: give one to ``stats=`` of :meth:`Index.search`, which adds to it.

    Rows are counted for every query, bytes that several queries share once. Threads that search at the same time take
    one each.
    On several threads the rows of one query that are read in full depend on which thread is ahead; its answer does not.
    Rows count each time they are read: for a large ``k`` also those of a sample that guesses how near its results are,
    and all that are read again where it guessed too near.

    Attributes
    ----------
    first_stage_rows : int
        Vectors of which only the first stage was read, to see whether they may be among the nearest.
    first_stage_bytes : int
        Bytes of those stages, with bounds, scales and squared norms ("l2").
    full_rows : int
        Vectors that were read in full.
    full_bytes : int
        Bytes of those, with scales and squared norms ("l2").

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import Index, SearchStats
    >>> index, stats = Index(64), SearchStats()
    >>> ids = index.add(np.random.default_rng(0).standard_normal((1000, 64)))
    >>> scores, ids = index.search(np.ones(64), k=3, exact=True, stats=stats)
    >>> stats
    SearchStats(first_stage_rows=0, first_stage_bytes=0, full_rows=1000, full_bytes=36000)
    """

    first_stage_rows: int = 0
    first_stage_bytes: int = 0
    full_rows: int = 0
    full_bytes: int = 0

    def _add(self, read: tuple[int, int, int, int]) -> None:
        self.first_stage_rows += read[0]
        self.first_stage_bytes += read[1]
        self.full_rows += read[2]
        self.full_bytes += read[3]


def as_stats(value: Any) -> SearchStats | None:
    """Return the caller's statistics, or None."""
    if value is not None and not isinstance(value, SearchStats):
        raise TypeError(f"stats must be a SearchStats, got {type(value).__name__}")
    return value


def places(out: Any, k: int, queries: NDArray[np.float32], single: bool) -> Out:
    """Return arrays (nq, k) for scores and ids: new ones, or views of the caller's."""
    nq = len(queries)
    if out is None:
        try:
            if k > _MOST_PLACES // max(1, nq):
                raise MemoryError
            return np.empty((nq, k), np.float32), np.empty((nq, k), np.int64)
        except (MemoryError, ValueError):
            raise ValueError(f"k must be small enough for {nq} rows of results to fit memory, got {k}") from None
    if not isinstance(out, (tuple, list)) or len(out) != 2:
        raise TypeError(f"out must be a pair of arrays (scores, ids), got {type(out).__name__}")
    shape = (k,) if single else (nq, k)
    scores, ids = (
        _place(array, f"out[{i}]", dtype, shape) for i, (array, dtype) in enumerate(zip(out, ("f4", "i8"), strict=True))
    )
    if np.may_share_memory(scores, ids) or any(np.may_share_memory(array, queries) for array in (scores, ids)):
        raise ValueError("out must be two arrays that share no memory with each other or the queries, got some that do")
    return scores.reshape(nq, k), ids.reshape(nq, k)


def _place(array: Any, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    wanted = np.dtype(dtype)
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a NumPy array, got {type(array).__name__}")
    if array.dtype != wanted or not array.dtype.isnative:
        raise TypeError(f"{name} must be of dtype {wanted.name} in native byte order, got {array.dtype!r}")
    if array.shape != shape:
        raise ValueError(f"{name} must have the result's shape {shape}, got {array.shape}")
    if not (array.flags.c_contiguous and array.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned, got strides {array.strides}")
    if not array.flags.writeable:
        raise ValueError(f"{name} must be writable, got a read-only array")
    return array
