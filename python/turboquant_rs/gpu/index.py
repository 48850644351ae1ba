"""An index's rows in the memory of a GPU: copied there, kept up with what is added and removed, and searched.

The rows themselves stay in host memory, where they are added, removed, saved and decoded; a search first copies what is
new. So an index that does not fit leaves everything as it is, and one set of rows may be searched on several GPUs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .. import _core
from .._arrays import as_queries
from .._device import cupy_for, on_cuda
from . import arrays
from .codec import dense_key, fitted_key, plain_key, split_key
from .runtime import CupyBackend
from .search import (
    MOST_ROWS,
    RowPart,
    Scanned,
    buffer_bytes,
    order_of,
    queries_at_a_time,
    read_keys,
    search,
    within,
)
from .search_dense import DenseRows
from .search_fitted import FittedRows
from .search_plain import PlainRows
from .search_split import SplitRows

if TYPE_CHECKING:
    from ..codec import TurboQuant

#: Bytes of packed codes that are copied at a time.
COPY_BYTES = 64 << 20
#: Parts that rows may lie in, one an addition; beyond, all are copied anew into one.
MOST_PARTS = 16

State = tuple[int, int, int]


class Copied(NamedTuple):
    """Rows of one kind on the GPU."""

    part: RowPart
    #: Numbers of the rows in the order of adding, or the first of as many as there are.
    numbers: NDArray[np.int64] | int

    def of(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return those of values, one a number, that belong to the rows."""
        if isinstance(self.numbers, int):
            return values[self.numbers : self.numbers + len(self.part)]
        return values[self.numbers]


class Room(NamedTuple):
    """Room for rows: packed codes, scales, bounds and squares, the last two where there are such."""

    arrays: tuple[Any, Any, Any, Any]
    on_host: bool

    def __len__(self) -> int:
        return len(self.arrays[0])


class Held(NamedTuple):
    """Rows on the GPU."""

    #: How often rows got new numbers, and how many rows there are.
    changes: int
    stored: int
    #: For each kind, rows of the codec and rows that it codes badly, what was copied of it.
    kinds: tuple[tuple[Copied, ...], ...]
    #: Ids, ascending; None where they are 0, 1, 2 ….
    ids: NDArray[np.int64] | None


