"""What every codec's calls on a GPU have in common: checks and memory around the drivers, errors as on the CPU.

Everything happens on the array's own GPU and on its library's current stream. What a call allocates comes from CuPy's
memory pool: the result, what the drivers say they need, and, where the caller's rows cannot be read in place, float32
rows a block at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from .._arrays import as_float32, as_queries, check_rows
from .._device import cupy_for, describe, on_cuda
from ..codes import Codes
from . import arrays
from .faults import Fault
from .runtime import CupyBackend


class Calls(ABC):
    """One codec's methods for arrays on a GPU.

    Parameters
    ----------
    codec : TurboQuant or PaperCodec
    row_bytes, norms : int
        Bytes of a packed row, and scales a row, as encoded.
    """

    def __init__(self, codec: Any, row_bytes: int, norms: int) -> None:
        self.codec, self.row_bytes, self.norms = codec, row_bytes, norms

    def encode(self, x: Any, *, validate: bool) -> tuple[Any, Any]:
        """Return packed rows and scales of the rows of a CUDA array, on its GPU."""
        dim = self.codec.dim
        with arrays.working_beside(x, "x") as device:
            rows = arrays.as_real(x, "x", device)
            check_rows(rows, "x", dim, "codec")
            n = len(rows)
            step = n if arrays.in_place(rows) else arrays.block_rows(dim)
            block = min(n, step)
            size = n * (self.row_bytes + 4 * self.norms) + (0 if step == n else 4 * dim * block)
            size += self._encode_bytes(block)
            advice = "encode fewer rows a call, or free memory there"
            with arrays.memory_for(f"encoding {n:,} rows", size, device, advice):
                backend = CupyBackend()
                packed = backend.empty((n, self.row_bytes), np.uint8)
                scales = backend.empty((n, self.norms), np.float32)
                for first in range(0, n, max(1, step)):
                    part = slice(first, first + step)
                    # No name holds the converted block: its memory is free for the next one.
                    operands = (packed[part], scales[part])
                    fault = self._encode(backend, arrays.as_float32(rows[part]), *operands, validate=validate)
                    if fault is not None:
                        row = first + fault.row
                        # The CPU reads the caller's values and words the message.
                        self._encode_on_host(rows[row : row + 1].get(), row)
                        raise _disagreement("x", row, fault)
        return packed, scales

    def decode(self, codes: Codes) -> Any:
        """Return decoded vectors, (n, dim) float32, on the GPU of the codes."""
        with arrays.working_beside(codes.packed, "codes") as device:
            packed, scales = contiguous(codes)
            size = 4 * self.codec.dim * len(codes) + self._decode_bytes(len(codes))
            advice = "decode fewer rows a call (codes[first:last]), or free memory there"
            with arrays.memory_for(f"decoding {len(codes):,} rows", size, device, advice):
                backend = CupyBackend()
                out = backend.empty((len(codes), self.codec.dim), np.float32)
                if len(codes):
                    self._decode(backend, codes, packed, scales, out)
        return out

    def score(self, queries: Any, codes: Codes, *, validate: bool) -> Any:
        """Return scores of queries against codes, both on one GPU, in the queries' library."""
        if not on_cuda(queries, "queries"):
            where = f"{describe(queries)} on the CPU"
            raise ValueError(
                f"queries must be on {codes.device}, where the codes are, got {where}; move one: "
                'cupy.asarray(queries), or codes.to("cpu")'
            )
        dim = self.codec.dim
        with arrays.working_beside(queries, "queries"):
            rows, single = as_queries(arrays.as_real(queries, "queries", codes.device), dim, "codec")
            packed, scales = contiguous(codes)
            size = 4 * len(rows) * len(codes) + (0 if arrays.in_place(rows) else 4 * dim * len(rows))
            size += self._score_bytes(len(rows), codes)
            what = f"scoring {len(rows):,} queries against {len(codes):,} codes"
            with arrays.memory_for(what, size, codes.device, "score fewer queries a call, or free memory there"):
                backend = CupyBackend()
                out = backend.empty((len(rows), len(codes)), np.float32)
                fault = self._score(backend, codes, arrays.as_float32(rows), packed, scales, out, validate=validate)
            if fault is not None:
                query = as_float32(rows[fault.row : fault.row + 1].get(), "queries", fault.row)
                none = np.empty((0, self.row_bytes), np.uint8), np.empty((0, self.norms), np.float32)
                self._score_on_host(query, *none, np.empty((1, 0), np.float32), fault.row)
                raise _disagreement("queries", fault.row, fault)
            return arrays.back(out[0] if single else out, queries)

    @abstractmethod
    def _encode(self, backend: CupyBackend, x: Any, packed: Any, scales: Any, *, validate: bool) -> Fault | None:
        """Encode float32 rows into both arrays."""

    @abstractmethod
    def _decode(self, backend: CupyBackend, codes: Codes, packed: Any, scales: Any, out: Any) -> None:
        """Decode contiguous parts of codes, at least one row."""

    @abstractmethod
    def _score(
        self, backend: CupyBackend, codes: Codes, queries: Any, packed: Any, scales: Any, out: Any, *, validate: bool
    ) -> Fault | None:
        """Score float32 queries against contiguous parts of codes."""

    @abstractmethod
    def _encode_on_host(self, x: Any, first_row: int) -> None:
        """Encode one row on the CPU, for its error."""

    @abstractmethod
    def _score_on_host(self, query: Any, packed: Any, scales: Any, out: Any, first_row: int) -> None:
        """Score one query on the CPU, for its error."""

    def _encode_bytes(self, rows: int) -> int:
        """Return the bytes that encoding takes beside its result."""
        return 0

    def _decode_bytes(self, rows: int) -> int:
        """Return the bytes that decoding takes beside its result."""
        return 0

    @abstractmethod
    def _score_bytes(self, queries: int, codes: Codes) -> int:
        """Return the bytes that scoring takes beside its result."""


def contiguous(codes: Codes) -> tuple[Any, Any]:
    """Return both arrays as kernels read them; strided slices of codes are copied."""
    cupy = cupy_for("codes")
    return cupy.ascontiguousarray(codes.packed), cupy.ascontiguousarray(codes.scales)


def _disagreement(name: str, row: int, fault: Fault) -> RuntimeError:
    return RuntimeError(
        f"the GPU refuses row {row} of {name} ({fault.kind} at column {fault.column}), but the CPU takes it; "
        "please report this as a bug of turboquant-rs"
    )
