"""Index: ids, results, sizes, and sanity of the three metrics against brute force in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import METRICS, same
from turboquant_rs import Index, TurboQuant

Rows = np.ndarray[Any, np.dtype[np.float32]]
each_metric = pytest.mark.parametrize("metric", METRICS)


def rows(n: int, dim: int, seed: int = 0) -> Rows:
    return np.random.default_rng(seed).standard_normal((n, dim), np.float32)


def filled(metric: str, n: int = 500, dim: int = 32, bits: int = 4, ids: Any = None) -> tuple[Index, Rows]:
    index = Index(dim, bits, metric)  # type: ignore[arg-type]
    x = rows(n, dim)
    index.add(x, ids)
    return index, x


def brute(metric: str, queries: Rows, x: Rows) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return true scores in float64, (nq, n), larger nearer: l2 distances are negated."""
    a, b = queries.astype(np.float64), x.astype(np.float64)
    if metric == "cosine":
        a, b = a / np.linalg.norm(a, axis=1, keepdims=True), b / np.linalg.norm(b, axis=1, keepdims=True)
    if metric == "l2":
        return -((a[:, None] - b[None]) ** 2).sum(axis=2)
    return a @ b.T


# --- adding ------------------------------------------------------------------------------------------------------


@each_metric
def test_add_returns_ids(metric: str) -> None:
    index = Index(8, metric=metric)  # type: ignore[arg-type]
    assert index.add(rows(3, 8)).tolist() == [0, 1, 2]
    empty = index.add(np.empty((0, 8)))
    assert (empty.shape, empty.dtype) == ((0,), np.int64)
    assert index.add(rows(1, 8)).tolist() == [3]
    assert index.add(rows(2, 8), [100, 7]).tolist() == [100, 7]
    assert index.add(rows(2, 8)).tolist() == [101, 102], "the largest id so far plus one"
    assert index.ids.tolist() == [0, 1, 2, 3, 100, 7, 101, 102]
    assert len(index) == 8
    index.ids[0] = 55
    assert index.ids[0] == 0, "ids are a copy"


@pytest.mark.parametrize(
    "ids",
    [
        [5, 3],
        (5, 3),
        range(5, 1, -2),
        np.array([5, 3], np.uint8),
        np.array([5, 3], ">i4"),
        np.array([5, 0, 3], np.int64)[::2],
        np.array([5, 3], np.uint64),
    ],
    ids=lambda ids: f"{type(ids).__name__}-{getattr(ids, 'dtype', '')}",
)
def test_ids_of_any_integer_kind(ids: Any) -> None:
    index = Index(8)
    given = index.add(rows(2, 8), ids)
    assert given.tolist() == [5, 3]
    assert given.dtype == np.int64
    assert sorted(index.search(rows(1, 8), 2)[1][0].tolist()) == [3, 5]


def test_the_largest_ids() -> None:
    index = Index(8)
    x = np.eye(8)
    index.add(x[:3], [2**63 - 1, 0, 2**62])
    assert index.search(x[0], 1)[1].tolist() == [2**63 - 1]
    assert same(index.reconstruct(2**63 - 1), index.reconstruct([2**63 - 1])[0])


@each_metric
def test_adding_in_pieces_is_adding_at_once(metric: str) -> None:
    whole, x = filled(metric)
    pieces = Index(32, 4, metric)  # type: ignore[arg-type]
    for first, last in [(0, 1), (1, 1), (1, 300), (300, 500)]:
        pieces.add(x[first:last])
    for a, b in zip(whole.search(x[:9], 20), pieces.search(x[:9], 20), strict=True):
        assert same(a, b)
    assert same(whole.reconstruct(whole.ids), pieces.reconstruct(pieces.ids))


def test_adding_codes_is_adding_vectors() -> None:
    whole, x = filled("ip", ids=np.arange(500) * 2)
    codes = Index(codec=whole.codec)
    made = whole.codec.encode(x)
    assert codes.add_codes(made[:200], np.arange(200) * 2).tolist() == list(range(0, 400, 2))
    codes.add_codes(made[200:], np.arange(200, 500) * 2)
    for a, b in zip(whole.search(x[:9], 20), codes.search(x[:9], 20), strict=True):
        assert same(a, b)
    other = Index(32)
    assert other.add_codes(made[::-2]).tolist() == list(range(250))
    assert same(other.reconstruct(other.ids), whole.codec.decode(made)[::-2])


