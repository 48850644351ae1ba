"""The kernels of fitted codecs equal the reference to the bit: on the emulation, and on a card where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fits import Parts, random_parts
from gpu.fitted_parity import (
    QUERIES,
    differences_of_prefixes,
    encode_differences,
    rates,
    reference,
    run_decode,
    run_encode,
    run_score,
    score_differences,
)
from gpu.shim import ShimBackend, missing
from gpu.test_parity import backend_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, matrices, mixed_rows, refines, same, seeds
from turboquant_rs.gpu import encode_fitted, score_fitted
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.fitted import FittedKey, planes
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.dense import fixed_matrix
from turboquant_rs.reference.index import squared_norm

DIMS = (*range(1, 11), 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 95, 96, 97, 127, 128, 129, 200, 256, 257, 260)
SCALES = ("unbiased", "mse", "matched")
TOP = float(np.finfo(np.float32).max)


def as_fits_make(dim: int, bits: float, *, axes: int | None = None, center: bool = False, dual: bool = False) -> Parts:
    """Return a description in the form of fits: segments of 8 to 32 axes, wide ones first, units in a greedy order."""
    axes = dim if axes is None else axes
    lengths = []
    while sum(lengths) < axes:
        lengths.append(min((32, 24, 16, 8)[len(lengths) % 4], axes - sum(lengths)))
    center_width = bits * dim / axes
    widths = sorted(max(1, min(8, round(center_width + 3 - 6 * i / len(lengths)))) for i in range(len(lengths)))[::-1]
    parts = random_parts(dim, dim, axes=axes, center=center, dual=dual)
    sigmas = (np.linspace(2, 0.3, len(lengths)) / np.sqrt(dim)).astype(np.float32)
    order = [s for bit in range(8) for s, width in enumerate(widths) if bit < width]
    extra = dict(parts.dual)
    if dual:
        along = np.repeat(sigmas, lengths)
        extra |= {"row_gains": 1 / along, "query_gains": along}
    segments = list(zip(lengths, widths, strict=True))
    return Parts(parts.center, parts.transform, sigmas, segments, order, extra)


def ends(key: FittedKey) -> list[Any]:
    """Return the shortest, a middle and the longest rate."""
    found = rates(key)
    return [found[0], found[len(found) // 2], found[-1]]


@st.composite
def descriptions(draw: st.DrawFn) -> Parts:
    """Return any description, or one as fits make them."""
    dim = draw(st.sampled_from(DIMS))
    axes = draw(st.just(dim) | st.integers(1, dim))
    center, dual = draw(st.booleans()), draw(st.booleans())
    if draw(st.booleans()):
        return as_fits_make(dim, draw(st.sampled_from((0.5, 1.5, 2.25, 4))), axes=axes, center=center, dual=dual)
    return random_parts(dim, draw(st.integers(0, 2**32 - 1)), axes=axes, center=center, dual=dual)


@given(data=st.data(), parts=descriptions(), seed=seeds(), refine=refines(), order=st.integers(0, 50))
def test_any_description_and_matrix(
    device: str, data: st.DataObject, parts: Parts, seed: int, refine: int | bool, order: int
) -> None:
    options = {"flush": data.draw(st.booleans()), "capability": data.draw(st.sampled_from((75, 90)))}
    backend = backend_of(device, order, **options)
    key = FittedKey(reference(parts, seed=seed, scale=data.draw(st.sampled_from(SCALES)), refine=refine))
    x, cosine = data.draw(matrices(key.dim)), data.draw(st.booleans())
    assert encode_differences(backend, key, x, unit_norm=cosine) == []
    queries = mixed_rows(key.dim, data.draw(st.integers(0, 2**32 - 1)), QUERIES)
    which = [data.draw(st.sampled_from(rates(key)))]
    assert differences_of_prefixes(backend, key, key.codec.encode(x), queries, which, cosine=cosine) == []


def test_every_dimension(device: str) -> None:
    """Every kind of row, with and without a center, whole and truncated transforms, in turns a dual and trials."""
    wrong = []
    for i, dim in enumerate(DIMS):
        center, axes = bool(i % 2), dim if i % 3 else (dim + 1) // 2
        parts = random_parts(dim, dim, axes=axes, center=center, dual=i % 4 == 1)
        key = FittedKey(reference(parts, seed=i, scale=SCALES[i % 3], refine=(False, 8, 16, 32)[i % 4]))
        backend = backend_of(device, order=i % 5, flush=bool(i % 2), capability=75 if i % 6 == 0 else 80)
        x = mixed_rows(dim, seed=dim)
        found = encode_differences(backend, key, x)
        found += differences_of_prefixes(backend, key, key.codec.encode(x), mixed_rows(dim, 6, QUERIES), ends(key))
        wrong += [f"dim {dim}: {text}" for text in found]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@pytest.mark.parametrize(("dim", "bits", "axes"), [(384, 0.5, 100), (768, 1.5, 480)])
def test_codecs_as_fits_make_them(device: str, dim: int, bits: float, axes: int) -> None:
    key = FittedKey(reference(as_fits_make(dim, bits, axes=axes, center=True), scale="matched"))
    x = mixed_rows(dim, 3, ("normal", "zero", "tiny", "huge", "wide", "sparse"))
    backend = backend_of(device, 5, flush=True)
    assert encode_differences(backend, key, x) == []
    assert differences_of_prefixes(backend, key, key.codec.encode(x), mixed_rows(dim, 4, QUERIES), ends(key)[1:2]) == []


def test_one_long_segment_and_many_short_ones(device: str) -> None:
    """A segment that exceeds the lanes of a warp, in memory and in scratch; 255 segments, as many as there can be."""
    long = random_parts(300, 2)
    long = long._replace(segments=[(300, 3)], order=[0, 0, 0], sigmas=long.sigmas[:1])
    short = random_parts(255, 2)._replace(
        segments=[(1, 1)] * 255, order=list(range(255)), sigmas=np.full(255, 0.05, np.float32)
    )
    for parts in (long, short):
        key = FittedKey(reference(parts, refine=8))
        x, queries = mixed_rows(key.dim, 1), mixed_rows(key.dim, 2, QUERIES)
        codes = key.codec.encode(x)
        # The less shared memory, the fewer warps a block has; in the end rows of axes lie in scratch.
        for limit in (99 << 10, 12 << 10, 6 << 10, 2200):
            backend = backend_of(device, 3, shared_limit=limit, capability=75)
            assert encode_differences(backend, key, x) == []
            assert same(run_decode(backend, key, codes), key.codec.decode(codes))
        for part in (queries[:3], queries):
            assert score_differences(backend_of(device, 2), key, part, codes) == []


@pytest.mark.parametrize("center", [False, True])
def test_unit_norms_and_squares(device: str, center: bool) -> None:
    kinds = tuple(kind for kind in KINDS if kind != "huge")
    for dim in (3, 64, 97):
        key = FittedKey(reference(random_parts(dim, dim, center=center), scale="matched"))
        x = mixed_rows(dim, 1, kinds)
        for unit_norm in (False, True):
            assert encode_differences(backend_of(device, 2), key, x, unit_norm=unit_norm, squares=True) == []
    assert same(run_encode(backend_of(device), key, x, squares=True).squares, squared_norm(x))


def test_more_rows_than_are_in_hand_at_a_time(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows go in parts, and a block takes several; faults are counted from the first row of all."""
    key = FittedKey(reference(random_parts(40, 9, center=True), refine=8))
    x = np.concatenate([mixed_rows(40, seed) for seed in range(9)])
    codes, queries = key.codec.encode(x), mixed_rows(40, 3, QUERIES * 2)
    monkeypatch.setattr("turboquant_rs.gpu.encode_fitted.BUFFER", 50 * encode_fitted.bytes_a_row(key))
    monkeypatch.setattr("turboquant_rs.gpu.decode_fitted.BUFFER", 50 * 132)
    monkeypatch.setattr(score_fitted, "MOST_QUERIES", 7)
    backend = backend_of(device, 1, processors=1)
    assert encode_differences(backend, key, x, squares=False) == []
    assert same(run_decode(backend, key, codes), key.codec.decode(codes))
    assert score_differences(backend, key, queries, codes) == []
    x[[77, 111]] = np.nan
    x[76] = TOP
    assert run_encode(backend, key, x).fault == Fault("norm", 76, 0)
    x[75, 3] = np.inf
    assert run_encode(backend, key, x).fault == Fault("nonfinite", 75, 3)


