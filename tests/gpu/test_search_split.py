"""A search of rows of a codec with outlier channels finds what the reference does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu.search_parity import run_search, same_found
from gpu.shim import ShimBackend, missing
from gpu.test_parity import QUERIES, backend_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import mixed_rows, seeds
from turboquant_rs import TurboQuant as Codec
from turboquant_rs.gpu import search
from turboquant_rs.gpu.codec import split_key
from turboquant_rs.reference import TurboQuant
from turboquant_rs.reference.index import Index
from turboquant_rs.reference.scan import prepare_queries

METRICS = ("ip", "cosine", "l2")
KINDS = ("normal", "sparse", "tiny", "zero", "constant", "whole")


def index_of(codec: TurboQuant, metric: str, n: int) -> Index:
    """Return an index of n rows of many kinds, some of them twice, with ids in any order."""
    index = Index(codec, metric)
    x = np.concatenate([mixed_rows(codec.dim, i, KINDS) for i in range(-(-n // len(KINDS)))])[:n]
    x[n // 2 :] = x[: n - n // 2] if n % 2 else x[n // 2 :]
    index.add(x, np.random.default_rng(n).permutation(2 * n)[:n].astype(np.int64))
    return index


def check(backend: Any, index: Index, queries: Any, k: int, **options: Any) -> None:
    want = index.search(queries, k, allowed=options.get("allowed"))
    assert same_found(run_search(backend, index, queries, k, **options), want), (index.codec.spec, index.metric, k)


@st.composite
def splits(draw: st.DrawFn, most: int = 90) -> TurboQuant:
    """Return a codec with any channels and widths as outliers, of either rotation."""
    dim = draw(st.integers(2, most))
    outliers = tuple(sorted(draw(st.sets(st.integers(0, dim - 1), min_size=1, max_size=dim - 1))))
    first, second = sorted(draw(st.tuples(st.integers(1, 8), st.integers(1, 8))), reverse=True)
    rotation = draw(st.sampled_from(("hadamard", "hadamard", "dense")))
    return TurboQuant(dim, (first, second), outliers=outliers, seed=draw(seeds()), rotation=rotation)


@pytest.mark.parametrize("metric", METRICS)
def test_every_pair_of_widths(device: str, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    """In several chunks, few queries and many."""
    monkeypatch.setattr(search, "FIRST_ROWS", 64)
    pairs = [(first, second) for first in range(1, 9) for second in range(1, first + 1)]
    for i, bits in enumerate(pairs):
        dim, outliers = ((24, (1, 5, 9, 20)), (97, tuple(range(0, 97, 3))), (128, tuple(range(32))))[i % 3]
        index = index_of(TurboQuant(dim, bits, outliers=outliers, seed=i), metric, 90)
        for count in (2, 7):
            backend = backend_of(device, i, flush=bool(i % 2))
            check(backend, index, mixed_rows(dim, 9, QUERIES)[:count], 12, cuts=[40])


@given(data=st.data(), codec=splits(), metric=st.sampled_from(METRICS), count=st.integers(1, 9))
def test_any_split(device: str, data: st.DataObject, codec: TurboQuant, metric: str, count: int) -> None:
    options = {"flush": data.draw(st.booleans()), "capability": data.draw(st.sampled_from((75, 90)))}
    backend = backend_of(device, data.draw(st.integers(0, 50)), **options)
    index = index_of(codec, metric, data.draw(st.integers(1, 80)))
    kinds = tuple(data.draw(st.lists(st.sampled_from(QUERIES), min_size=count, max_size=count)))
    queries = mixed_rows(codec.dim, data.draw(st.integers(0, 2**32 - 1)), kinds)
    mask = data.draw(st.none() | st.integers(0, 2 ** len(index.ids) - 1))
    allowed = None if mask is None else np.array([mask >> i & 1 for i in range(len(index.ids))], bool)
    check(backend, index, queries, data.draw(st.integers(1, 90)), allowed=allowed)


def test_shares_beyond_float32(device: str) -> None:
    """Of opposite signs they are 0, of one sign an infinite score, as on the CPU."""
    codec = TurboQuant(64, (4, 2), outliers=tuple(range(20)))
    index = Index(codec, "ip")
    rows = mixed_rows(64, 3, ("normal",) * 40) * np.float32(2.0**120)
    index.add(rows, np.arange(40))
    queries = mixed_rows(64, 4, ("normal",) * 6) * np.float32(2.0**90)
    queries[::2, :20] = -rows[:3, :20] / np.float32(2.0**31)
    queries[::2, 20:] = rows[:3, 20:] / np.float32(2.0**31)
    with np.errstate(over="ignore"):
        scores = index.search(queries, 40)[0]
    assert np.isinf(scores).any()
    assert (scores == 0).any()
    for count in (2, 6):
        check(backend_of(device, 1, flush=True), index, queries[:count], 40)


@given(codec=splits(), cosine=st.booleans(), seed=seeds())
def test_queries_are_the_reference_s_integers(codec: TurboQuant, cosine: bool, seed: int) -> None:
    spec, queries = codec.spec, mixed_rows(codec.dim, seed, QUERIES)
    bits: Any = tuple(segment.bits for segment in spec.segments)
    made = Codec(spec.dim, bits, outliers=list(spec.outliers), seed=spec.seed, rotation=spec.rotation)  # type: ignore[arg-type]
    values, factors, _, _ = made._core.query_integers(queries, cosine)
    want, _ = prepare_queries(codec, queries, bits, cosine=cosine)
    assert np.array_equal(values, np.concatenate([part.values for part in want], axis=1))
    assert np.array_equal(factors, np.stack([part.factor for part in want], axis=1))


@given(codec=splits())
def test_planes_are_the_bits_of_codes(codec: TurboQuant) -> None:
    spec = codec.spec
    bits: Any = tuple(segment.bits for segment in spec.segments)
    key = split_key(Codec(spec.dim, bits, outliers=list(spec.outliers)))
    codes = codec.encode(mixed_rows(codec.dim, 1, KINDS))
    planes = key.planes(codes.packed)
    assert planes.shape == (len(codes), key.row_bytes)
    at = 0
    for part, width in zip(codec.unpack(codes), bits, strict=True):
        for bit in reversed(range(width)):
            plane = np.packbits(part >> bit & 1, axis=1, bitorder="little")
            assert np.array_equal(planes[:, at : at + plane.shape[1]], plane)
            at += plane.shape[1]


def test_kernels_compiled_for_their_parameters() -> None:
    if missing():
        pytest.skip(str(missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    index = index_of(TurboQuant(97, (5, 2), outliers=tuple(range(0, 97, 4))), "l2", 100)
    for count in (3, 7):
        check(backend, index, mixed_rows(97, 5, QUERIES)[:count], 10)