@each_metric
def test_the_rows_are_not_kept(metric: str) -> None:
    index = Index(32, metric=metric)  # type: ignore[arg-type]
    x = rows(100, 32)
    index.add(x)
    before = index.search(rows(5, 32, 1), 100)
    x[:] = 0
    for a, b in zip(before, index.search(rows(5, 32, 1), 100), strict=True):
        assert same(a, b)


# --- searching ---------------------------------------------------------------------------------------------------


@each_metric
def test_shapes_and_types(metric: str) -> None:
    index, x = filled(metric)
    scores, ids = index.search(x[:3], 7)
    assert (scores.shape, scores.dtype, ids.shape, ids.dtype) == ((3, 7), np.float32, (3, 7), np.int64)
    one_scores, one_ids = index.search(x[1], 7)
    assert (one_scores.shape, one_ids.shape) == ((7,), (7,))
    assert same(one_scores, scores[1])
    assert same(one_ids, ids[1])
    assert index.search(x[:3])[1].shape == (3, 10)
    assert index.search(np.empty((0, 32)), 5)[1].shape == (0, 5)


@each_metric
def test_more_than_there_is(metric: str) -> None:
    worst = np.inf if metric == "l2" else -np.inf
    index, x = filled(metric, n=5)
    scores, ids = index.search(x[:2], 9)
    assert np.array_equal(np.sort(ids[:, :5]), [range(5)] * 2)
    assert (ids[:, 5:] == -1).all()
    assert (scores[:, 5:] == worst).all()
    assert np.isfinite(scores[:, :5]).all()
    empty = Index(32, metric=metric)  # type: ignore[arg-type]
    scores, ids = empty.search(x[:2], 3)
    assert (ids == -1).all()
    assert (scores == worst).all()
    assert empty.search(x[0], 3)[1].tolist() == [-1] * 3


@each_metric
def test_the_first_k_are_the_same_for_every_k(metric: str) -> None:
    index, x = filled(metric, n=3_000)
    queries = np.concatenate([x[:20], rows(20, 32, 9)])
    scores, ids = index.search(queries, 3_000)
    for k in (1, 2, 3, 10, 100, 999, 2_999):
        found = index.search(queries, k)
        assert same(found[0], np.ascontiguousarray(scores[:, :k])), k
        assert same(found[1], np.ascontiguousarray(ids[:, :k])), k
    assert all(len(set(row)) == 3_000 for row in ids.tolist())


@each_metric
@pytest.mark.parametrize("threads", [None, 1, 2, 3])
def test_any_batch_and_threads(metric: str, threads: int | None) -> None:
    index, _ = filled(metric, n=2_100)
    queries = rows(1_000, 32, 5)
    scores, ids = index.search(queries, 10)
    for batch in (1, 7, 64, 1_000):
        last = 60 if batch == 1 else 1_000
        for first in range(0, last, batch):
            part = slice(first, first + batch)
            found = index.search(queries[part], 10, threads=threads)
            assert same(found[0], scores[part])
            assert same(found[1], ids[part])


@each_metric
def test_scores_do_not_depend_on_other_rows(metric: str) -> None:
    """A row's score is the same in an index of one row, and whatever the order of rows."""
    index, x = filled(metric, n=300)
    scores, ids = index.search(x[7], 300)
    by_id = dict(zip(ids.tolist(), scores.tolist(), strict=True))
    for row in (0, 7, 63, 64, 299):
        alone = Index(32, metric=metric)  # type: ignore[arg-type]
        alone.add(x[row : row + 1])
        assert alone.search(x[7], 1)[0][0] == np.float32(by_id[row])
    order = np.random.default_rng(1).permutation(300)
    mixed = Index(32, metric=metric)  # type: ignore[arg-type]
    mixed.add(x[order], order)
    for a, b in zip((scores, ids), mixed.search(x[7], 300), strict=True):
        assert same(a, b)


