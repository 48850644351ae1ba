"""The package's GPU drivers beside the NumPy reference, on whatever backend."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from strategies import same
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.constants import CodecKey
from turboquant_rs.gpu.decode import decode
from turboquant_rs.gpu.dense_codec import DenseKey, dense_key
from turboquant_rs.gpu.encode import encode
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.score import score
from turboquant_rs.gpu.sketch import Matrix
from turboquant_rs.reference import Codes, TurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.index import squared_norm
from turboquant_rs.reference.units import row_bytes

Floats = NDArray[np.float32]


def key_of(plain: TurboQuant) -> CodecKey:
    """Return the drivers' name of a reference codec."""
    spec = plain.spec
    return CodecKey(spec.dim, spec.segments[0].bits, spec.seed, spec.scale, spec.refine)


def dense_key_of(plain: TurboQuant) -> DenseKey:
    """Return the drivers' name of a reference codec with a dense rotation."""
    rotation: Any = plain.rotations[0]
    return dense_key(key_of(plain), Matrix(rotation.forward.step, lambda: rotation.forward.values))


class Encoded(NamedTuple):
    """What the encoder wrote, on the host, and what it refused."""

    packed: NDArray[np.uint8]
    scales: Floats
    squares: Floats
    fault: Fault | None


def run_encode(
    backend: Backend, plain: TurboQuant, x: Floats, *, unit_norm: bool = False, squares: bool = True
) -> Encoded:
    """Encode host rows on the backend."""
    segment = plain.spec.segments[0]
    packed = backend.empty((len(x), row_bytes(segment.dim, segment.bits, segment.bits)), np.uint8)
    scales = backend.empty((len(x), 1), np.float32)
    squared = backend.empty((len(x),), np.float32) if squares else None
    fault = encode(backend, key_of(plain), backend.asarray(x), packed, scales, squared, unit_norm=unit_norm)
    host = backend.to_host
    return Encoded(host(packed), host(scales), host(squared) if squares else np.empty(0, np.float32), fault)


def encode_differences(backend: Backend, plain: TurboQuant, x: Floats, want: Codes | None = None) -> list[str]:
    """Return what of packed codes, scales and squares differs from the reference."""
    want = plain.encode(x) if want is None else want
    got = run_encode(backend, plain, x)
    found = [] if got.fault is None or got.fault.kind == "square" else [f"fault {got.fault}"]
    if not same(got.packed, want.packed):
        found.append("packed")
    if not same(got.scales, want.scales):
        found.append("scales")
    # The reference refuses squares of norms from 2^63; rows of the tests' kinds that large are not squared here.
    small = np.abs(x).max(axis=1, initial=0) < 2.0**50
    if not same(got.squares[small], squared_norm(x[small])):
        found.append("squares")
    return found


def run_decode(backend: Backend, plain: TurboQuant, codes: Codes) -> Floats:
    """Decode the reference's codes on the backend."""
    out = backend.empty((len(codes), plain.dim), np.float32)
    arrays = backend.asarray(codes.packed), backend.asarray(codes.scales)
    decode(backend, key_of(plain), codes.keep[0], *arrays, out)
    return backend.to_host(out)


def run_score(backend: Backend, plain: TurboQuant, queries: Floats, codes: Codes, *, cosine: bool = False) -> Floats:
    """Score host queries against the reference's codes on the backend."""
    out = backend.empty((len(queries), len(codes)), np.float32)
    arrays = backend.asarray(queries), backend.asarray(codes.packed), backend.asarray(codes.scales)
    fault = score(backend, key_of(plain), codes.keep[0], *arrays, out, cosine=cosine)
    assert fault is None, fault
    return backend.to_host(out)


def score_differences(
    backend: Backend, plain: TurboQuant, queries: Floats, codes: Codes, *, cosine: bool = False
) -> list[str]:
    """Return whether scores differ from the reference's, and where first."""
    want = reference_score(plain, queries, codes, cosine=cosine)
    got = run_score(backend, plain, queries, codes, cosine=cosine)
    if same(got, want):
        return []
    place = np.argwhere(got.view(np.uint32) != want.view(np.uint32))[0]
    return [f"scores of {len(queries)} queries, keep {codes.keep[0]}, first at {place.tolist()}"]
