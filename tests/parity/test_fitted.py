"""Fitted codecs of random descriptions: the package equals the reference to the bit, at every level."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from fits import Parts, fitted_codec, fitted_pair, random_parts
from hypothesis import given
from hypothesis import strategies as st
from strategies import assert_same, matrices, mixed_rows, refines, same, seeds
from turboquant_rs import Codes, Index, TurboQuant, simd
from turboquant_rs.reference import Codes as ReferenceCodes
from turboquant_rs.reference import FittedTurboQuant, score
from turboquant_rs.reference import Index as ReferenceIndex

DIMS = (1, 2, 3, 7, 8, 9, 31, 33, 63, 64, 65, 97, 128, 200)
SCALES = ("unbiased", "mse", "matched")
#: Norms of queries must stay below 2^96, and of rows below 2^63 for squared distances.
QUERY_KINDS = ("normal", "zero", "negative zero", "subnormal", "tiny", "wide", "one-hot", "whole", "duplicate")
L2_KINDS = (*QUERY_KINDS, "2-sparse", "sparse", "constant")


@pytest.fixture(params=simd.available())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run a test at every level of this machine."""
    before = simd.level()
    simd.set_level(request.param)
    yield request.param
    simd.set_level(before)


@st.composite
def descriptions(draw: st.DrawFn) -> Parts:
    dim = draw(st.sampled_from(DIMS))
    axes = draw(st.just(dim) | st.integers(1, dim))
    center, dual = draw(st.booleans()), draw(st.booleans())
    return random_parts(dim, draw(st.integers(0, 2**32 - 1)), axes=axes, center=center, dual=dual)


def rates(codes: ReferenceCodes) -> list[Fraction]:
    """Return the average bits of every prefix of the units, the shortest first; each gives its prefix back."""
    spec = codes.spec
    sizes = [sum(kept * s.dim for kept, s in zip(keep, spec.segments, strict=True)) for keep in spec.ends()]
    return [Fraction(size, spec.dim) for size in sizes]


class Answers(NamedTuple):
    """What the reference makes of rows and queries: codes, then of each of three rates codes, decoded rows, scores."""

    codes: ReferenceCodes
    truncated: dict[Fraction, tuple[ReferenceCodes, Any, Any]]