@each_metric
def test_ties_and_duplicates(metric: str) -> None:
    x = np.repeat(rows(4, 32), 50, axis=0)
    ids = np.random.default_rng(2).permutation(10_000)[:200]
    index = Index(32, metric=metric)  # type: ignore[arg-type]
    index.add(x, ids)
    scores, found = index.search(x[::50], 200)
    for row in range(4):
        nearest = found[row, :50]
        assert np.array_equal(nearest, np.sort(ids[row * 50 : row * 50 + 50])), "copies of the query, by ascending id"
        for value in np.unique(scores[row]):
            group = found[row, scores[row] == value]
            assert np.array_equal(group, np.sort(group))


def test_zero_rows_and_queries() -> None:
    x = np.concatenate([-np.abs(rows(5, 32)), np.zeros((2, 32), np.float32)])
    query = np.abs(rows(1, 32, 3))[0]
    for metric in METRICS:
        index = Index(32, metric=metric)  # type: ignore[arg-type]
        index.add(x)
        scores, ids = index.search(query, 7)
        if metric == "l2":
            assert scores[ids >= 5].tolist() == pytest.approx([float((query.astype(float) ** 2).sum())] * 2, rel=1e-6)
        else:
            assert ids[:2].tolist() == [5, 6], "a product of 0 is larger than a negative one"
            assert scores[:2].tolist() == [0, 0]
        scores, ids = index.search(np.zeros(32), 7)
        assert np.isfinite(scores).all()
        if metric == "l2":
            assert ids[:2].tolist() == [5, 6]
            assert scores[:2].tolist() == [0, 0]
        else:
            assert ids.tolist() == list(range(7)), "all tie at 0"
            assert (scores == 0).all()


def test_l2_is_never_negative() -> None:
    index, x = filled("l2", n=2_000, bits=2)
    scores, _ = index.search(x[:200], 3)
    assert (scores >= 0).all()
    assert not np.signbit(scores).any()
    assert (np.diff(scores, axis=1) >= 0).all()


# --- metrics against brute force ---------------------------------------------------------------------------------

#: An estimate's error relative to |q||x| has a standard deviation of at most √(D/((1 − D)·dim)), D the distortion; at
#: 8 bits and 128 dimensions 6e-4. Of 60 · 2,000 pairs one is beyond 6 deviations with probability 2.4e-4; the seed is
#: fixed. Rounding of scores adds 1e-4 or less.
WORST_ERROR = 6 * 6e-4 + 6e-4

#: Scores of rows that their first stage allows no more are lower: of each with probability Φ(−3) = 0.00135 at most, so
#: of the 120,000 pairs, were they independent, 162 ± 13; rows share queries, which may double the deviation.
MOST_CUT = 0.00135 + 6 * 2 * 13 / 120_000


@each_metric
def test_scores_are_near_the_truth(metric: str) -> None:
    index, x = filled(metric, n=2_000, dim=128, bits=8)
    queries = rows(60, 128, 4)
    scores, ids = index.search(queries, 2_000)
    truth = np.take_along_axis(brute(metric, queries, x), ids, axis=1)
    lengths = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(x, axis=1)[ids]
    unit = {"ip": lengths, "cosine": np.ones_like(lengths), "l2": 2 * lengths}[metric]
    sign = -1 if metric == "l2" else 1
    error = sign * scores - truth
    assert (error <= WORST_ERROR * unit).all()
    assert (error < -WORST_ERROR * unit).mean() <= MOST_CUT


