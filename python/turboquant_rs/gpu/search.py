"""The k nearest of the rows of an index on a device: candidates by their scores, cut by their first stage, k kept.

Rows are scanned a chunk at a time for a block of queries. A chunk's rows whose score may still be among the k best
so far become candidates (rank_dp4a.cu, rank_mma.cu), whose keys are cut at their upper ends (rank_cut.cu), and of which
the k best are kept (rank_best.cu, or a sort for large k). No matrix of scores is written: candidates are numbers that
order rows uniquely (ranking.cuh), so the answer is the CPU's however the work is split and in whatever order they come.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..reference.staged import DEVIATIONS
from .backend import Backend
from .faults import Fault, first_fault
from .gate import address
from .host_rows import Chunk, CopiedAhead
from .kernels import Kernel
from .plan import WARPS, WAVES, grid
from .score import FEW_QUERIES

#: Up to this k the best are kept by a kernel, in shared memory; beyond, candidates are sorted by the array's library.
MOST_KEPT = 1_024
#: Candidates that a block sorts at a time (TQ_TILE of rank_best.cu), and its threads.
TILE, BEST_THREADS = 1_024, 256
#: Queries of a block, and the bytes that their candidates may take.
MOST_QUERIES, CANDIDATE_BYTES = 1_024, 256 << 20
#: Rows of the first chunk at least, and how much longer each is than the one before: as long as there is no floor every
#: row is a candidate; later few are.
FIRST_ROWS, GROWTH = 4_096, 8
#: Bytes of codes in the host's memory that are copied at a time.
HOST_BYTES = 128 << 20
#: Threads that prepare a query's tables.
STAGE_THREADS = 128
#: Most rows that candidates can number.
MOST_ROWS = 1 << 31

#: The first row of a part.
ONE = slice(1)
#: No row, behind all candidates.
NO_ROW = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
#: Every key reaches it.
LOWEST_FLOOR = np.uint32(0xFFFF_FFFF)


@dataclass(frozen=True)
class RowPart:
    """Rows of one codec on a device, in the order of their numbers; all arrays are C-contiguous."""

    #: (n, row bytes) uint8 as :meth:`Scanned.laid_out` returns them, and (n,) or (n, scales) float32.
    packed: Any
    scales: Any
    #: (n,) uint32: the ratio of a row's first stage in the low half, its spread in the high one; None without a stage.
    bounds: Any
    #: (n,) float32 with metric l2, else None.
    squares: Any
    #: (n,) uint32: the place of every row among all by ascending ids; None where that is ``first`` + its number.
    ties: Any
    first: int
    #: Whether the arrays are in the host's memory; they are then copied to the device a chunk at a time.
    on_host: bool = False

    def __len__(self) -> int:
        return len(self.packed)

    def arrays(self, rows: slice) -> Chunk:
        """Return views of some of the rows."""
        arrays = (self.packed, self.scales, self.bounds, self.squares, self.ties)
        return tuple(None if array is None else array[rows] for array in arrays)


#: Parts with one bit a row that may be found, as words; None for all rows.
Parts: TypeAlias = Sequence[tuple[RowPart, Any]]


class Scanned(Protocol):
    """How rows of a codec are scanned."""

    #: Bytes of a packed row, and of its first stage; 0 where it has none.
    row_bytes: int
    stage_bytes: int
    #: Scales a row.
    scales: int
    #: Whether a few queries read the first stage of all rows and the rest of some.
    refines: bool

    def laid_out(self, packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return packed rows of the host as they are scanned."""

    def prepare(self, backend: Backend, queries: Any, metric: str, deviations: float) -> tuple[Any, Stage]:
        """Prepare queries (nq, dim) float32, nq ≥ 1, for scores and for the first stage."""

    def rank(
        self,
        backend: Backend,
        prepared: Any,
        packed: Any,
        scales: Any,
        ranking: tuple[Any, ...],
        counts: tuple[Any, ...],
    ) -> None:
        """Make rows whose score may be among the best candidates.

        ``ranking`` and ``counts`` are arguments of the rank kernels: squared norms to counts, and from the pitch on.
        """

    def refine(
        self, backend: Backend, prepared: Any, part: RowPart, stage: Stage, ranking: Candidates, queries: int
    ) -> None:
        """Cut candidates whose keys are upper ends to their scores."""

    def query_bytes(self) -> int:
        """Return the bytes that a query takes."""