def test_more_queries_and_rows_than_tiles(device: str) -> None:
    key = FittedKey(reference(as_fits_make(72, 3.5), scale="unbiased"))
    rng = np.random.default_rng(0)
    x, queries = (rng.standard_normal((n, 72)).astype(np.float32) for n in (300, 70))
    codes = key.codec.encode(x)
    for count in (1, 4, 5, 70):
        assert score_differences(backend_of(device, count % 4), key, queries[:count], codes) == []
    for cut in (0, 1):
        few = codes[cut : cut + 1]
        assert score_differences(backend_of(device), key, queries[:9], few) == []


def test_no_rows_and_no_queries(device: str) -> None:
    backend, key = backend_of(device), FittedKey(reference(random_parts(24, 1)))
    empty = key.codec.encode(np.empty((0, 24), np.float32))
    assert run_encode(backend, key, np.empty((0, 24), np.float32)).packed.shape == empty.packed.shape
    assert run_decode(backend, key, empty).shape == (0, 24)
    assert run_score(backend, key, mixed_rows(24, 1, QUERIES), empty).shape == (len(QUERIES), 0)
    codes = key.codec.encode(mixed_rows(24, 1))
    assert run_score(backend, key, np.empty((0, 24), np.float32), codes).shape == (0, len(codes))