@each_metric
def test_the_nearest_are_found(metric: str) -> None:
    """8 bits at 128 dimensions find nearly all true neighbours of random rows, and a row finds itself."""
    index, x = filled(metric, n=2_000, dim=128, bits=8)
    x = x * np.linspace(0.5, 1.5, 2_000, dtype=np.float32)[:, None]
    index = Index(128, 8, metric)  # type: ignore[arg-type]
    index.add(x)
    queries = rows(60, 128, 4)
    truth = np.argsort(-brute(metric, queries, x), axis=1)[:, :10]
    _, ids = index.search(queries, 10)
    overlap = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(ids.tolist(), truth.tolist(), strict=True)])
    # Gaps between neighbours are a few hundredths of a score's spread, errors six thousandths: few swaps at the border.
    assert overlap > 0.95
    if metric != "ip":  # a longer row can have the larger product
        assert index.search(x[:100], 1)[1].ravel().tolist() == list(range(100))


@given(dim=st.sampled_from([1, 2, 97, 200]), bits=st.sampled_from([1, 3, 8]), seed=st.integers(0, 99))
def test_cosine_ignores_lengths(dim: int, bits: int, seed: int) -> None:
    """A power of two changes no bit; any other length changes scores by rounding only."""
    index, other = Index(dim, bits, "cosine"), Index(dim, bits, "cosine")
    x, queries = rows(30, dim, seed), rows(4, dim, seed + 100)
    rng = np.random.default_rng(seed)
    index.add(x)
    other.add(x * 2.0 ** rng.integers(-60, 60, (30, 1)))
    scores, ids = index.search(queries, 30)
    found = other.search(queries * 2.0 ** rng.integers(-60, 60, (4, 1)), 30)
    assert same(found[0], scores)
    assert same(found[1], ids)


# --- what is stored ----------------------------------------------------------------------------------------------


@each_metric
@pytest.mark.parametrize("bits", range(1, 9))
def test_sizes(metric: str, bits: int) -> None:
    """Memory is codes, at most 8 bytes a vector (12 for l2), 8 for the id, and the codec; the repr says as much."""
    dim, n = 97, 50
    index, _ = filled(metric, n=n, dim=dim, bits=bits)
    packed = index.codec.encode(rows(1, dim)).packed.nbytes
    bounds = 4 if bits > 1 else 0  # of the first stage; a single stage has none
    vector = packed + (8 if metric == "l2" else 4) + bounds + 8
    assert index.nbytes == n * vector + index.codec.nbytes
    assert repr(index) == f"Index(dim={dim}, bits={bits}, metric={metric!r}, n={n}, {vector:.1f} bytes per vector)"
    empty = Index(dim, bits, metric)  # type: ignore[arg-type]
    assert empty.nbytes == index.codec.nbytes
    assert repr(empty) == f"Index(dim={dim}, bits={bits}, metric={metric!r}, n=0, {vector:.1f} bytes per vector)"


def test_the_codec_is_small() -> None:
    """Signs and a permutation a coordinate, tables of levels: no dense matrix hides in it."""
    assert TurboQuant(1536, 8).nbytes < 1536 * 64 + 2**14
    assert TurboQuant(65_536, 4).nbytes < 65_536 * 64


@each_metric
def test_reconstruct(metric: str) -> None:
    index, x = filled(metric, n=200, dim=40, bits=8, ids=np.arange(200)[::-1] * 5)
    asked = [995, 0, 0, 500]
    back = index.reconstruct(asked)
    assert (back.shape, back.dtype) == ((4, 40), np.float32)
    assert same(back[1], back[2])
    assert same(index.reconstruct(500), back[3])
    assert same(index.reconstruct(np.int64(500)), back[3])
    assert index.reconstruct([]).shape == (0, 40)
    whole = index.codec.decode(index.codec.encode(x))
    if metric == "cosine":
        unit = x / np.linalg.norm(x, axis=1, keepdims=True)
        # 8 bits: an error of √4.1e-5 = 0.6 % of the length; twice that never happens to a row of 40 coordinates.
        assert (np.linalg.norm(index.reconstruct(index.ids) - unit, axis=1) < 0.02).all()
    else:
        assert same(index.reconstruct(index.ids), whole)


def test_defaults() -> None:
    index = Index(48)
    assert (index.dim, index.bits, index.metric) == (48, 4, "ip")
    assert index.codec == TurboQuant(48, 4)
    given = TurboQuant(48, 2, seed=5, scale="mse")
    assert Index(codec=given, metric="l2").codec is given
