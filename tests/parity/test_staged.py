"""Rankings by stages: one answer for every k, batch, number of threads and level, equal to the reference's top k of s'."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import METRICS, same
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation.generators import GENERATORS
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference.staged import clamp, prepare_stage, row_bounds, upper

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ids = np.ndarray[Any, np.dtype[np.int64]]


def one_by_one(index: Index, queries: Floats, k: int, **options: Any) -> tuple[Floats, Ids]:
    scores, ids = zip(*(index.search(query, k, **options) for query in queries), strict=True)
    return np.stack(scores), np.stack(ids)


def check(index: Index, plain: ReferenceIndex, queries: Floats, ks: tuple[int, ...]) -> None:
    """All ways to ask give the reference's answer; a smaller k gives its first places."""
    scores, ids = plain.search(queries, max(ks))
    for k in ks:
        for threads in (1, 2):
            for found in (one_by_one(index, queries, k, threads=threads), index.search(queries, k, threads=threads)):
                assert np.array_equal(found[1], ids[:, :k]), (k, threads)
                assert same(found[0], scores[:, :k]), (k, threads)


@pytest.mark.parametrize("kind", GENERATORS)
def test_kinds_of_data(level: str, kind: str) -> None:
    for bits, metric in ((2, "ip"), (4, "cosine"), (4, "l2"), (8, "ip")):
        x = GENERATORS[kind](1500, 72, n_queries=7, seed=bits)
        index, plain = Index(72, bits, metric), ReferenceIndex(Reference(72, bits), metric)  # type: ignore[arg-type]
        plain.add(x.base, index.add(x.base))
        check(index, plain, x.queries, (1, 10, 100, 1000))


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
    for size in (1, 3, 4, 5, 7, 64):
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
    from turboquant_rs.reference.codebook import integer_levels
    from turboquant_rs.reference.staged import bound_unit

    unit = bound_unit(plain)
    l = integer_levels(bits, bits, 200)[0].astype(np.float64)[plain.unpack(codes)[0]]  # noqa: E741
    residual = l - (ratio / unit)[:, None] * np.sign(l)
    # Half a unit of the ratio moves the product by half a unit times Σ|l|.
    assert (np.abs((residual * l).sum(axis=1)) <= 0.5000001 / unit * np.abs(l).sum(axis=1)).all()
    length = np.sqrt((residual**2).mean(axis=1)) * unit
    assert ((length <= spread + 1e-6) & (spread < length + 1 + 1e-6)).all()


def test_entries_use_their_range() -> None:
    stage = prepare_stage(Reference(64, 2), GENERATORS["isotropic"](9, 64, seed=7).base, cosine=False)
    assert (stage.tables.max(axis=(1, 2, 3)) == 126).all() and (stage.tables.min(axis=(1, 2, 3)) == 0).all()