def answers(plain: FittedTurboQuant, x: Any, queries: Any) -> Answers:
    codes = plain.encode(x)
    ends = rates(codes)
    truncated = {}
    for rate in sorted({ends[0], ends[len(ends) // 2], ends[-1]}):
        short = plain.truncate(codes, rate)  # type: ignore[arg-type]
        truncated[rate] = (short, plain.decode(short), score(plain, queries, short))
    return Answers(codes, truncated)


def assert_equal_everywhere(fast: TurboQuant, x: Any, queries: Any, want: Answers) -> None:
    """Assert that codes, decoded rows, scores and every truncation are equal to the bit."""
    got = fast.encode(x)
    assert_same(got, want.codes)
    for rate, (codes, decoded, scores) in want.truncated.items():
        short = got.truncate(rate)
        assert_same(short, codes)
        assert short.bits == float(rate)
        assert same(fast.decode(short), decoded)
        assert same(fast.score(queries, short), scores)


@given(st.data())
def test_random_descriptions(data: st.DataObject) -> None:
    parts = data.draw(descriptions())
    dim = parts.transform.shape[1]
    refine, seed = data.draw(refines()), data.draw(seeds())
    q = fitted_pair(parts, seed=seed, scale=data.draw(st.sampled_from(SCALES)), refine=refine)
    assert q.fast.fingerprint == q.plain.spec.fingerprint
    queries = mixed_rows(dim, data.draw(st.integers(0, 99)), QUERY_KINDS)
    x = data.draw(matrices(dim))
    assert_equal_everywhere(q.fast, x, queries, answers(q.plain, x, queries))


@cache
def _expected(dim: int, center: bool) -> tuple[Parts, dict[str, Any], Any, Any, Answers]:
    """Return a description, options, rows, queries and the reference's answers, which are the same at every level."""
    axes = (dim + 1) // 2 if center else dim
    parts = random_parts(dim, dim, axes=axes, center=center, dual=dim % 2 == 0)
    options = {"refine": 16, "scale": SCALES[dim % 3]}
    x, queries = mixed_rows(dim, 5), mixed_rows(dim, 6, QUERY_KINDS)
    return parts, options, x, queries, answers(fitted_pair(parts, **options).plain, x, queries)


def test_every_level(level: str) -> None:
    for dim in DIMS:
        for center in (False, True):
            parts, options, *rest = _expected(dim, center)
            assert_equal_everywhere(fitted_codec(parts, **options), *rest)


@cache
def _expected_of_a_wide_codec() -> tuple[Parts, Any, Any, Answers]:
    parts = random_parts(768, 3, axes=600, center=True)
    x = np.random.default_rng(1).standard_normal((70, 768)).astype(np.float32)
    queries = x[:5] * np.float32(3)
    return parts, x, queries, answers(fitted_pair(parts).plain, x, queries)


def test_a_wide_codec_at_every_level(level: str) -> None:
    parts, *rest = _expected_of_a_wide_codec()
    assert_equal_everywhere(fitted_codec(parts), *rest)


@given(descriptions(), st.sampled_from(("ip", "cosine", "l2")), st.integers(0, 2**32 - 1))
def test_indexes(parts: Parts, metric: Any, seed: int) -> None:
    dim = parts.transform.shape[1]
    q = fitted_pair(parts)
    x, queries = mixed_rows(dim, seed, L2_KINDS), mixed_rows(dim, seed + 1, QUERY_KINDS)
    ids = np.random.default_rng(seed).permutation(len(x))
    index, reference = Index(codec=q.fast, metric=metric), ReferenceIndex(q.plain, metric)
    index.add(x, ids)
    reference.add(x, ids)
    for k in (1, len(x) + 2):
        got, want = index.search(queries, k), reference.search(queries, k)
        assert same(got[0], want[0])
        assert same(got[1], want[1])
    assert index.plain_rows == sum(len(codes) for codec, _, codes in reference.partitions if codec is not q.plain)
    rows = np.empty_like(x)
    for codec, numbers, codes in reference.partitions:
        rows[numbers] = codec.decode(codes)
    assert same(index.reconstruct(ids), rows)


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
@pytest.mark.parametrize("center", [False, True])
def test_an_index_of_rows_like_the_sample_and_others(metric: Any, center: bool) -> None:
    """Rows along the strong axes and rows along the weak ones, added in turns: both kinds of codes hold some."""
    dim, strong = 64, 16
    basis = random_parts(dim, 5).transform
    sigmas = np.array([0.24, 0.03], np.float32)
    mean = np.full(dim, 0.3, np.float32) if center else None
    order = [0] * 6 + [1]
    rng = np.random.default_rng(0)
    spread = np.where(np.arange(dim) < strong, 1, 0.1)
    x = (rng.standard_normal((800, dim)) * spread) @ (basis / 32_000)
    x[::7] = (rng.standard_normal((115, dim)) * spread[::-1]) @ (basis / 32_000)
    x = (x + (0 if mean is None else mean)).astype(np.float32)
    if metric == "cosine" and mean is not None:
        mean /= np.float32(np.linalg.norm(x, axis=1).mean())
    q = fitted_pair(Parts(mean, basis, sigmas, [(strong, 6), (dim - strong, 1)], order), scale="matched")
    index, reference = Index(codec=q.fast, metric=metric), ReferenceIndex(q.plain, metric)
    for first, last in ((0, 1), (1, 200), (200, 800)):
        index.add(x[first:last])
        reference.add(x[first:last], np.arange(first, last))
    assert 115 <= index.plain_rows < 240
    # For 130 a floor is guessed from rows of both kinds.
    for k in (130, 12):
        got, want = index.search(x[:40], k), reference.search(x[:40], k)
        assert same(got[0], want[0])
        assert same(got[1], want[1])
    assert len(set(got[1].ravel()[got[1].ravel() % 7 == 0])) > 10  # rows of both kinds are found
    everything = index.reconstruct(index.ids)
    assert same(index.reconstruct(index.ids[::-1]), everything[::-1])
    assert index.ids.tolist() == list(range(800))
    with pytest.raises(ValueError, match="row 3"):
        index.add(np.where(np.arange(5)[:, None] == 3, np.float32(np.nan), x[:5]))
    assert same(index.search(x[:40], 12)[1], want[1])


@given(descriptions(), st.integers(0, 2**32 - 1), st.data())
def test_truncation_commutes(parts: Parts, seed: int, data: st.DataObject) -> None:
    """However a length is reached, and whatever else is done first, the bytes are the same."""
    q = fitted_pair(parts)
    codes = q.fast.encode(mixed_rows(parts.transform.shape[1], seed))
    ends = rates(q.plain.encode(np.zeros((1, codes.dim), np.float32)))
    shorter, shortest = sorted(data.draw(st.lists(st.sampled_from(ends), min_size=2, max_size=2)), reverse=True)
    want = codes.truncate(shortest)  # type: ignore[arg-type]
    assert codes.truncate(shorter).truncate(shortest) == want  # type: ignore[arg-type]
    assert Codes.from_bytes(codes.to_bytes()).truncate(shortest) == want  # type: ignore[arg-type]
    cut = data.draw(st.integers(0, len(codes)))
    halves = [codes[:cut].truncate(shortest), codes[cut:].truncate(shortest)]  # type: ignore[arg-type]
    assert Codes.concatenate(halves) == want
    assert want.bits == float(shortest)


def test_threads_and_splits_change_nothing() -> None:
    q = fitted_pair(random_parts(100, 8, center=True), refine=8)
    x = np.random.default_rng(2).standard_normal((3000, 100)).astype(np.float32)
    want = q.fast.encode(x, threads=1)
    for threads in (2, 3, 8):
        got = q.fast.encode(x, threads=threads)
        assert got == want
        assert same(q.fast.decode(got, threads=threads), q.fast.decode(want, threads=1))
        assert same(q.fast.score(x[:3], got, threads=threads), q.fast.score(x[:3], want, threads=1))
    assert Codes.concatenate([q.fast.encode(x[:1]), q.fast.encode(x[1:1001]), q.fast.encode(x[1001:])]) == want
    assert_same(want[:50], q.plain.encode(x[:50]))


@given(descriptions(), st.integers(0, 2**32 - 1))
def test_bytes_of_either_are_read_by_the_other(parts: Parts, seed: int) -> None:
    q = fitted_pair(parts, seed=seed)
    x = mixed_rows(parts.transform.shape[1], seed)
    got, want = q.fast.encode(x), q.plain.encode(x)
    assert_same(Codes.from_bytes(want.to_bytes()), want)
    back = ReferenceCodes.from_bytes(got.to_bytes())
    assert back.spec.fingerprint == got.fingerprint
    assert same(back.packed, got.packed)


def test_rows_outside_the_axes_and_queries_along_them() -> None:
    """A row that the axes cannot see is a zero row; exact ties of the codes and empty groups come with it."""
    parts = random_parts(16, 1, axes=8)
    along = parts.transform.astype(np.float64) / 32_000
    across = np.linalg.svd(along)[2][8:]
    x = np.concatenate([across, along]).astype(np.float32)
    q = fitted_pair(parts)
    assert_equal_everywhere(q.fast, x, x, answers(q.plain, x, x))
    one_axis = Parts(None, np.array([[32_000, 0]], np.int16), np.ones(1, np.float32), [(1, 3)], [0, 0, 0])
    q = fitted_pair(one_axis)
    x = np.array([[0, 5], [1, 0], [-1, 3]], np.float32)
    assert q.fast.encode(x).scales[0, 0] == 0
    assert_equal_everywhere(q.fast, x, x, answers(q.plain, x, x))


def test_the_largest_description() -> None:
    """255 segments: as many as a header can have."""
    dim = 510
    segments, order = [(2, 1)] * 255, list(range(255))
    parts = Parts(None, np.eye(dim, dtype=np.int16) * np.int16(32_000), np.full(255, 0.05, np.float32), segments, order)
    q = fitted_pair(parts)
    x = mixed_rows(dim, 0)
    queries = mixed_rows(dim, 1, QUERY_KINDS)
    assert_equal_everywhere(q.fast, x, queries, answers(q.plain, x, queries))
    codes = q.fast.encode(x)
    assert Codes.from_bytes(codes.to_bytes()) == codes
    assert math.isclose(codes.bits, 1)


def test_scores_beyond_float32_are_infinite_and_never_nan() -> None:
    parts = random_parts(40, 4, center=True)
    parts.center[:] = np.where(np.arange(40) % 2, 1, -1) * 2.0**60  # type: ignore[index]
    q = fitted_pair(parts)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((20, 40)) * 2.0**115).astype(np.float32)
    queries = (rng.standard_normal((4, 40)) * 2.0**90).astype(np.float32)
    got = q.fast.score(queries, q.fast.encode(x))
    assert same(got, score(q.plain, queries, q.plain.encode(x)))
    assert np.isinf(got).any()
    assert not np.isnan(got).any()
    index = Index(codec=q.fast)
    index.add(x)
    assert set(index.search(queries, 20)[1][0].tolist()) == set(range(20))
