"""What a caller meets around a search: ways to say a filter, buffers of their own, statistics, and refusals."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from turboquant_rs import Filter, Index, SearchStats

DIM = 16


@pytest.fixture
def x() -> Any:
    return np.random.default_rng(0).standard_normal((300, DIM)).astype(np.float32)


@pytest.fixture
def index(x: Any) -> Index:
    index = Index(DIM)
    index.add(x, np.arange(300) * 2)
    return index


def allowed(index: Index, value: Any) -> list[int]:
    found = index.search(np.ones(DIM), 300, filter=value)[1]
    assert len(index.filter(value)) == (found >= 0).sum()
    return sorted(found[found >= 0].tolist())


def test_ids_and_their_ranges(index: Index) -> None:
    even = list(range(0, 600, 2))
    for value in ([4, 8, 4, 5, 10**9, -1], np.array([8, 4], np.uint8), (4, 8), np.array([4, 8], ">i4")):
        assert allowed(index, value) == [4, 8]
    assert allowed(index, []) == allowed(index, range(5, 5)) == allowed(index, slice(7, 3)) == []
    for value in (range(10, 20), range(19, 9, -1), slice(10, 20), slice(10, 20, 2), range(10, 19, 4) or []):
        assert allowed(index, value) == [
            i for i in even if 10 <= i < 20 and (not isinstance(value, range) or i in value)
        ]
    assert allowed(index, range(-7, 13, 3)) == [2, 8]
    assert allowed(index, range(-100, -1)) == []
    assert allowed(index, slice(590, None)) == [590, 592, 594, 596, 598]
    assert allowed(index, slice(None)) == allowed(index, range(2**80)) == even
    assert allowed(index, range(598, 2**80, 2**70)) == [598]
    assert allowed(index, range(2**70, 2**80)) == []


def test_the_largest_id() -> None:
    index = Index(DIM)
    index.add(np.eye(2, DIM), [2**63 - 1, 5])
    for value in (range(2**63), slice(None), range(5, 2**63), np.array([2**63 - 1, 5])):
        assert len(index.filter(value)) == 2
    assert allowed(index, range(6, 2**63)) == [2**63 - 1]
    assert allowed(index, range(2**63 - 1)) == [5]


def test_filters_combine(index: Index) -> None:
    low, thirds = index.filter(range(100)), index.filter(np.arange(300) % 3 == 0)
    assert allowed(index, low & thirds) == list(range(0, 100, 6))
    assert len(low | thirds) == 50 + 100 - 17
    assert allowed(index, ~low) == list(range(100, 600, 2))
    assert index.filter(low) is low
    assert repr(low) == "Filter(50 vectors)"
    assert low.nbytes == 40
    for other, kind in (([1], "list"), (np.ones(300, bool), "ndarray")):
        text = f"^a Filter combines with a Filter of the same index, got {kind}; index.filter makes one$"
        with pytest.raises(TypeError, match=text):
            low & other  # type: ignore[operator]
        with pytest.raises(TypeError, match=text):
            other | low  # type: ignore[operator]


def test_vectors_added_later_are_not_in_a_filter(index: Index, x: Any) -> None:
    made, none = index.filter(np.ones(300, bool)), index.filter([])
    before = index.search(x[:3], 5)
    new = index.add(x[:3] * 9)
    assert index.search(x[:3], 1)[1].ravel().tolist() == new.tolist()
    for old in (made, ~none):
        for a, b in zip(index.search(x[:3], 5, filter=old), before, strict=True):
            assert np.array_equal(a, b)
    assert len(index.filter(new) & made) == 0
    with pytest.raises(ValueError, match=r"filter must be one value a row \(303\), got 300"):
        index.search(x[:3], 5, filter=np.ones(300, bool))


REFUSED = [
    (np.ones((300, 1), bool), ValueError, "1-D mask, one value a vector, got 2-D with shape (300, 1)"),
    (np.ones(299, bool), ValueError, "one value a row (300), got 299"),
    (np.ma.masked_array(np.ones(300, bool)), TypeError, "a plain array, got a masked array"),
    (np.zeros((2, 2), int), ValueError, "a 1-D array, got 2-D"),
    (np.zeros(3), TypeError, "ids (integers or strings), a range or a slice of ids, got ndarray of dtype float64"),
    ("abc", TypeError, "got str of dtype <U3"),
    (7, ValueError, "a 1-D array, got 0-D"),
    (np.array([2**63], np.uint64), ValueError, "below 2**63"),
    (slice(-5, None), ValueError, ".start must be at least 0, got -5"),
    (slice(0, 5, -1), ValueError, ".step must be at least 1, got -1"),
    (slice(0.5, 5), TypeError, ".start must be an integer, got 0.5"),
]


@pytest.mark.parametrize(("value", "error", "text"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_filters_that_are_none(index: Index, value: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match="allowed.*" + re.escape(text) if "row (" not in text else re.escape(text)):
        index.filter(value)
    for call in (index.search, index.range_search):
        with pytest.raises(error, match="filter.*" + re.escape(text)):
            call(np.ones(DIM), 3, filter=value)  # type: ignore[operator]


def test_filters_belong_to_their_index(index: Index, x: Any) -> None:
    other = Index(DIM)
    other.add(x)
    with pytest.raises(ValueError, match="filter must be a filter of this index, got one of another index"):
        other.search(x[:1], filter=index.filter([1]))
    with pytest.raises(ValueError, match="must be one of the same index"):
        other.filter([1]) & index.filter([1])
    with pytest.raises(TypeError, match="made by an index"):
        Filter()
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(index.filter([1]))


@pytest.mark.parametrize("nq", [1, 20])
def test_out_is_filled_and_returned(index: Index, x: Any, nq: int) -> None:
    scores, ids = index.search(x[:nq], 7)
    out = np.full((nq, 7), np.nan, np.float32), np.full((nq, 7), -9)
    got = index.search(x[:nq], 7, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    assert np.array_equal(out[0], scores)
    assert np.array_equal(out[1], ids)
    one = np.empty(7, np.float32), np.empty(7, np.int64)
    index.search(x[0], 7, out=list(one))  # type: ignore[arg-type]
    assert np.array_equal(one[1], ids[0])
    # Slices of larger arrays, as a caller fills one batch after the other.
    whole = np.zeros((nq + 2, 7), np.float32), np.zeros((nq + 2, 7), np.int64)
    index.search(x[:nq], 7, out=(whole[0][1:-1], whole[1][1:-1]))
    assert np.array_equal(whole[1][1:-1], ids)
    assert not whole[1][0].any() and not whole[1][-1].any()  # noqa: PT018


def unaligned(shape: tuple[int, ...]) -> Any:
    size = 4 * int(np.prod(shape))
    return np.zeros(size + 1, np.uint8)[1:].view(np.float32).reshape(shape)


def read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array


GOOD = {"scores": lambda: np.empty((2, 3), np.float32), "ids": lambda: np.empty((2, 3), np.int64)}
BAD_OUT = [
    (lambda: GOOD["scores"](), TypeError, "out must be a pair of arrays (scores, ids), got ndarray"),
    (lambda: (GOOD["scores"](),), TypeError, "out must be a pair"),
    (lambda: (np.empty((2, 3)), GOOD["ids"]()), TypeError, "out[0] must be of dtype float32"),
    (lambda: (np.empty((2, 3), ">f4"), GOOD["ids"]()), TypeError, "out[0] must be of dtype float32 in native"),
    (lambda: (GOOD["scores"](), np.empty((2, 3), np.int32)), TypeError, "out[1] must be of dtype int64"),
    (lambda: (np.empty((2, 4), np.float32), GOOD["ids"]()), ValueError, "out[0] must have the result's shape (2, 3)"),
    (lambda: (GOOD["scores"](), np.empty(6, np.int64)), ValueError, "shape (2, 3), got (6,)"),
    (lambda: (np.empty((3, 2), np.float32).T, GOOD["ids"]()), ValueError, "out[0] must be C-contiguous"),
    (lambda: (unaligned((2, 3)), GOOD["ids"]()), ValueError, "out[0] must be C-contiguous and aligned"),
    (lambda: (GOOD["scores"](), read_only(GOOD["ids"]())), ValueError, "out[1] must be writable"),
    (lambda: ([[0.0] * 3] * 2, GOOD["ids"]()), TypeError, "out[0] must be a NumPy array, got list"),
]


@pytest.mark.parametrize(("make", "error", "text"), BAD_OUT, ids=[str(i) for i in range(len(BAD_OUT))])
def test_out_that_does_not_fit(index: Index, x: Any, make: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        index.search(x[:2], 3, out=make())


def test_out_shares_no_memory(index: Index) -> None:
    memory = np.zeros(8 * 12, np.uint8)
    shared = memory[:24].view(np.float32).reshape(2, 3), memory[:48].view(np.int64).reshape(2, 3)
    queries = np.zeros((2, DIM), np.float32)
    inside = queries.ravel()[:6].reshape(2, 3), np.empty((2, 3), np.int64)
    for out in (shared, inside):
        with pytest.raises(ValueError, match="share no memory"):
            index.search(queries, 3, out=out)


def test_options_are_checked(index: Index, x: Any) -> None:
    with pytest.raises(TypeError, match="exact must be True or False, got 1"):
        index.search(x[:1], exact=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="stats must be a SearchStats, got bool"):
        index.search(x[:1], stats=True)  # type: ignore[arg-type]
    for threshold in (None, "1", True, np.ones(1)):
        with pytest.raises(TypeError, match="threshold must be a number"):
            index.range_search(x[:1], threshold)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="threshold must be a number, got nan"):
        index.range_search(x[:1], float("nan"))
    with pytest.raises(ValueError, match="queries must have 16 columns"):
        index.range_search(x[:1, :5], 0)


def test_statistics_add_up(index: Index, x: Any) -> None:
    stats = SearchStats()
    index.search(x[:20], 3, exact=True, stats=stats)
    assert stats == SearchStats(full_rows=20 * 300, full_bytes=300 * 12)
    index.search(x[0], 3, exact=True, stats=stats)
    assert stats == SearchStats(full_rows=21 * 300, full_bytes=600 * 12)
    staged = SearchStats()
    index.search(x[0], 3, stats=staged)
    assert (staged.first_stage_rows, staged.first_stage_bytes) == (300, 300 * 10)
    assert staged.full_bytes == staged.full_rows * 12
    few = SearchStats()
    index.range_search(x[:20], 0, filter=range(128), exact=True, stats=few)
    assert few == SearchStats(full_rows=20 * 64, full_bytes=64 * 12)


def test_range_search_of_nothing(index: Index) -> None:
    lims, scores, ids = index.range_search(np.empty((0, DIM)), 1)
    assert (lims.tolist(), scores.dtype, ids.dtype, len(ids)) == ([0], np.float32, np.int64, 0)
    assert Index(DIM).range_search(np.ones((2, DIM)), -np.inf)[0].tolist() == [0, 0, 0]


def test_threads_share_a_filter(index: Index, x: Any) -> None:
    made = index.filter(np.arange(300) % 7 == 0)
    want = index.search(x, 5, filter=made)[1]
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: index.search(x, 5, filter=made)[1], range(20)):
            assert np.array_equal(found, want)