class DeviceIndex:
    """The rows of an index on one GPU.

    Any number of threads may search.

    Parameters
    ----------
    core : FlatIndex
        Whose rows are copied.
    codec : TurboQuant
    metric : "ip", "cosine" or "l2"
    device : str
        "cuda:0" and so on.
    memory : int, optional
        Bytes that rows may take on the GPU. Others are kept in pinned memory of the host, and copied as they are
        searched.

    Raises
    ------
    MemoryError
        If the GPU has too little memory.
    ValueError
        For more rows than a GPU's candidates can number.
    """

    def __init__(
        self, core: _core.FlatIndex, codec: TurboQuant, metric: str, device: str, memory: int | None = None
    ) -> None:
        self._core, self._codec, self._metric, self.device, self.memory = core, codec, metric, device, memory
        self._scanned = _scanned(codec)
        self._none = Held(-1, 0, ((),) * len(self._scanned), None)
        self._lock = Lock()
        self._held = self._none
        #: The state of which rows are marked as removed, and the marks of each part of each kind.
        self._live: tuple[State, list[list[Any]]] | None = None
        with self._scope():
            self._refreshed()

    @property
    def nbytes(self) -> int:
        """Bytes of rows on the GPU."""
        return _bytes_of(self._held.kinds, on_host=False)

    @property
    def pinned_nbytes(self) -> int:
        """Bytes of rows in pinned memory of the host."""
        return _bytes_of(self._held.kinds, on_host=True)

    def rows_of(self, queries: Any) -> tuple[Any, bool]:
        """Return CUDA queries as CuPy's (nq, dim) float32 on this GPU, and whether they were a single 1-D one."""
        with arrays.working_beside(queries, "queries"):
            real = arrays.as_real(queries, "queries", self.device, "the index is")
            rows, single = as_queries(real, self._codec.dim, "index")
            return arrays.as_float32(rows), single

    def search(
        self, queries: Any, rows: Any, k: int, allowed: _core.Filter | None, deviations: float
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], tuple[int, int, int, int]]:
        """Return scores and ids (nq, k) on the host, or for fewer columns all vectors, and what was read.

        ``rows`` are the caller's ``queries`` as float32: on the host, or by :meth:`rows_of`.
        """
        with self._working(queries):
            held, kinds = self._allowed(allowed)
            most = max(1, min(k, held.stored))
            size = buffer_bytes(kinds, len(rows), most)
            size += 0 if on_cuda(rows, "queries") else 4 * self._codec.dim * len(rows)
            with self._memory(f"searching {held.stored:,} vectors for {len(rows):,} queries", size):
                moved = cupy_for("queries").asarray(rows)
                keys, fault = search(CupyBackend(), self._metric, kinds, moved, most, deviations)
            if fault is not None:
                self._refuse(rows)
        values, ids = self._read(held, keys)
        return self._scores(values), ids, self._read_stats(held, len(rows), queries_at_a_time(most))

    def range_search(
        self, queries: Any, rows: Any, threshold: float, allowed: _core.Filter | None, deviations: float
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64], tuple[int, int, int, int]]:
        """Return limits, scores and ids of the rows within a threshold, on the host, and what was read."""
        l2 = self._metric == "l2"
        with self._working(queries):
            held, kinds = self._allowed(allowed)
            size = buffer_bytes(kinds, len(rows), 1)
            with self._memory(f"searching {held.stored:,} vectors for {len(rows):,} queries", size):
                moved = cupy_for("queries").asarray(rows)
                floor = order_of(-threshold if l2 else threshold)
                found, fault = within(CupyBackend(), self._metric, kinds, moved, floor, deviations)
            if fault is not None:
                self._refuse(rows)
        none = np.empty(0, np.uint64)
        values, ids = self._read(held, np.concatenate([none, *found]))
        scores = self._scores(values)
        lims = np.cumsum([0, *map(len, found)], dtype=np.int64)
        if l2 and threshold < 0:  # distances are reported clamped, and then none is below 0
            lims, scores, ids = np.zeros_like(lims), scores[:0], ids[:0]
        return lims, scores, ids, self._read_stats(held, len(rows), queries_at_a_time(1))

    def back(self, result: NDArray[Any], queries: Any) -> Any:
        """Return a host array in the library of the caller's CUDA queries, on this GPU."""
        with arrays.working_beside(queries, "queries"):
            return arrays.back(cupy_for("queries").asarray(result), queries)

    def _scope(self) -> contextlib.AbstractContextManager[Any]:
        scope: contextlib.AbstractContextManager[Any] = cupy_for("device").cuda.Device(int(self.device[5:]))
        return scope

    def _working(self, queries: Any) -> contextlib.AbstractContextManager[Any]:
        return arrays.working_beside(queries, "queries") if on_cuda(queries, "queries") else self._scope()

    def _memory(self, what: str, size: int) -> contextlib.AbstractContextManager[None]:
        advice = "search for fewer queries or with a smaller k, or free memory there"
        return arrays.memory_for(what, size, self.device, advice)

    def _scores(self, keys: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return keys as they are reported: negated distances as distances, never below 0."""
        return np.maximum(-keys, np.float32(0)) if self._metric == "l2" else keys

    def _read(self, held: Held, keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        values, places = read_keys(keys)
        if held.ids is None or not len(held.ids):
            return values, places
        return values, np.where(places < 0, np.int64(-1), held.ids[places])

    def _read_stats(self, held: Held, queries: int, together: int) -> tuple[int, int, int, int]:
        """Return what was read: every row in full, once for queries that are searched for together."""
        each = self._codec.bytes_per_vector() + (4 if self._metric == "l2" else 0)
        return 0, 0, queries * held.stored, int(-(-queries // together) * held.stored * each)

    def _refuse(self, rows: Any) -> None:
        """Raise the CPU's error for faulty queries: an empty index of the kind checks them and reads no row."""
        host = rows.get() if on_cuda(rows, "queries") else rows
        empty = _core.FlatIndex(self._codec._core, self._metric, None)
        scores, ids = np.empty((len(host), 1), np.float32), np.empty((len(host), 1), np.int64)
        empty.search(host, 1, 0, scores, ids, None, True, 3.0, 1)
        raise RuntimeError("the GPU refuses queries that the CPU takes; please report this as a bug of turboquant-rs")

    def _allowed(self, allowed: _core.Filter | None) -> tuple[Held, list[tuple[Scanned, list[tuple[RowPart, Any]]]]]:
        """Return the rows, up to date, by kinds, and for each part the bits of those that may be found (None: all)."""
        while True:
            held = self._refreshed()
            state = _core.row_state(self._core)
            words: list[list[Any]] = [[None] * len(kind) for kind in held.kinds]
            live = self._live
            if allowed is None and live is not None and live[0] == (held.changes, held.stored, state[2]):
                words = live[1]
            elif allowed is not None or state[2]:
                state, rows = _core.allowed_rows(self._core, allowed)
                if state[0] != held.changes or state[1] < held.stored:
                    continue
                asarray = cupy_for("codes").asarray
                words = [[asarray(_words(copied.of(rows))) for copied in kind] for kind in held.kinds]
                if allowed is None and state[1] == held.stored:
                    self._synchronize()
                    self._live = state, words
            parts = [
                [(copied.part, some) for copied, some in zip(kind, of_kind, strict=True)]
                for kind, of_kind in zip(held.kinds, words, strict=True)
            ]
            return held, list(zip(self._scanned, parts, strict=True))

    def _refreshed(self) -> Held:
        """Return the rows on the GPU, with those that the index has now."""
        with self._lock:
            while True:
                changes, stored, _ = _core.row_state(self._core)
                held = self._held
                if (held.changes, held.stored) == (changes, stored):
                    return held
                if held.changes != changes or held.stored > stored or len(held.kinds[0]) >= MOST_PARTS:
                    held = self._none._replace(changes=changes)
                    # What is held now goes before its successor comes: there may be no room for both.
                    self._held, self._live = self._none, None
                new = self._longer(held, stored)
                if new is not None:
                    self._held, self._live = new, None
                    return new

    def _longer(self, held: Held, stored: int) -> Held | None:
        """Return rows with those up to number ``stored``; None if rows got new numbers meanwhile."""
        if stored > MOST_ROWS:
            raise ValueError(f"device must be the CPU for more than {MOST_ROWS:,} vectors, got {stored:,}")
        count = stored - held.stored
        each = self._row_bytes(self._scanned[0])
        advice = "free memory there, let rows stay on the host (memory=), or search on the CPU: the index is as it was"
        size = count * each if self.memory is None else min(count * each, self.memory)
        with arrays.memory_for(f"copying {count:,} vectors of an index", size, self.device, advice):
            kinds: list[tuple[Copied, ...]] = list(held.kinds)
            for kind, before in enumerate(held.kinds):
                new = self._copied(held, stored, kind, _bytes_of(kinds, on_host=False))
                if new is None:
                    return None
                kinds[kind] = (*before, *new)
            state, ids = _core.stored_ids(self._core)
            if state[0] != held.changes or state[1] < stored:
                return None
            ids = ids[:stored]
            ranks = None
            if not (ids[:-1] < ids[1:]).all():
                order = np.argsort(ids)
                ranks = np.empty(stored, np.uint32)
                ranks[order] = np.arange(stored, dtype=np.uint32)
                ids = ids[order]
            placed = tuple(tuple(_placed(copied, ranks) for copied in kind) for kind in kinds)
            # Other streams may read them from now on.
            self._synchronize()
        counted = stored == 0 or (ids[0] == 0 and ids[-1] == stored - 1)
        return Held(held.changes, stored, placed, None if counted else ids)

    def _copied(self, held: Held, stored: int, kind: int, taken: int) -> tuple[Copied, ...] | None:
        """Return copies of rows of a kind from those that are held up to number ``stored``; None as :meth:`_longer`.

        ``taken`` bytes on the GPU hold other rows.
        """
        scanned, plain = self._scanned[kind], kind == 1
        state, count = _core.count_rows(self._core, held.stored, stored, plain)
        if state[0] != held.changes:
            return None
        each = self._row_bytes(scanned)
        fit = count if self.memory is None else min(count, max(0, self.memory - taken) // each)
        # Rows on the GPU, then rows on the host.
        rooms = [self._room(scanned, fit, on_host=False), self._room(scanned, count - fit, on_host=True)]
        numbers, step, at = np.empty(count, np.int64), max(1, COPY_BYTES // scanned.row_bytes), 0
        for first in range(held.stored, stored, step):
            state, rows = _core.copy_rows(self._core, first, min(first + step, stored), plain)
            copied: tuple[Any, ...] = rows
            if state[0] != held.changes:
                return None
            n = len(copied[4])
            if not n:
                continue
            copied = (scanned.laid_out(copied[0].reshape(n, -1)), *copied[1:])
            numbers[at : at + n] = copied[4]
            for room, start in zip(rooms, (0, fit), strict=True):
                here = slice(max(at, start), min(at + n, start + len(room)))
                for array, host in zip(room.arrays, copied[:4], strict=True):
                    if array is not None and here.start < here.stop:
                        part = array[here.start - start : here.stop - start]
                        some = host.reshape(n, -1)[here.start - at : here.stop - at].reshape(part.shape)
                        if room.on_host:
                            part[...] = some
                        else:
                            part.set(some)
            at += n
        made = []
        for room, own in zip(rooms, (numbers[:fit], numbers[fit:]), strict=True):
            if len(own):
                first, together = int(own[0]), int(own[-1] - own[0]) == len(own) - 1
                part = RowPart(*room.arrays, None, first, room.on_host)
                made.append(Copied(part, first if together else own))
        return tuple(made)

    def _row_bytes(self, scanned: Scanned) -> int:
        """Return the bytes of a row on the GPU, but for its place among ids."""
        return scanned.row_bytes + 4 * (scanned.scales + bool(scanned.stage_bytes) + (self._metric == "l2"))

    def _room(self, scanned: Scanned, count: int, *, on_host: bool) -> Room:
        """Return room for rows: on the GPU, or in memory of the host that it can read by itself."""
        empty = _pinned if on_host else cupy_for("device").empty
        packed = empty((count, scanned.row_bytes), np.uint8)
        scales = empty((count,) if scanned.scales == 1 else (count, scanned.scales), np.float32)
        bounds = empty((count,), np.uint32) if scanned.stage_bytes else None
        squares = empty((count,), np.float32) if self._metric == "l2" else None
        return Room((packed, scales, bounds, squares), on_host)

    def _synchronize(self) -> None:
        cupy_for("device").cuda.get_current_stream().synchronize()


def _scanned(codec: TurboQuant) -> tuple[Scanned, ...]:
    """Return how an index's rows are scanned: those of its codec, and those that a fitted one codes badly."""
    refine = int(codec.refine)
    if codec.fitted:
        plain = codec._core.plain()
        others = () if plain is None else (PlainRows(plain_key(type(codec)._from_core(plain))),)
        return FittedRows(fitted_key(codec, refine)), *others
    if codec.split:
        return (SplitRows(split_key(codec)),)
    return (DenseRows(dense_key(codec, refine)) if codec.rotation == "dense" else PlainRows(plain_key(codec)),)


def _placed(copied: Copied, ranks: NDArray[np.uint32] | None) -> Copied:
    """Return rows with their places by ascending ids: ``ranks``, one a number, or numbers themselves."""
    if ranks is not None:
        ties = copied.of(ranks)
    elif isinstance(copied.numbers, int):
        return copied._replace(part=replace(copied.part, ties=None))
    else:
        ties = copied.numbers.astype(np.uint32)
    if copied.part.on_host:
        pageable, ties = ties, _pinned(ties.shape, ties.dtype)
        ties[...] = pageable
    else:
        ties = cupy_for("device").asarray(ties)
    return copied._replace(part=replace(copied.part, ties=ties))


def _bytes_of(kinds: Sequence[Sequence[Copied]], *, on_host: bool) -> int:
    parts = [copied.part for kind in kinds for copied in kind if copied.part.on_host == on_host]
    held = [(part.packed, part.scales, part.bounds, part.squares, part.ties) for part in parts]
    return sum(int(array.nbytes) for arrays in held for array in arrays if array is not None)


def _pinned(shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
    """Return an uninitialised host array whose memory the GPU reads without the processor's help."""
    kind, count = np.dtype(dtype), int(np.prod(shape, dtype=np.int64))
    memory = cupy_for("device").cuda.alloc_pinned_memory(max(1, count * kind.itemsize))
    return np.frombuffer(memory, kind, count).reshape(shape)


def _words(allowed: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return one bit a row, in words.

    >>> _words(np.array([True, False, True])).tolist()
    [5]
    """
    words = np.zeros(-(-len(allowed) // 32), "<u4")
    packed = np.packbits(allowed, bitorder="little")
    words.view(np.uint8)[: len(packed)] = packed
    return words.astype(np.uint32)
