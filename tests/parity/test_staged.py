"""Rankings by stages: one answer for every k, batch, number of threads and level, the reference's top k of s'."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from fits import Parts, fitted_codec, fitted_pair, random_parts
from hypothesis import given
from hypothesis import strategies as st
from strategies import METRICS, same
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation.datasets import load_glosses_sample
from turboquant_rs.evaluation.generators import GENERATORS
from turboquant_rs.reference import FittedTurboQuant
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference.codebook import integer_levels
from turboquant_rs.reference.linear_stage import BOUND, linear_stage
from turboquant_rs.reference.staged import bound_unit, clamp, has_first_stage, prepare_stage, row_bounds, upper

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ids = np.ndarray[Any, np.dtype[np.int64]]


def one_by_one(index: Index, queries: Floats, k: int, **options: Any) -> tuple[Floats, Ids]:
    scores, ids = zip(*(index.search(query, k, **options) for query in queries), strict=True)
    return np.stack(scores), np.stack(ids)


def check(index: Index, plain: ReferenceIndex, queries: Floats, ks: tuple[int, ...]) -> None:
    """All ways to ask give the reference's answer."""
    check_with(index, queries, ks, plain.search(queries, max(ks)))


def check_with(index: Index, queries: Floats, ks: tuple[int, ...], want: tuple[Floats, Ids]) -> None:
    """All ways to ask give the answer for the largest k; a smaller one gives its first places."""
    scores, ids = want
    for k in ks:
        for threads in (1, 2):
            for found in (one_by_one(index, queries, k, threads=threads), index.search(queries, k, threads=threads)):
                assert np.array_equal(found[1], ids[:, :k]), (k, threads)
                assert same(found[0], scores[:, :k]), (k, threads)


@cache
def _expected(kind: str, bits: int, metric: str) -> tuple[Any, tuple[Floats, Ids]]:
    x = GENERATORS[kind](1500, 72, n_queries=7, seed=bits)
    plain = ReferenceIndex(Reference(72, bits), metric)
    plain.add(x.base, np.arange(1500))
    return x, plain.search(x.queries, 1000)


@pytest.mark.parametrize("kind", GENERATORS)
def test_kinds_of_data(level: str, kind: str) -> None:
    for bits, metric in ((2, "ip"), (4, "cosine"), (4, "l2"), (8, "ip")):
        x, want = _expected(kind, bits, metric)
        index = Index(72, bits, metric)  # type: ignore[arg-type]
        index.add(x.base)
        check_with(index, x.queries, (1, 10, 100, 1000), want)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("metric", METRICS)
def test_widths_and_dimensions(bits: int, metric: str) -> None:
    for dim in (1, 2, 7, 9, 64, 65, 130):
        x = GENERATORS["clusters"](700, dim, n_queries=6, seed=dim)
        # Whole-number ids in another order than rows: ties go to the lower id, not to the first row.
        ids = np.random.default_rng(dim).permutation(1400)[:700].astype(np.int64)
        rows = np.concatenate([x.base[:600], x.base[:90], np.zeros((10, dim), np.float32)])
        index, plain = Index(dim, bits, metric), ReferenceIndex(Reference(dim, bits), metric)  # type: ignore[arg-type]
        index.add(rows, ids)
        plain.add(rows, ids)
        check(index, plain, np.concatenate([x.queries, np.zeros((1, dim), np.float32)]), (1, 10, 100))


