"""The search on a backend beside the reference's index."""

from __future__ import annotations

from typing import Any

import numpy as np
import turboquant_rs
from numpy.typing import NDArray
from turboquant_rs.gpu import search
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.codec import split_key
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.fitted import FittedKey
from turboquant_rs.gpu.search_dense import DenseRows
from turboquant_rs.gpu.search_fitted import FittedRows
from turboquant_rs.gpu.search_plain import PlainRows
from turboquant_rs.gpu.search_split import SplitRows
from turboquant_rs.reference import FittedTurboQuant, TurboQuant
from turboquant_rs.reference.index import Index
from turboquant_rs.reference.staged import has_first_stage, row_bounds

from .parity import dense_key_of, key_of

Floats = NDArray[np.float32]
Found = tuple[Floats, NDArray[np.int64]]


def words_of(allowed: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """Return one bit a row, in words."""
    padded = np.zeros(-(-len(allowed) // 32) * 32, bool)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view("<u4").astype(np.uint32)


def scanned_of(codec: TurboQuant) -> search.Scanned:
    """Return how rows of a reference codec are scanned."""
    if isinstance(codec, FittedTurboQuant):
        return FittedRows(FittedKey(codec))
    spec = codec.spec
    if spec.outliers:
        options: dict[str, Any] = {"outliers": list(spec.outliers), "seed": spec.seed, "rotation": spec.rotation}
        bits: Any = tuple(segment.bits for segment in spec.segments)
        return SplitRows(split_key(turboquant_rs.TurboQuant(spec.dim, bits, **options)))
    return DenseRows(dense_key_of(codec)) if spec.rotation == "dense" else PlainRows(key_of(codec))


def kinds_of(
    backend: Backend, index: Index, cuts: list[int], allowed: NDArray[np.bool_] | None
) -> list[tuple[search.Scanned, list[tuple[search.RowPart, NDArray[np.uint32] | None]]]]:
    """Return the rows of a reference index on a backend, cut into parts before the rows ``cuts``."""
    kinds: list[tuple[search.Scanned, list[tuple[search.RowPart, NDArray[np.uint32] | None]]]] = []
    ties = np.argsort(np.argsort(index.ids)).astype(np.uint32)
    ascending = bool((np.diff(index.ids) > 0).all())
    for codec, numbers, codes in index.partitions:
        bounds = row_bounds(codec, codes).view(np.uint32)[:, 0] if has_first_stage(codec) else None
        scanned, parts = scanned_of(codec), []
        packed = scanned.laid_out(codes.packed)
        scales = codes.scales[:, 0] if scanned.scales == 1 else codes.scales
        inside = [at for at in cuts if at <= len(codes)]
        for first, last in zip([0, *inside], [*inside, len(codes)], strict=True):
            rows, own = slice(first, last), numbers[first:last]
            plain = ascending and np.array_equal(own, np.arange(first, last))
            part = search.RowPart(
                backend.asarray(packed[rows]),
                backend.asarray(scales[rows]),
                None if bounds is None else backend.asarray(bounds[rows]),
                backend.asarray(index.squares[own]) if index.metric == "l2" else None,
                None if plain else backend.asarray(ties[own]),
                first,
            )
            parts.append((part, None if allowed is None else backend.asarray(words_of(allowed[own]))))
        kinds.append((scanned, parts))
    kinds.sort(key=lambda kind: isinstance(kind[0], PlainRows))
    return kinds


def as_found(index: Index, keys: NDArray[np.uint64]) -> Found:
    """Return scores and ids of numbers of candidates."""
    values, places = search.read_keys(keys)
    ids = np.where(places < 0, -1, np.append(np.sort(index.ids), -1)[places])
    if index.metric == "l2":
        values = np.maximum(-values, np.float32(0))
    return values, ids


def run_search(
    backend: Backend,
    index: Index,
    queries: Floats,
    k: int,
    *,
    cuts: list[int] | None = None,
    allowed: NDArray[np.bool_] | None = None,
    deviations: float = 3.0,
) -> Found | Fault:
    """Search on the backend."""
    kinds = kinds_of(backend, index, cuts or [], allowed)
    keys, fault = search.search(backend, index.metric, kinds, backend.asarray(queries), k, deviations)
    return as_found(index, keys) if fault is None else fault


def same_found(got: Found | Fault, want: Found) -> bool:
    """Return whether scores and ids are equal, zeros of either sign among them."""
    return isinstance(got, tuple) and np.array_equal(got[0], want[0]) and np.array_equal(got[1], want[1])
