"""A search is the sorted scan of all rankings, for any data, rows and k: no short cut that data can defeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from strategies import same
from turboquant_rs import Index, TurboQuant
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference.staged import clamp, row_bounds, upper

Rows = np.ndarray[Any, np.dtype[np.float32]]

#: Rows around which implementations switch their way of searching.
SIZES = (1, 63, 64, 65, 1_023, 1_024, 1_025, 4_097, 32_767, 32_768, 32_769, 65_537)
DIM = 32


def sorted_scan(scores: Rows, k: int) -> tuple[Rows, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the k largest scores of every query and their columns; equal scores by the lower column."""
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, ids, axis=1), ids


def rankings(q: TurboQuant, queries: Rows, x: Rows) -> Rows:
    """Return what every row ranks by: its score, cut at what its sign plane allows (docs/numerics.md section 12)."""
    scores = q.score(queries, q.encode(x))
    if q.bits == 1:
        return scores
    reference = Reference(DIM, q.bits)
    codes = reference.encode(x)
    return clamp(scores, upper(reference, queries, codes, row_bounds(reference, codes)))


def data(kind: str, n: int) -> Rows:
    rng = np.random.default_rng(len(kind))
    x = rng.standard_normal((n, DIM))
    if kind == "shared direction":  # scores that hardly differ
        x += 3 * rng.standard_normal(DIM)
    elif kind == "clusters":
        x = 0.05 * x + rng.standard_normal((50, DIM))[rng.integers(0, 50, n)]
    elif kind == "mixed norms":
        x *= np.exp(rng.standard_normal((n, 1)))
    elif kind == "ascending":  # every row nearer than all before it: the worst order for a running best
        x = np.linspace(1, 2, n)[:, None] * np.ones(DIM)
    return x.astype(np.float32)


@pytest.mark.parametrize("kind", ["isotropic", "shared direction", "clusters", "mixed norms", "ascending"])
@pytest.mark.parametrize("bits", [1, 4])
def test_a_search_is_the_sorted_scan(kind: str, bits: int) -> None:
    q = TurboQuant(DIM, bits)
    x = data(kind, SIZES[-1])
    queries = np.concatenate([x[:6], -x[:2]])
    codes, scores = q.encode(x), rankings(q, queries, x)
    index, added = Index(codec=q), 0
    for n in SIZES:
        index.add_codes(codes[added:n])
        added = n
        for k in (1, 10, 100):
            want_scores, want_ids = sorted_scan(scores[:, :n], min(k, n))
            found_scores, found_ids = index.search(queries, k)
            assert same(found_scores[:, :n], np.ascontiguousarray(want_scores)), (n, k)
            assert np.array_equal(found_ids[:, :n], want_ids), (n, k)
            one_scores, one_ids = index.search(queries[0], k)
            assert same(one_scores, found_scores[0])
            assert same(one_ids, found_ids[0])
    want_scores, want_ids = sorted_scan(scores, 50_000)
    found_scores, found_ids = index.search(queries, 50_000)
    assert same(found_scores, want_scores)
    assert np.array_equal(found_ids, want_ids)


def test_one_more_row_changes_only_what_it_enters() -> None:
    x = data("shared direction", 2_100)
    index = Index(DIM, 2)
    index.add(x[:2_000])
    before = index.search(x[:20], 10)
    for row in range(2_000, 2_100):
        index.add(x[row : row + 1])
        scores, ids = index.search(x[:20], 10)
        entered = ids == row
        for i in range(20):
            old = [pair for pair in zip(scores[i], ids[i], strict=True) if pair[1] != row]
            assert old == list(zip(before[0][i], before[1][i], strict=True))[: len(old)]
            assert entered[i].sum() + len(old) == 10
        before = scores, ids


@pytest.mark.parametrize("bits", [2, 4])
def test_sparse_rows_are_found_at_every_dimension(bits: int) -> None:
    """Rows of three non-zeros, near queries: as well at 1000 and 1032 dimensions as at the power of two between.

    Overlap with the true ten over 200 queries has a standard error of about 0.5 %; six of them are allowed.
    """
    found = {}
    for dim in (1000, 1024, 1032):
        rng = np.random.default_rng(dim)
        x = np.zeros((4_000, dim))
        for row in x:
            row[rng.choice(dim, 3, replace=False)] = rng.standard_normal(3)
        x /= np.linalg.norm(x, axis=1, keepdims=True)
        queries = x[:200] + 0.2 * x[rng.integers(200, 4_000, 200)]
        truth = queries @ x.T
        index = Index(dim, bits)
        index.add(x)
        _, ids = index.search(queries, 10)
        # Most rows share no coordinate with a query and tie at 0: what counts is the true score of what was found.
        best = -np.sort(-truth, axis=1)[:, 9]
        found[dim] = float(np.mean(np.take_along_axis(truth, ids, axis=1) >= best[:, None] - 1e-9))
    assert found[1024] > 0.9
    assert abs(found[1000] - found[1024]) < 0.03, found
    assert abs(found[1032] - found[1024]) < 0.03, found
