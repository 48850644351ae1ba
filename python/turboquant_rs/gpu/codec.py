"""TurboQuant's methods for arrays on a GPU: checks and memory around the drivers, errors as on the CPU.

Everything happens on the array's own GPU and on its library's current stream. What a call allocates comes from CuPy's
memory pool: the result, and, where the caller's rows cannot be read in place, float32 rows a block at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_float32, as_queries, check_rows
from .._device import cupy_for, describe, on_cuda
from ..codes import Codes
from . import arrays
from .constants import CodecKey
from .decode import decode as launch_decode
from .encode import encode as launch_encode
from .faults import Fault
from .plan import query_bytes
from .runtime import CupyBackend
from .score import QUERY_BUFFER
from .score import score as launch_score

if TYPE_CHECKING:
    from ..codec import TurboQuant


def encode(codec: TurboQuant, x: Any, *, validate: bool) -> Codes:
    """Encode rows of a CUDA array into codes on its GPU; see :meth:`turboquant_rs.TurboQuant.encode`."""
    with arrays.working_beside(x, "x") as device:
        rows = arrays.as_real(x, "x", device)
        check_rows(rows, "x", codec.dim, "codec")
        n, row_bytes = len(rows), codec._core.row_bytes(codec._core.full)
        step = n if arrays.in_place(rows) else arrays.block_rows(codec.dim)
        size = n * codec.bytes_per_vector() + (0 if step == n else 4 * codec.dim * min(n, step))
        with arrays.memory_for(f"encoding {n:,} rows", size, device, "encode fewer rows a call, or free memory there"):
            backend, key = CupyBackend(), _key(codec)
            packed = backend.empty((n, row_bytes), np.uint8)
            scales = backend.empty((n, codec._core.norms), np.float32)
            for first in range(0, n, max(1, step)):
                part = slice(first, first + step)
                # No name holds the converted block: its memory is free for the next one.
                operands = (packed[part], scales[part])
                fault = launch_encode(backend, key, arrays.as_float32(rows[part]), *operands, validate=validate)
                if fault is not None:
                    _refuse_row(codec, rows, first + fault.row, fault)
    return Codes._made(packed, scales, codec, codec.bits)


def decode(codec: TurboQuant, codes: Codes) -> Any:
    """Decode codes on a GPU, (n, dim) float32 there; see :meth:`turboquant_rs.TurboQuant.decode`."""
    with arrays.working_beside(codes.packed, "codes") as device:
        packed, scales = _contiguous(codes)
        size = 4 * codec.dim * len(codes)
        advice = "decode fewer rows a call (codes[first:last]), or free memory there"
        with arrays.memory_for(f"decoding {len(codes):,} rows", size, device, advice):
            backend = CupyBackend()
            out = backend.empty((len(codes), codec.dim), np.float32)
            if len(codes):
                launch_decode(backend, _key(codec), int(codes.bits), packed, scales, out)
    return out


def score(codec: TurboQuant, queries: Any, codes: Codes, *, validate: bool) -> Any:
    """Score queries against codes, both on one GPU; see :meth:`turboquant_rs.TurboQuant.score`."""
    if not on_cuda(queries, "queries"):
        where = f"{describe(queries)} on the CPU"
        raise ValueError(
            f"queries must be on {codes.device}, where the codes are, got {where}; move one: "
            'cupy.asarray(queries), or codes.to("cpu")'
        )
    with arrays.working_beside(queries, "queries"):
        rows, single = as_queries(arrays.as_real(queries, "queries", codes.device), codec.dim, "codec")
        packed, scales = _contiguous(codes)
        size = 4 * len(rows) * len(codes) + (0 if arrays.in_place(rows) else 4 * codec.dim * len(rows))
        integers = min(len(rows) * query_bytes(codec.dim), QUERY_BUFFER)
        size += integers * (2 if codes.bits > 4 else 1)
        what = f"scoring {len(rows):,} queries against {len(codes):,} codes"
        with arrays.memory_for(what, size, codes.device, "score fewer queries a call, or free memory there"):
            backend = CupyBackend()
            out = backend.empty((len(rows), len(codes)), np.float32)
            operands = (arrays.as_float32(rows), packed, scales, out)
            fault = launch_score(backend, _key(codec), int(codes.bits), *operands, validate=validate)
        if fault is not None:
            _refuse_query(codec, rows, fault)
        return arrays.back(out[0] if single else out, queries)


def _key(codec: TurboQuant) -> CodecKey:
    return CodecKey(codec.dim, int(codec.bits), codec.seed, codec.scale, int(codec.refine))


def _contiguous(codes: Codes) -> tuple[Any, Any]:
    """Return both arrays as kernels read them; strided slices of codes are copied."""
    cupy = cupy_for("codes")
    return cupy.ascontiguousarray(codes.packed), cupy.ascontiguousarray(codes.scales)


def _refuse_row(codec: TurboQuant, rows: Any, row: int, fault: Fault) -> None:
    """Raise the CPU's error for a faulty row: it reads the caller's values and words the message."""
    codec._encode(rows[row : row + 1].get(), 1, first_row=row)
    raise _disagreement("x", row, fault)


def _refuse_query(codec: TurboQuant, rows: Any, fault: Fault) -> None:
    query = as_float32(rows[fault.row : fault.row + 1].get(), "queries", fault.row)
    none = (
        np.empty((0, codec._core.row_bytes(codec._core.full)), np.uint8),
        np.empty((0, codec._core.norms), np.float32),
    )
    codec._core.score(query, *none, codec._core.full, np.empty((1, 0), np.float32), fault.row, 1)
    raise _disagreement("queries", fault.row, fault)


def _disagreement(name: str, row: int, fault: Fault) -> RuntimeError:
    return RuntimeError(
        f"the GPU refuses row {row} of {name} ({fault.kind} at column {fault.column}), but the CPU takes it; "
        "please report this as a bug of turboquant-rs"
    )
