"""The drivers of fitted codecs beside the NumPy reference, on whatever backend."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from fits import Parts
from gpu.parity import Encoded, Floats
from strategies import same
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.cut_fitted import cut
from turboquant_rs.gpu.decode_fitted import decode
from turboquant_rs.gpu.encode_fitted import encode
from turboquant_rs.gpu.fitted import FittedKey
from turboquant_rs.gpu.score_fitted import score
from turboquant_rs.reference import Codes, FittedTurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.index import squared_norm

#: Kinds of queries, whose norms must stay below 2^96.
QUERIES = ("normal", "zero", "negative zero", "subnormal", "tiny", "wide", "one-hot", "whole", "duplicate")


def reference(parts: Parts, **options: Any) -> FittedTurboQuant:
    """Return the reference's codec of a description."""
    *parts_of, dual = parts
    return FittedTurboQuant(*parts_of, **dual, **options)


def run_encode(
    backend: Backend, key: FittedKey, x: Floats, *, unit_norm: bool = False, squares: bool = False
) -> Encoded:
    """Encode host rows on the backend."""
    packed = backend.empty((len(x), key.row_bytes(key.full)), np.uint8)
    scales = backend.empty((len(x), 1), np.float32)
    squared = backend.empty((len(x),), np.float32) if squares else None
    fault = encode(backend, key, backend.asarray(x), packed, scales, squared, unit_norm=unit_norm)
    host = backend.to_host
    return Encoded(host(packed), host(scales), host(squared) if squares else np.empty(0, np.float32), fault)


def encode_differences(
    backend: Backend, key: FittedKey, x: Floats, *, unit_norm: bool = False, squares: bool = False
) -> list[str]:
    """Return what of packed codes, scales and squares differs from the reference."""
    want, got = (
        key.codec.encode(x, unit_norm=unit_norm),
        run_encode(backend, key, x, unit_norm=unit_norm, squares=squares),
    )
    found = [] if got.fault is None else [f"fault {got.fault}"]
    found += [] if same(got.packed, want.packed) else ["packed"]
    found += [] if same(got.scales, want.scales) else ["scales"]
    found += [] if not squares or same(got.squares, squared_norm(x)) else ["squares"]
    return found


def run_decode(backend: Backend, key: FittedKey, codes: Codes) -> Floats:
    """Decode the reference's codes on the backend."""
    out = backend.empty((len(codes), key.dim), np.float32)
    decode(backend, key, codes.keep, backend.asarray(codes.packed), backend.asarray(codes.scales), out)
    return backend.to_host(out)


def run_cut(backend: Backend, key: FittedKey, codes: Codes, keep: tuple[int, ...]) -> Floats:
    """Return the scales of the reference's codes, truncated on the backend."""
    out = backend.empty((len(codes), 1), np.float32)
    cut(backend, key, codes.keep, keep, backend.asarray(codes.packed), backend.asarray(codes.scales), out)
    return backend.to_host(out)


def run_score(backend: Backend, key: FittedKey, queries: Floats, codes: Codes, *, cosine: bool = False) -> Floats:
    """Score host queries against the reference's codes on the backend."""
    out = backend.empty((len(queries), len(codes)), np.float32)
    arrays = backend.asarray(queries), backend.asarray(codes.packed), backend.asarray(codes.scales)
    fault = score(backend, key, codes.keep, *arrays, out, cosine=cosine)
    assert fault is None, fault
    return backend.to_host(out)


def score_differences(
    backend: Backend, key: FittedKey, queries: Floats, codes: Codes, *, cosine: bool = False
) -> list[str]:
    """Return whether scores differ from the reference's, and where first."""
    want = reference_score(key.codec, queries, codes, cosine=cosine)
    got = run_score(backend, key, queries, codes, cosine=cosine)
    if same(got, want):
        return []
    place = np.argwhere(got.view(np.uint32) != want.view(np.uint32))[0]
    return [f"scores of {len(queries)} queries, keep {codes.keep}, first at {place.tolist()}"]


def rates(key: FittedKey) -> list[Fraction]:
    """Return the average bits of every prefix of the units, the shortest first; each gives its prefix back."""
    ends = key.codec.spec.ends()
    sizes = [sum(kept * s.dim for kept, s in zip(keep, key.segments, strict=True)) for keep in ends]
    return [Fraction(size, key.dim) for size in sizes]


def differences_of_prefixes(
    backend: Backend, key: FittedKey, codes: Codes, queries: Floats, which: list[Fraction], *, cosine: bool = False
) -> list[str]:
    """Return what of truncated scales, decoded rows and scores differs, of few and of many queries."""
    found = []
    for rate in sorted(set(which)):
        short = key.codec.truncate(codes, rate)  # type: ignore[arg-type]
        if not same(run_cut(backend, key, codes, short.keep), short.scales):
            found.append(f"scales cut to {rate}")
        if not same(run_decode(backend, key, short), key.codec.decode(short)):
            found.append(f"decoded at {rate}")
        for part in (queries[:3], queries):
            found += score_differences(backend, key, part, short, cosine=cosine)
    return found