Kinds: TypeAlias = Sequence[tuple[Scanned, Parts]]


def longest_of(kinds: Kinds) -> int:
    """Return the rows of the longest part."""
    return max((len(part) for _, parts in kinds for part, _ in parts), default=0)


class Span(NamedTuple):
    """Neighbouring rows of a part, from a multiple of 32 on, on the device; and their allowed bits (None: all)."""

    part: RowPart
    allowed: Any


@dataclass(frozen=True)
class Stage:
    """Queries prepared for the first stage."""

    #: Bytes of a row's first stage; 0 where its code has none.
    size: int
    tables: Any
    factors: Any
    deviations: Any
    #: |q|² with metric l2.
    squares: Any
    #: Products with a fitted codec's center.
    base: Any = None


#: Where squared norms alone are wanted.
NO_WORTH = (np.float32(0), np.float32(0), 0.0)
#: Codes of one bit, but for metric l2.
NO_STAGE = Stage(0, None, None, None, None)


def search(
    backend: Backend, metric: str, kinds: Kinds, queries: Any, k: int, deviations: float = DEVIATIONS
) -> tuple[NDArray[np.uint64], Fault | None]:
    """Return the k nearest rows of device queries, nearest first; waits for the device.

    Parameters
    ----------
    metric : "ip", "cosine" or "l2"
    kinds : sequence of (Scanned, parts)
        Rows of one codec, or of a fitted one and of the plain one of rows that it codes badly; parts as (RowPart,
        words), at most 2^31 rows; words (⌈n/32⌉,) uint32 of which bit i of word j allows row 32·j + i, or None.
    queries : (nq, dim) float32
    k : int
        At least 1.
    deviations : float
        Of the first stage's error, by which a score may pass its estimate.

    Returns
    -------
    keys : (nq, k) uint64
        Candidates (ranking.cuh) with places by ascending ids; NO_ROW where there are fewer rows. :func:`read_keys`.
    fault : Fault or None
        The first query that is refused; keys are then undefined.
    """
    found = np.empty((len(queries), k), np.uint64)
    step = queries_at_a_time(k)
    longest = longest_of(kinds)
    for first in range(0, len(queries), step):
        some = queries[first : first + step]
        ranking = Ranking(backend, len(some), k, longest)
        fault = scan(backend, metric, kinds, some, ranking, deviations)
        if fault is not None:
            return found, replace(fault, row=fault.row + first)
        found[first : first + step] = backend.to_host(ranking.best())
    return found, None


def within(
    backend: Backend, metric: str, kinds: Kinds, queries: Any, floor: np.uint32, deviations: float = DEVIATIONS
) -> tuple[list[NDArray[np.uint64]], Fault | None]:
    """Return all rows of every query whose order is at most ``floor``, nearest first; as :func:`search`."""
    found: list[NDArray[np.uint64]] = []
    longest = longest_of(kinds)
    for first in range(0, len(queries), MOST_QUERIES):
        some = queries[first : first + MOST_QUERIES]
        ranking = Collecting(backend, len(some), longest, floor)
        fault = scan(backend, metric, kinds, some, ranking, deviations)
        if fault is not None:
            return found, replace(fault, row=fault.row + first)
        found += ranking.found()
    return found, None


def scan(
    backend: Backend, metric: str, kinds: Kinds, queries: Any, ranking: Candidates, deviations: float
) -> Fault | None:
    """Offer all rows to a ranking, for one block of queries; waits and returns the first faulty query."""
    faults: list[Any] = []
    for scanned, parts in kinds:
        # The first kind looks for faults even if it has no rows; both find the same.
        if faults and not any(len(part) for part, _ in parts):
            continue
        prepared, stage = scanned.prepare(backend, queries, metric, deviations)
        faults.append(prepared.faults)
        for part, allowed in spans(backend, parts, ranking.first_rows, ranking.rows):
            shared = (stage.squares, part.squares)
            some = (*shared, allowed, ranking.floors, ranking.candidates, ranking.counts)
            counts = (np.int64(ranking.pitch), np.int64(len(part)), np.int64(len(queries)))
            if scanned.refines and stage_fits(backend, stage, len(queries)):
                rank_stage(backend, stage, part, some, counts)
                scanned.refine(backend, prepared, part, stage, ranking, len(queries))
            else:
                scanned.rank(backend, prepared, part.packed, part.scales, some, counts)
                cut(backend, stage, part, ranking, len(queries))
            ranking.take()
    return first_fault(backend, faults[0])


