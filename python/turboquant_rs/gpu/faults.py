"""What kernels report of rows that must be refused: the first faulty one, without a synchronisation of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .backend import Backend

FaultKind = Literal["nonfinite", "norm", "square"]

#: Words of a fault buffer, one a kind, in this order; NONE where no row has that fault.
KINDS: tuple[FaultKind, ...] = ("nonfinite", "norm", "square")
NONE = 0xFFFF_FFFF_FFFF_FFFF

#: A word is row · 2^17 + column, so that the least word is the first row and, in it, the first column.
_COLUMN_BITS = 17


@dataclass(frozen=True)
class Fault:
    """The first row that is refused, and why.

    Attributes
    ----------
    kind : "nonfinite", "norm" or "square"
        NaN or ±inf; a norm or scale beyond the limit (float32 for rows, 2^96 for queries); a norm of 2^63 or more where
        squares were asked for.
    row, column : int
        Counted from 0 in the array that the driver was given; column is 0 for norms.
    """

    kind: FaultKind
    row: int
    column: int


def fault_buffer(backend: Backend) -> Any:
    """Return a device array in which kernels report faults, with none reported."""
    return backend.asarray(np.full(len(KINDS), NONE, np.uint64))


def reported(backend: Backend) -> Any:
    """Return a device array in which a fault of the first row is reported, of a kind that the host has yet to name."""
    words = np.full(len(KINDS), NONE, np.uint64)
    words[0] = 0
    return backend.asarray(words)


def first_fault(backend: Backend, buffer: Any) -> Fault | None:
    """Return the first faulty row of a buffer; waits for the device."""
    words = [int(word) for word in backend.to_host(buffer)]
    found = [(word, kind) for word, kind in zip(words, KINDS, strict=True) if word != NONE]
    if not found:
        return None
    # Of one row's faults the first kind counts, as on the CPU: values are checked before norms.
    row, kind, column = min(
        (word >> _COLUMN_BITS, KINDS.index(kind), word % (1 << _COLUMN_BITS)) for word, kind in found
    )
    return Fault(KINDS[kind], row, column)