def test_rows_outside_the_axes(device: str) -> None:
    """Nothing of a row along the axes: scale 0; and rows that are the center, in whole and in part."""
    parts = random_parts(16, 1, axes=8, center=True)
    assert parts.center is not None
    along = parts.transform.astype(np.float64) / 32_000
    across = np.linalg.svd(along)[2][8:]
    x = np.concatenate([across, along, parts.center[None], parts.center[None] * 2]).astype(np.float32)
    for center in (None, parts.center):
        for scale in SCALES:
            key = FittedKey(reference(parts._replace(center=center), scale=scale))
            backend = backend_of(device, 1, flush=True)
            assert encode_differences(backend, key, x) == []
            assert differences_of_prefixes(backend, key, key.codec.encode(x), x, ends(key)) == []


def test_the_largest_products(device: str) -> None:
    """Rows along the rows of the matrix: sums that come nearest to the limits of int32, of both signs."""
    dim = 257
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    basis[0], basis[1] = 0, 1 / np.sqrt(dim)
    basis[0, 5] = 1
    parts = random_parts(dim, 1)._replace(transform=fixed_matrix(basis))
    if np.linalg.norm(parts.transform.astype(float), axis=0).max() > 32_200:
        parts = random_parts(dim, 1)
        basis = parts.transform / 32_000
    x = np.concatenate([basis, -basis]).astype(np.float32)[:: dim // 6]
    key = FittedKey(reference(parts))
    for capability in (75, 80):
        backend = backend_of(device, capability=capability)
        assert encode_differences(backend, key, x) == []
        assert score_differences(backend, key, x, key.codec.encode(x)) == []


def test_planes_hold_every_short() -> None:
    values = np.arange(-32_200, 32_201, dtype=np.int16)[None]
    high, low = (part[:, : values.size].astype(np.int64) for part in planes(values))
    assert np.array_equal(256 * high + low, values)


def test_beside_the_limits_of_float32(device: str) -> None:
    """Scores beyond float32 are infinite, bases are held within it, small ones are subnormal or 0."""
    parts = random_parts(40, 4, center=True)
    assert parts.center is not None
    parts.center[:] = np.where(np.arange(40) % 2, 1, -1) * 2.0**60
    key = FittedKey(reference(parts))
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((20, 40)) * 2.0**115).astype(np.float32)
    queries = (rng.standard_normal((6, 40)) * 2.0**90).astype(np.float32)
    codes = key.codec.encode(x)
    for flush in (False, True):
        for few in (queries[:2], queries):
            assert score_differences(backend_of(device, flush=flush), key, few, codes) == []
    small = reference(random_parts(40, 4, center=True), scale="mse")
    key, tiny = FittedKey(small), mixed_rows(40, 1, ("tiny", "subnormal", "normal", "tiny", "subnormal"))
    tiny[3:] *= np.float32(2.0**-10)
    codes = small.encode(np.concatenate([tiny, tiny * np.float32(2.0**-3)]))
    for flush in (False, True):
        backend = backend_of(device, flush=flush)
        assert encode_differences(backend, key, tiny) == []
        assert differences_of_prefixes(backend, key, codes, tiny, ends(key)) == []


def test_a_base_that_cancels_to_a_subnormal_number(device: str) -> None:
    """Products of the least coordinates and the least center, all but equal, in a query whose exponent lifts them.

    The two meet in a lane's even sum, between its two sums, or between lanes. The row is the center: scale 0.
    """
    dim = 130
    for first, second in ((0, 1), (0, 64), (0, 32), (32, 96)):
        center = np.zeros(dim, np.float32)
        center[[first, second]] = 2.0**-80, -(2.0**-80) * (1 + 2.0**-23)
        query = np.zeros((1, dim), np.float32)
        query[0, [first, second, 129]] = 2.0**30, 2.0**30, 2.0**70
        key = FittedKey(reference(random_parts(dim, 3)._replace(center=center)))
        codes = key.codec.encode(center[None])
        for cosine in (False, True):
            want = reference_score(key.codec, query, codes, cosine=cosine)
            assert want[0, 0] == (-(2.0**-143) if cosine else -(2.0**-73))
            for flush in (False, True):
                assert same(run_score(backend_of(device, flush=flush), key, query, codes, cosine=cosine), want)