def spans(backend: Backend, parts: Parts, first_rows: int, most: int) -> Iterator[Span]:
    """Cut parts into chunks, of which the first has ``first_rows`` rows and each GROWTH times more, up to ``most``."""
    step, pieces = min(first_rows, most), []
    for part, words in parts:
        at = 0
        while at < len(part):
            longest = chunk_rows(part) if part.on_host else most
            rows = slice(at, min(at + min(step, longest), len(part)))
            pieces.append((part, rows, None if words is None else words[at // 32 :]))
            at, step = rows.stop, min(step * GROWTH, most)
    chunks = [part.arrays(rows) for part, rows, _ in pieces if part.on_host]
    with contextlib.closing(CopiedAhead(backend, chunks)) as copied:
        for part, rows, allowed in pieces:
            packed, scales, bounds, squares, ties = copied.next() if part.on_host else part.arrays(rows)
            yield Span(RowPart(packed, scales, bounds, squares, ties, part.first + rows.start), allowed)


def chunk_rows(part: RowPart) -> int:
    """Return how many rows of a part on the host are copied at a time, at most."""
    return max(32, HOST_BYTES // int(part.packed.shape[1]) // 32 * 32)


def stage_of(
    backend: Backend,
    prepared: Any,
    reaches: Any,
    worth: tuple[np.float32, np.float32, float],
    fours: int,
    metric: str,
    *,
    lengths: tuple[Any, Any] = (None, None),
    base: Any = None,
) -> Stage:
    """Tabulate prepared queries for a first stage of so many fours of bits, 0 for squared norms alone.

    ``worth`` is what a unit of a row's bounds is worth in a query's coordinates, what rounding adds to the square of
    its error, and by how many deviations scores may pass their estimates. ``lengths`` are those of a fitted codec's
    segments, and what is expected of a squared residual in each.
    """
    nq = len(prepared.norms)
    tables = backend.empty((nq, 16 * fours), np.uint8) if fours else None
    factors, deviations = backend.empty((nq,), np.float32), backend.empty((nq,), np.float32)
    squares = backend.empty((nq,), np.float32) if metric == "l2" else None
    args = (
        *(prepared.rotated, reaches, prepared.norms, prepared.exponents, *lengths),
        *(tables, factors, deviations, squares, prepared.faults),
        *(*worth[:2], np.float32(worth[2]), np.int32(metric == "cosine"), np.int32(4 * fours), np.int64(nq)),
    )
    segments = 0 if lengths[1] is None else len(lengths[1])
    kernel = Kernel("stage_tables", (("TQ_STAGE_SEGMENTS", segments), ("TQ_THREADS", STAGE_THREADS)))
    backend.launch(kernel, grid(backend, nq), STAGE_THREADS, args, 4 * STAGE_THREADS // 32)
    return Stage(fours // 2, tables, factors, deviations, squares, base)


def cut(backend: Backend, stage: Stage, part: RowPart, ranking: Candidates, nq: int) -> None:
    """Cut the keys of the candidates of a chunk, and number them as rows of the index."""
    spread = blocks_a_query(backend, len(part), nq)
    args = (
        *(part.packed, part.scales, part.bounds if stage.size else None),
        *((stage.tables, stage.factors, stage.deviations) if stage.size else (None, None, None)),
        *(stage.base, stage.squares, part.squares, part.ties),
        *(ranking.floors, ranking.candidates, ranking.counts),
        *(np.int32(part.packed.shape[1]), np.int64(part.first)),
        *(np.int64(ranking.pitch), np.int64(spread), np.int64(nq)),
    )
    kernel = Kernel("rank_cut", (("TQ_STAGE_BYTES", stage.size), ("TQ_WARPS", WARPS)))
    backend.launch(kernel, grid(backend, nq * spread), 32 * WARPS, args, 0)


def blocks_a_query(backend: Backend, rows: int, queries: int) -> int:
    """Return how many blocks work on the candidates of one query: as many as the device holds, a query's share each.

    They find out by themselves how many candidates there are.
    """
    return max(1, min(-(-rows // WARPS), backend.processors * WAVES // queries))


def stage_fits(backend: Backend, stage: Stage, queries: int) -> bool:
    """Return whether so few queries read first stages alone, and their tables fit shared memory."""
    return queries <= FEW_QUERIES and 0 < 32 * stage.size * queries <= backend.shared_limit


def rank_stage(
    backend: Backend, stage: Stage, part: RowPart, ranking: tuple[Any, ...], counts: tuple[Any, ...]
) -> None:
    """Make rows whose upper ends may be among the best candidates, with these as keys."""
    row_bytes, queries = part.packed.shape[1], int(counts[-1])
    words = row_bytes % 4 == 0 and stage.size % 4 == 0 and address(part.packed) % 4 == 0
    args = (
        *(part.packed, part.scales, part.bounds, stage.tables, stage.factors, stage.deviations, stage.base),
        *(*ranking, np.int32(row_bytes), *counts),
    )
    parameters = {"TQ_STAGE_BYTES": stage.size, "TQ_THREADS": STAGE_THREADS, "TQ_WHOLE_WORDS": int(words)}
    blocks = grid(backend, -(-len(part) // STAGE_THREADS))
    kernel = Kernel("rank_stage", tuple(sorted(parameters.items())))
    backend.launch(kernel, blocks, STAGE_THREADS, args, 32 * stage.size * queries)


class Candidates:
    """Candidates of a block of queries: of each, numbers that are kept, and room for those of a chunk."""

    first_rows: int

    def __init__(self, backend: Backend, queries: int, kept: int, longest: int) -> None:
        self.backend, self.queries, self.kept = backend, queries, kept
        #: Rows of a chunk at most; all of them may become candidates.
        self.rows = rows_at_a_time(queries, kept, longest)
        self.pitch = kept + self.rows
        self._numbers = backend.empty((queries * self.pitch,), np.uint64)
        #: The numbers by query, kept ones first; and flat, from the first query's candidates on.
        self.numbers = self._numbers.reshape(queries, self.pitch)
        self.candidates = self._numbers[kept:]
        self.floors = backend.empty((queries,), np.uint32)
        self.counts = backend.empty((queries,), np.uint32)
        self.floors[:] = LOWEST_FLOOR
        self.counts[:] = np.uint32(0)

    def take(self) -> None:
        """Make something of the candidates of a chunk; there are none afterwards."""
        raise NotImplementedError


class Ranking(Candidates):
    """The k best so far."""

    def __init__(self, backend: Backend, queries: int, k: int, longest: int) -> None:
        super().__init__(backend, queries, kept_of(k), longest)
        self.k = k
        self.first_rows = max(FIRST_ROWS, 4 * k)
        self.sorts = k > MOST_KEPT
        self.numbers[:, : self.kept] = NO_ROW
        if self.sorts:
            self.numbers[:, self.kept :] = NO_ROW

    def take(self) -> None:
        """Keep the k best of those kept and of the candidates, and raise the floors."""
        if self.sorts:
            self.numbers.sort(axis=1)
            self.numbers[:, self.kept :] = NO_ROW
            self.floors[:] = (self.numbers[:, self.k - 1] >> np.uint64(32)).astype(np.uint32)
            self.counts[:] = np.uint32(0)
            return
        args = (
            *(self._numbers, self.counts, self.floors),
            *(np.int32(self.k), np.int64(self.pitch), np.int64(self.queries)),
        )
        parameters = (("TQ_KEPT", self.kept), ("TQ_THREADS", BEST_THREADS), ("TQ_TILE", TILE))
        blocks = grid(self.backend, self.queries)
        self.backend.launch(Kernel("rank_best", parameters), blocks, BEST_THREADS, args, 8 * (self.kept + TILE))

    def best(self) -> Any:
        """Return the k best, (queries, k)."""
        return self.numbers[:, : self.k]


class Collecting(Candidates):
    """All rows that reach a fixed floor."""

    def __init__(self, backend: Backend, queries: int, longest: int, floor: np.uint32) -> None:
        super().__init__(backend, queries, 0, longest)
        self.first_rows = self.rows
        self.floors[:] = floor
        self._found: list[list[NDArray[np.uint64]]] = [[] for _ in range(queries)]

    def take(self) -> None:
        """Bring the candidates of a chunk to the host; this waits."""
        counts = self.backend.to_host(self.counts)
        most = int(counts.max(initial=0))
        if most:
            numbers = self.backend.to_host(self.numbers[:, :most])
            for found, row, count in zip(self._found, numbers, counts, strict=True):
                found.append(row[:count][row[:count] != NO_ROW])
        self.counts[:] = np.uint32(0)

    def found(self) -> list[NDArray[np.uint64]]:
        """Return the rows of every query, nearest first."""
        return [np.sort(np.concatenate([np.empty(0, np.uint64), *parts])) for parts in self._found]


def kept_of(k: int) -> int:
    """Return how many numbers are kept for k: a power of two where a kernel merges them."""
    return max(32, 1 << (k - 1).bit_length()) if k <= MOST_KEPT else k


def queries_at_a_time(k: int) -> int:
    """Return how many queries are searched for together."""
    return max(1, min(MOST_QUERIES, CANDIDATE_BYTES // (8 * (kept_of(k) + max(FIRST_ROWS, 4 * k)))))


def rows_at_a_time(queries: int, kept: int, longest: int) -> int:
    """Return how many rows of parts of at most ``longest`` rows are scanned together: a multiple of 32."""
    room = max(FIRST_ROWS, CANDIDATE_BYTES // (8 * queries) - kept)
    return max(32, min(room // 32 * 32, -(-longest // 32) * 32))


def buffer_bytes(kinds: Kinds, queries: int, k: int) -> int:
    """Return the bytes of a search beside rows: prepared queries, their tables, and candidates (twice where sorted)."""
    block, kept = min(queries, queries_at_a_time(k)), kept_of(k)
    rows = rows_at_a_time(max(1, block), kept, longest_of(kinds))
    candidates = 8 * block * (kept + rows) * (2 if k > MOST_KEPT else 1)
    # While a chunk on the host is searched, the next one is copied.
    copied = [
        min(len(part), chunk_rows(part), rows)
        * sum(int(array.nbytes) for array in part.arrays(ONE) if array is not None)
        for _, parts in kinds
        for part, _ in parts
        if part.on_host
    ]
    chunks = 2 * max(copied, default=0)
    return chunks + candidates + block * sum(scanned.query_bytes() for scanned, _ in kinds)


def order_of(key: float) -> np.uint32:
    """Return the order of a key (tq_order of ranking.cuh).

    >>> bool(order_of(2.0) < order_of(1.0) < order_of(0.0) == order_of(-0.0) < order_of(-1.0))
    True
    """
    bits = int(np.float32(key).view(np.uint32))
    return np.uint32(bits if bits > 0x8000_0000 else 0x7FFF_FFFF - (bits & 0x7FFF_FFFF))


def read_keys(keys: NDArray[np.uint64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the key and the place by ascending ids that numbers of candidates stand for; −inf and −1 for no row.

    >>> order = np.uint64(order_of(-2.5))
    >>> read_keys(np.array([order << np.uint64(32) | np.uint64(7 << 1), NO_ROW]))
    (array([-2.5, -inf], dtype=float32), array([ 7, -1]))
    """
    order, low = (keys >> np.uint64(32)).astype(np.uint32), keys.astype(np.uint32)
    bits = np.where(order > 0x8000_0000, order, np.uint32(0x7FFF_FFFF) - order).astype(np.uint32)
    bits = np.where((low & np.uint32(1)).astype(bool) & (bits == 0), np.uint32(0x8000_0000), bits)
    none = keys == NO_ROW
    values = np.where(none, np.float32(-np.inf), bits.view(np.float32)).astype(np.float32)
    return values, np.where(none, -1, (low >> np.uint32(1)).astype(np.int64))
