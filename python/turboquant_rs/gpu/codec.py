"""TurboQuant's methods for arrays on a GPU: checks and memory around the drivers, errors as on the CPU.

Everything happens on the array's own GPU and on its library's current stream. What a call allocates comes from CuPy's
memory pool: the result, and, where the caller's rows cannot be read in place, float32 rows a block at a time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import as_float32, as_queries, check_rows
from .._device import cupy_for, describe, namespace_of, on_cuda
from .._truncate import check_finite
from ..codes import Codes
from ..reference.fitted_codec import FittedTurboQuant
from . import arrays, cut_fitted, decode_fitted, encode_fitted, score_fitted
from .constants import CodecKey
from .decode import decode as launch_decode
from .encode import encode as launch_encode
from .faults import Fault
from .fitted import FittedKey
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
        key = _key(codec)
        size += encode_fitted.buffer_bytes(key, min(n, step)) if isinstance(key, FittedKey) else 0
        with arrays.memory_for(f"encoding {n:,} rows", size, device, "encode fewer rows a call, or free memory there"):
            backend = CupyBackend()
            packed = backend.empty((n, row_bytes), np.uint8)
            scales = backend.empty((n, codec._core.norms), np.float32)
            for first in range(0, n, max(1, step)):
                part = slice(first, first + step)
                # No name holds the converted block: its memory is free for the next one.
                operands = (packed[part], scales[part])
                fault = _encode(backend, key, arrays.as_float32(rows[part]), *operands, validate=validate)
                if fault is not None:
                    _refuse_row(codec, rows, first + fault.row, fault)
    return Codes._made(packed, scales, codec, codec.bits)


def decode(codec: TurboQuant, codes: Codes) -> Any:
    """Decode codes on a GPU, (n, dim) float32 there; see :meth:`turboquant_rs.TurboQuant.decode`."""
    with arrays.working_beside(codes.packed, "codes") as device:
        packed, scales = _contiguous(codes)
        key = _key(codec)
        size = 4 * codec.dim * len(codes)
        size += decode_fitted.buffer_bytes(key, len(codes)) if isinstance(key, FittedKey) else 0
        advice = "decode fewer rows a call (codes[first:last]), or free memory there"
        with arrays.memory_for(f"decoding {len(codes):,} rows", size, device, advice):
            backend = CupyBackend()
            out = backend.empty((len(codes), codec.dim), np.float32)
            if len(codes):
                if isinstance(key, FittedKey):
                    decode_fitted.decode(backend, key, tuple(codec._keep(codes.bits)), packed, scales, out)
                else:
                    launch_decode(backend, key, codec._keep(codes.bits)[0], packed, scales, out)
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
        key, keep = _key(codec), tuple(codec._keep(codes.bits))
        if isinstance(key, FittedKey):
            size += score_fitted.buffer_bytes(key, keep, len(rows))
        else:
            size += min(len(rows) * query_bytes(codec.dim), QUERY_BUFFER) * (2 if keep[0] > 4 else 1)
        what = f"scoring {len(rows):,} queries against {len(codes):,} codes"
        with arrays.memory_for(what, size, codes.device, "score fewer queries a call, or free memory there"):
            backend = CupyBackend()
            out = backend.empty((len(rows), len(codes)), np.float32)
            operands = (arrays.as_float32(rows), packed, scales, out)
            if isinstance(key, FittedKey):
                fault = score_fitted.score(backend, key, keep, *operands, validate=validate)
            else:
                fault = launch_score(backend, key, keep[0], *operands, validate=validate)
        if fault is not None:
            _refuse_query(codec, rows, fault)
        return arrays.back(out[0] if single else out, queries)


def cut(codes: Codes, held: list[int], keep: list[int]) -> tuple[Any, Any]:
    """Return (packed, scales) of fitted codes on a GPU that keep ``keep`` of the ``held`` bits of every segment."""
    key = _fitted_key(codes.codec, int(codes.codec.refine))
    n, row_bytes = len(codes), key.row_bytes(tuple(keep))
    with arrays.working_beside(codes.packed, "codes") as device:
        advice = "truncate fewer rows a call (codes[first:last]), or free memory there"
        with arrays.memory_for(f"truncating {n:,} rows", n * (row_bytes + 4), device, advice):
            packed, scales = _contiguous(codes)
            short = packed[:, :row_bytes].copy()
            backend = CupyBackend()
            out = backend.empty((n, 1), np.float32)
            cut_fitted.cut(backend, key, tuple(held), tuple(keep), packed, scales, out)
        check_finite(namespace_of(out), out)
    return short, out


def _encode(backend: CupyBackend, key: CodecKey | FittedKey, *operands: Any, validate: bool) -> Fault | None:
    if isinstance(key, FittedKey):
        return encode_fitted.encode(backend, key, *operands, validate=validate)
    return launch_encode(backend, key, *operands, validate=validate)


def _key(codec: TurboQuant) -> CodecKey | FittedKey:
    if codec.fitted:
        return _fitted_key(codec, int(codec.refine))
    return CodecKey(codec.dim, codec._core.full[0], codec.seed, codec.scale, int(codec.refine))


@lru_cache(maxsize=8)
def _fitted_key(codec: TurboQuant, refine: int) -> FittedKey:
    """Return a fitted codec for the drivers; codecs that differ in ``refine`` alone are equal, but not their tables."""
    parts = codec._core.parts()
    assert parts is not None
    center, transform, sigmas, segments, order, dual = parts
    second, row_gains, query_gains = (None, None, None) if dual is None else dual
    reference = FittedTurboQuant(
        center,
        transform,
        sigmas,
        segments,
        list(order),
        seed=codec.seed,
        scale=codec.scale,
        refine=refine,
        dual=second,
        row_gains=row_gains,
        query_gains=query_gains,
    )
    return FittedKey(reference)


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
