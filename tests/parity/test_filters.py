"""Filters and range search: ids, scores and limits equal the NumPy reference's to the bit, at every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fits import Parts, fitted_pair
from hypothesis import given
from hypothesis import strategies as st
from strategies import METRICS, same
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation.generators import GENERATORS
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference.dense import fixed_matrix

Floats = np.ndarray[Any, np.dtype[np.float32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

#: Which rows a filter allows, from n and a generator.
MASKS = {
    "none": lambda n, rng: np.zeros(n, bool),
    "all": lambda n, rng: np.ones(n, bool),
    "a hundredth": lambda n, rng: rng.random(n) < 0.01,
    "half": lambda n, rng: rng.random(n) < 0.5,
    "most": lambda n, rng: rng.random(n) < 0.98,
    "a run": lambda n, rng: (np.arange(n) >= n // 3) & (np.arange(n) < n // 2),
    "blocks": lambda n, rng: np.arange(n) // 64 % 3 == 1,
}


class Both:
    """An index of the package and the reference's, with the same rows under shuffled ids."""

    def __init__(self, fast: TurboQuant, plain: Reference, metric: str, x: Floats) -> None:
        self.fast = Index(codec=fast, metric=metric)  # type: ignore[arg-type]
        self.plain = ReferenceIndex(plain, metric)
        self.rng = np.random.default_rng(len(x))
        ids = self.rng.permutation(3 * len(x))[: len(x)].astype(np.int64)
        for part in np.array_split(np.arange(len(x)), [len(x) // 5, len(x) // 2]):
            self.fast.add(x[part], ids[part])
        self.plain.add(x, ids)
        # The reference is slow, and asked for the same queries again and again.
        known = self.known = dict[bytes, Floats]()
        rank = self.plain.ranked_by

        def remembered(queries: Floats, deviations: float) -> Floats:
            key = queries.tobytes()
            if key not in known:
                known[key] = rank(queries, deviations)
            return known[key]

        self.plain.ranked_by = remembered  # type: ignore[method-assign]

    def remove(self, ids: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        self.fast.remove(ids)
        self.plain.remove(ids)
        self.known.clear()

    def check(self, queries: Floats, kind: str, ks: tuple[int, ...]) -> None:
        """Batch, single queries and every kind of filter give the reference's answer."""
        mask = MASKS[kind](len(self.fast), self.rng)
        made = self.fast.filter(mask)
        assert len(made) == mask.sum()
        for k in ks:
            scores, ids = self.plain.search(queries, k, allowed=mask)
            for exact in (False, True):
                for allowed in (mask, made, self.plain.ids[mask][::-1]):
                    got = self.fast.search(queries, k, filter=allowed, exact=exact)
                    assert np.array_equal(got[1], ids), (kind, k, exact)
                    assert same(got[0], scores), (kind, k, exact)
                for i, query in enumerate(queries):
                    got = self.fast.search(query, k, filter=made, exact=exact, threads=1 + i % 2)
                    assert np.array_equal(got[1], ids[i]), (kind, k, exact)
                    assert same(got[0], scores[i]), (kind, k, exact)

    def check_range(self, queries: Floats, kind: str) -> None:
        """Thresholds at a score, between scores and beyond all of them."""
        mask = MASKS[kind](len(self.fast), self.rng)
        scores, _ = self.plain.search(queries, len(mask))
        place = scores[0, self.rng.integers(len(mask))]
        for threshold in (place, np.nextafter(place, np.float32(9e9)), np.median(scores), -np.inf, np.inf):
            want = self.plain.range_search(queries, threshold, allowed=mask)
            for found in (
                self.fast.range_search(queries, threshold, filter=mask),
                self.fast.range_search(queries, float(threshold), filter=self.fast.filter(mask), exact=True, threads=2),
            ):
                assert all(same(a, b) for a, b in zip(found, want, strict=True)), (kind, threshold)
            lims, scores_one, ids_one = self.fast.range_search(queries[0], threshold, filter=mask)
            assert lims.tolist() == [0, want[0][1]]
            assert same(scores_one, want[1][: lims[1]])
            assert same(ids_one, want[2][: lims[1]])


@given(
    dim=st.integers(1, 90),
    bits=st.integers(1, 8),
    metric=st.sampled_from(METRICS),
    n=st.integers(1, 400),
    kind=st.sampled_from(sorted(MASKS)),
    data=st.sampled_from(sorted(GENERATORS)),
    k=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_any_filter(
    level: str, dim: int, bits: int, metric: str, n: int, kind: str, data: str, k: int, seed: int
) -> None:
    x = GENERATORS[data](n, dim, n_queries=3, seed=seed)
    both = Both(TurboQuant(dim, bits), Reference(dim, bits), metric, x.base)
    both.check(x.queries, kind, (k, n + 1))
    both.check_range(x.queries, kind)


@pytest.mark.parametrize("metric", METRICS)
def test_several_chunks_and_tasks(level: str, metric: str) -> None:
    x = GENERATORS["clusters"](5_001, 24, n_queries=9, seed=3)
    both = Both(TurboQuant(24, 4), Reference(24, 4), metric, x.base)
    for kind in MASKS:
        both.check(x.queries, kind, (300,))
    both.check_range(x.queries, "half")


@pytest.mark.parametrize("metric", METRICS)
def test_after_removal(level: str, metric: str) -> None:
    """Rows that are marked as removed are found by no filter, and count for no mask; nor once they are dropped."""
    x = GENERATORS["clusters"](1_500, 24, n_queries=3, seed=5)
    both = Both(TurboQuant(24, 4), Reference(24, 4), metric, x.base)
    before = both.fast.filter(np.ones(1_500, bool))
    both.remove(both.plain.ids[np.arange(1_500) % 5 == 1])
    assert both.fast.info()["removed"] == 300
    assert same(both.fast.search(x.queries, 1_300, filter=before)[1], both.plain.search(x.queries, 1_300)[1])
    for kind in MASKS:
        both.check(x.queries, kind, (20, 1_300))
        both.check_range(x.queries, kind)
    inverse = ~both.fast.filter(both.plain.ids[:100])
    allowed = np.arange(1_200) >= 100
    want = both.plain.search(x.queries, 1_300, allowed=allowed)
    for got, expected in zip(both.fast.search(x.queries, 1_300, filter=inverse), want, strict=True):
        assert same(got, expected)
    both.fast.compact()
    with pytest.raises(ValueError, match="filter must be made after the last compaction"):
        both.fast.search(x.queries, filter=before)
    both.check(x.queries, "half", (20,))


@pytest.mark.parametrize("metric", METRICS)
def test_fitted(level: str, metric: str) -> None:
    """Rows of both kinds, those of the fit and those kept as plain codes, are filtered by their own places."""
    basis = fixed_matrix(np.linalg.qr(np.random.default_rng(3).standard_normal((24, 24)))[0])
    sigmas = np.array([1 / np.sqrt(8), 0.1 / np.sqrt(8)], np.float32)
    pair = fitted_pair(Parts(None, basis, sigmas, [(8, 6), (16, 1)], [0] * 6 + [1]), scale="matched")
    spread = np.where(np.arange(24) < 8, 1, 0.1)
    rows = np.random.default_rng(1).standard_normal((900, 24))
    rows *= np.where(np.arange(900)[:, None] % 7 == 0, spread[::-1], spread)
    x = (rows @ (basis / 32_000)).astype(np.float32)
    both = Both(pair.fast, pair.plain, metric, x)
    assert 100 < both.fast.plain_rows < 300
    for kind in MASKS:
        both.check(x[:9] + np.float32(0.1), kind, (20, 901))
        both.check_range(x[:9], kind)
    both.remove(both.plain.ids[np.arange(900) % 6 == 1])
    assert both.fast.info()["removed"] == 150
    both.check(x[:9] + np.float32(0.1), "half", (20, 901))
    both.check_range(x[:9], "half")