@pytest.mark.parametrize("n", [1, 63, 64, 65, 4095, 4096, 4097, 32_767, 32_768, 40_000])
def test_numbers_of_rows(n: int) -> None:
    """Around blocks, chunks and where others change their search; rows come in several adds."""
    x = GENERATORS["embedding_like"](n, 40, n_queries=5, seed=3)
    index, plain = Index(40, 4), ReferenceIndex(Reference(40, 4))
    for part in np.array_split(x.base, [n // 3, n // 3 + 1]):
        index.add(part)
    plain.add(x.base, np.arange(n))
    check(index, plain, x.queries, (1, 10, 100))


def test_batches() -> None:
    x = GENERATORS["isotropic"](9000, 64, n_queries=1000, seed=4)
    index = Index(64, 4)
    index.add(x.base)
    scores, ids = index.search(x.queries, 10)
    for size in (1, 3, 7, 8, 9, 64):
        parts = [index.search(x.queries[i : i + size], 10) for i in range(0, 200, size)]
        assert np.array_equal(np.concatenate([p[1] for p in parts]), ids[: len(parts) * size])
        assert same(np.concatenate([p[0] for p in parts]), scores[: len(parts) * size])


def test_scores_of_a_search_are_cut_at_their_upper_ends() -> None:
    """Some score lies above its upper end, and then the search returns the upper end; `score` is never cut."""
    x = GENERATORS["isotropic"](4000, 64, n_queries=20, seed=5)
    codec, plain = TurboQuant(64, 4), Reference(64, 4)
    codes = plain.encode(x.base)
    index = Index(codec=codec)
    index.add(x.base)
    whole = codec.score(x.queries, codec.encode(x.base))
    ends = upper(plain, x.queries, codes, row_bounds(plain, codes))
    assert 0.0005 < (ends < whole).mean() < 0.003  # Φ(−3) = 0.00135 of 80,000
    scores, ids = index.search(x.queries, 4000)
    assert same(scores, np.take_along_axis(clamp(whole, ends), ids, axis=1))


@pytest.mark.parametrize("bits", range(2, 9))
def test_residuals_are_orthogonal_and_bounded(bits: int) -> None:
    """The bounds mean what docs/numerics.md says, in float64: ⟨l − τs, l⟩ = 0 and |l − τs|/√m ≤ ρ, within a unit."""
    plain = Reference(200, bits)
    codes = plain.encode(GENERATORS["isotropic"](50, 200, seed=6).base)
    ratio, spread = row_bounds(plain, codes).astype(np.float64).T
    unit = bound_unit(plain)
    l = integer_levels(bits, bits, 200)[0].astype(np.float64)[plain.unpack(codes)[0]]  # noqa: E741
    residual = l - (ratio / unit)[:, None] * np.sign(l)
    # Half a unit of the ratio moves the product by half a unit times Σ|l|.
    assert (np.abs((residual * l).sum(axis=1)) <= 0.5000001 / unit * np.abs(l).sum(axis=1)).all()
    length = np.sqrt((residual**2).mean(axis=1)) * unit
    assert ((length <= spread + 1e-6) & (spread < length + 1 + 1e-6)).all()


def test_entries_use_their_range() -> None:
    stage = prepare_stage(Reference(64, 2), GENERATORS["isotropic"](9, 64, seed=7).base, cosine=False)
    assert (stage.tables.max(axis=(1, 2, 3)) == 126).all()
    assert (stage.tables.min(axis=(1, 2, 3)) == 0).all()


@cache
def _expected_of_fitted(kind: str, seed: int) -> tuple[Parts, Any, tuple[Floats, Ids]]:
    x = GENERATORS[kind](600, 72, n_queries=4, seed=seed)
    parts = random_parts(72, seed, axes=(72, 61, 72)[seed], center=seed == 1, dual=seed == 2)
    plain = ReferenceIndex(fitted_pair(parts).plain, METRICS[seed])
    plain.add(x.base, np.arange(600))
    return parts, x, plain.search(x.queries, 100)


@pytest.mark.parametrize("kind", GENERATORS)
def test_fitted_codes_on_kinds_of_data(level: str, kind: str) -> None:
    """Any description, of any kind of rows: it need not suit them."""
    for seed, metric in enumerate(METRICS):
        parts, x, want = _expected_of_fitted(kind, seed)
        index = Index(codec=fitted_codec(parts), metric=metric)  # type: ignore[arg-type]
        index.add(x.base)
        check_with(index, x.queries, (1, 10, 100), want)


@given(st.integers(1, 40), st.integers(0, 10_000), st.sampled_from(METRICS), st.booleans(), st.integers(1, 150))
def test_fitted_codes(dim: int, seed: int, metric: str, center: bool, n: int) -> None:
    """Both ways of reading rows give the reference's answer; zero rows and great norms among them."""
    rng = np.random.default_rng(seed)
    pair = fitted_pair(random_parts(dim, seed, center=center, dual=seed % 3 == 0))
    x = (rng.standard_normal((n, dim)) * 10.0 ** rng.integers(-12, 12, (n, 1))).astype(np.float32)
    x[rng.random(n) < 0.1] = 0
    queries = (rng.standard_normal((3, dim)) * 10.0 ** rng.integers(-12, 12, (3, 1))).astype(np.float32)
    index, plain = Index(codec=pair.fast, metric=metric), ReferenceIndex(pair.plain, metric)  # type: ignore[arg-type]
    plain.add(x, index.add(x))
    check(index, plain, queries, (1, 10))


def test_fitted_searches_read_few_rows_and_lose_none() -> None:
    """A fit to real embeddings: what is cut is as rare as promised, and none of the ten nearest is lost."""
    glosses = load_glosses_sample()
    for bits in (1, 3):
        codec = TurboQuant.fit(glosses.base[:2000], bits=bits)
        assert codec.fitted
        fit = codec._core.parts()
        assert fit is not None
        plain = FittedTurboQuant(*fit[:4], list(fit[4]), scale=codec.scale, refine=codec.refine)
        assert has_first_stage(plain)
        rows, queries = glosses.base[2000:], glosses.queries[:50]
        codes = plain.encode(rows)
        ends = upper(plain, queries, codes, row_bounds(plain, codes))
        scores = codec.score(queries, codec.encode(rows))
        # Of rows that might matter fewer than of far ones (numerics.md section 12).
        near = scores >= np.quantile(scores, 0.9, axis=1)[:, None]
        assert (ends < scores)[near].mean() < 0.001
        assert 1e-5 < (ends < scores).mean() < 0.006
        cut = clamp(scores, ends)
        for found, wanted in zip(np.argsort(-cut)[:, :10], np.argsort(-scores)[:, :10], strict=True):
            assert set(found) == set(wanted)
        tenth = np.sort(cut, axis=1)[:, -10]
        assert (ends >= tenth[:, None]).mean() < 0.1
        # The whole index of other rows that the codec may code badly, one by one and together.
        index, other = Index(codec=codec), ReferenceIndex(plain)
        other.add(rows, index.add(rows))
        check(index, other, queries[:8], (10,))


def test_residuals_of_fitted_codes_are_orthogonal() -> None:
    """The ratio of docs/numerics.md makes the residual orthogonal to the code along the axes, in float64."""
    plain = fitted_pair(random_parts(60, 8)).plain
    codes = plain.encode(GENERATORS["isotropic"](50, 60, seed=6).base)
    stage = linear_stage(plain)
    assert stage is not None
    ratio = row_bounds(plain, codes)[:, 0].astype(np.float64) / BOUND
    products, squares = np.zeros(50), np.zeros(50)
    for segment, values, weight, level, part in zip(
        plain.spec.segments, stage.values, plain.weights, plain.levels_of(codes), plain.unpack(codes), strict=True
    ):
        signs = [((part >> (segment.bits - 1 - i)) & 1) * 2.0 - 1 for i in range(len(values))]
        linear = sum((value * sign for value, sign in zip(values, signs, strict=True)), np.zeros(part.shape))
        products += weight * (level * (level - ratio[:, None] * linear)).sum(axis=1)
        squares += weight * (level * level).sum(axis=1)
    # Half a unit of the ratio, and levels and values rounded to 1/4096.
    assert (np.abs(products) <= 1e-3 * squares).all()