def test_scores_that_are_subnormal(device: str) -> None:
    """As a product with the scale, and with a base of 0 beside it."""
    dim = 40
    parts = random_parts(dim, 4)._replace(segments=[(20, 3), (20, 2)], order=[0, 1, 0, 1, 0])
    parts = parts._replace(sigmas=np.full(2, 0.16, np.float32))
    center = np.zeros(dim, np.float32)
    center[0] = 1
    rng = np.random.default_rng(0)
    x, queries = (rng.standard_normal((n, dim)).astype(np.float32) for n in (300, 24))
    queries[:, 0] = 0
    for mean, rows, scale in ((None, 2.0**-110, 2.0**-25), (center, 2.0**-110, 2.0**-25)):
        key = FittedKey(reference(parts._replace(center=mean)))
        moved = x * np.float32(rows) + (0 if mean is None else mean)
        codes = key.codec.encode(moved.astype(np.float32) if mean is None else np.where(mean, mean, moved))
        for flush in (False, True):
            for few in (queries[:4], queries):
                found = score_differences(backend_of(device, flush=flush), key, few * np.float32(scale), codes)
                assert found == [], (mean is None, rows, flush)


def test_groups_that_all_but_cancel(device: str) -> None:
    """Their sum is subnormal, the score is not: two axes of all but the same deviation, in groups of their own."""
    sigmas = np.array([1, 1 + 2.0**-20], np.float32)
    parts = Parts(None, np.eye(2, dtype=np.int16) * np.int16(32_000), sigmas, [(1, 2), (1, 1)], [0, 1, 0])
    key = FittedKey(reference(parts))
    rows = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], np.float32) * np.float32(2.0**40)
    codes = key.codec.truncate(key.codec.encode(rows), 1)
    queries = np.array([[2.0**-k, 2.0**-k] for k in range(104, 116)], np.float32)
    for flush in (False, True):
        for few in (queries[4:8], queries):
            assert score_differences(backend_of(device, flush=flush), key, few, codes) == []


def test_what_lies_below_a_center(device: str) -> None:
    """Rows that are the center where it is not 0 and subnormal elsewhere: nothing but that is coded."""
    center = np.zeros(40, np.float32)
    center[:3] = 1
    key = FittedKey(reference(random_parts(40, 4)._replace(center=center)))
    x = np.where(center, center, mixed_rows(40, 2, ("tiny", "subnormal", "tiny") * 4) * np.float32(0.25))
    for flush in (False, True):
        assert encode_differences(backend_of(device, flush=flush), key, x) == []


def test_factors_that_a_dual_lifts(device: str) -> None:
    """A scale times the norm of decoded axes is subnormal, but not with their power of two."""
    parts = random_parts(40, 4, dual=True)
    parts = parts._replace(dual=parts.dual | {"query_gains": np.full(40, 2.0**38, np.float32)})
    key = FittedKey(reference(parts))
    codes = key.codec.encode(mixed_rows(40, 1, ("tiny", "normal") * 4) * np.float32(2.0**8))
    for flush in (False, True):
        assert same(run_decode(backend_of(device, flush=flush), key, codes), key.codec.decode(codes))


def test_faults(device: str) -> None:
    """Values and norms that must be refused, in rows and in queries."""
    for center in (False, True):
        key = FittedKey(reference(random_parts(70, 5, center=center)))
        x = np.random.default_rng(0).standard_normal((40, 70)).astype(np.float32)
        codes = key.codec.encode(x)
        backend = backend_of(device, 4, processors=1)
        x[9] = TOP
        assert run_encode(backend, key, x).fault == Fault("norm", 9, 0)
        assert run_encode(backend, key, x, unit_norm=True).fault is None
        for value in (np.nan, np.inf, -np.inf):
            x[7, 69] = x[8, 0] = value
            assert run_encode(backend, key, x).fault == Fault("nonfinite", 7, 69)
        arrays = backend.asarray(codes.packed), backend.asarray(codes.scales)
        queries = np.random.default_rng(1).standard_normal((9, 70)).astype(np.float32)
        out = backend.empty((9, 40), np.float32)
        for column, value, cosine, fault in (
            (3, 2.0**96, False, Fault("norm", 6, 0)),
            (3, 2.0**96, True, None),
            (4, np.nan, True, Fault("nonfinite", 6, 4)),
        ):
            queries[6] = 0
            queries[6, column] = value
            found = score_fitted.score(backend, key, codes.keep, backend.asarray(queries), *arrays, out, cosine=cosine)
            assert found == fault


@pytest.mark.parametrize(("dim", "axes"), [(97, 97)])
def test_kernels_compiled_for_their_parameters(dim: int, axes: int) -> None:
    """As a GPU has them: every parameter a constant."""
    if missing():
        pytest.skip(str(missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    key = FittedKey(reference(as_fits_make(dim, 2.25, axes=axes, center=True), scale="matched", refine=8))
    x = mixed_rows(dim, 3)
    assert encode_differences(backend, key, x) == []
    assert differences_of_prefixes(backend, key, key.codec.encode(x), mixed_rows(dim, 4, QUERIES), ends(key)[1:2]) == []
