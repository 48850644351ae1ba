"""A search on a device finds what the reference does: on the emulation, and on a card where there is one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu.search_parity import as_found, kinds_of, run_search, same_found
from gpu.shim import ShimBackend
from gpu.shim import missing as shim_missing
from gpu.test_parity import QUERIES, backend_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_BITS, bits, dims, matrices, mixed_rows, seeds
from turboquant_rs.gpu import search
from turboquant_rs.reference import TurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.codebook import integer_levels
from turboquant_rs.reference.index import Index
from turboquant_rs.reference.staged import row_bounds, upper

METRICS = ("ip", "cosine", "l2")


def index_of(
    dim: int, width: int, metric: str, n: int, *, seed: int = 0, shuffled: bool = False, rotation: str = "hadamard"
) -> Index:
    """Return an index of n rows of many kinds, some of them twice, so that ids decide."""
    index = Index(TurboQuant(dim, width, seed=seed, rotation=rotation), metric)
    kinds = ("normal", "sparse", "tiny", "zero", "constant", "whole")
    x = np.concatenate([mixed_rows(dim, seed + i, kinds) for i in range(-(-n // len(kinds)))])[:n]
    x[n // 2 :] = x[: n - n // 2] if n % 2 else x[n // 2 :]
    ids = np.random.default_rng(seed).permutation(3 * n)[:n] if shuffled else np.arange(n)
    index.add(x, ids.astype(np.int64))
    return index


def check(backend: Any, index: Index, queries: Any, k: int, **options: Any) -> None:
    wanted = {name: value for name, value in options.items() if name in ("allowed", "deviations")}
    got = run_search(backend, index, queries, k, **options)
    assert same_found(got, index.search(queries, k, **wanted)), (index.codec.spec, index.metric, k)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 64 rows and more, so that few rows make several."""
    monkeypatch.setattr(search, "FIRST_ROWS", 64)
    monkeypatch.setattr(search, "GROWTH", 2)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", EVERY_BITS)
def test_every_width_and_metric(device: str, small_chunks: None, width: int, metric: str) -> None:
    for i, dim in enumerate((1, 5, 24, 64, 97, 128)):
        index = index_of(dim, width, metric, 211, seed=dim, shuffled=bool(i % 2))
        for count in (1, 7):
            backend = backend_of(device, i, flush=bool(i % 2))
            check(backend, index, mixed_rows(dim, 9, QUERIES)[:count], 10, cuts=[70], deviations=(3.0, 0.7)[i % 2])


@pytest.mark.parametrize("width", EVERY_BITS)
def test_a_dense_rotation(device: str, small_chunks: None, width: int) -> None:
    """Few queries and many, with the cut of their first stage and, at one bit, without; every norm with "cosine"."""
    for i, metric in enumerate(METRICS):
        dim = (5, 64, 97)[(i + width) % 3]
        index = index_of(dim, width, metric, 150, seed=dim, rotation="dense")
        for count in (2, 7):
            backend = backend_of(device, i, flush=bool(i % 2))
            check(backend, index, mixed_rows(dim, 9, QUERIES)[:count], 10, deviations=(3.0, 0.7)[i % 2])
    index = index_of(24, width, "cosine", 60, rotation="dense")
    check(backend_of(device, 1), index, mixed_rows(24, 5, QUERIES) * np.float32(2.0**100), 5)


@pytest.mark.parametrize("width", EVERY_BITS)
def test_few_queries_that_read_rows_in_full(device: str, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """As where their tables exceed shared memory."""
    monkeypatch.setattr(search, "stage_fits", lambda *_: False)
    for metric in METRICS:
        check(backend_of(device, 2, flush=True), index_of(97, width, metric, 100), mixed_rows(97, 9, QUERIES)[:3], 10)


def test_tables_that_exceed_shared_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three queries, but not of two."""
    monkeypatch.setattr(search, "TILE", 32)
    index = index_of(64, 4, "ip", 40)
    for count in (2, 3):
        check(backend_of(device, 1, shared_limit=600), index, mixed_rows(64, 9, QUERIES)[:count], 3)


@given(
    data=st.data(),
    dim=dims(200),
    width=bits(),
    metric=st.sampled_from(METRICS),
    seed=seeds(),
    count=st.integers(1, 9),
    k=st.integers(1, 120),
    order=st.integers(0, 50),
)
def test_any_index_and_queries(
    device: str, data: st.DataObject, dim: int, width: int, metric: str, seed: int, count: int, k: int, order: int
) -> None:
    backend = backend_of(device, order, flush=data.draw(st.booleans()))
    rotation = data.draw(st.sampled_from(("hadamard", "dense" if dim <= 60 else "hadamard")))
    index = Index(TurboQuant(dim, width, seed=seed, rotation=rotation), metric)
    rows = data.draw(matrices(dim, rows=(1, 90)).filter(lambda m: float(np.abs(m).max()) < 2.0**50))
    ids = data.draw(st.permutations(range(len(rows))))
    index.add(rows, np.array(ids, np.int64))
    kinds = tuple(data.draw(st.lists(st.sampled_from(QUERIES), min_size=count, max_size=count)))
    queries = mixed_rows(dim, data.draw(st.integers(0, 2**32 - 1)), kinds)
    mask = data.draw(st.none() | st.integers(0, 2 ** len(rows) - 1))
    allowed = None if mask is None else np.array([mask >> i & 1 for i in range(len(rows))], bool)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    check(backend, index, queries, k, allowed=allowed, cuts=cuts)


@pytest.mark.parametrize(("dim", "width"), [(64, 2), (64, 4), (40, 3), (64, 8)])
@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_cut(device: str, dim: int, width: int, metric: str) -> None:
    """Queries along what the first stage knows nothing of: scores of rows pass their upper ends."""
    index = index_of(dim, width, metric, 40, seed=3)
    codec, _, codes = index.partitions[0]
    levels = integer_levels(width, width, dim)[0].astype(np.float64)[codec.unpack(codes)[0]]
    ratio = row_bounds(codec, codes)[:, :1] / (512 if width <= 4 else 4)
    residual = (levels - ratio * np.sign(levels)).astype(np.float32)
    queries = codec.rotations[0].apply_inverse(residual[:9])
    cosine = metric == "cosine"
    ends = upper(codec, queries, codes, row_bounds(codec, codes), cosine=cosine)
    assert (ends < reference_score(codec, queries, codes, cosine=cosine)).any()
    for count in (2, 9):
        check(backend_of(device, 2, flush=True), index, queries[:count], 40)


@pytest.mark.parametrize("k", [1, 31, 32, 33, 100, 1024, 1025, 1500])
def test_every_k(device: str, small_chunks: None, k: int) -> None:
    """Kept by the kernel, by sorting, and beyond the number of rows."""
    index = index_of(24, 4, "ip", 1401, shuffled=True)
    check(backend_of(device, 3), index, mixed_rows(24, 5, QUERIES), k)


@pytest.mark.parametrize("k", [3, 60])
def test_rows_that_get_better_and_better(
    device: str, small_chunks: None, monkeypatch: pytest.MonkeyPatch, k: int
) -> None:
    """Every row is a candidate in every chunk, in numbers beyond a tile's."""
    monkeypatch.setattr(search, "TILE", 64)
    index = Index(TurboQuant(16, 4), "ip")
    rng = np.random.default_rng(1)
    index.add(rng.standard_normal((600, 16)).astype(np.float32), np.arange(600))
    query = rng.standard_normal((1, 16)).astype(np.float32)
    order = np.argsort(index.ranked_by(query)[0])
    sorted_index = Index(index.codec, "ip")
    codec, _, codes = index.partitions[0]
    codes = type(codes)(codes.packed[order], codes.scales[order], codes.spec, codes.keep)
    sorted_index.append(codec, np.arange(600), codes)
    sorted_index.ids = np.arange(600)
    check(backend_of(device, 1), sorted_index, np.repeat(query, 6, axis=0), k)


def test_more_queries_than_are_searched_for_together(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "MOST_QUERIES", 7)
    index = index_of(33, 4, "l2", 130)
    check(backend_of(device), index, mixed_rows(33, 5, QUERIES * 3), 4)


def test_little_memory_for_candidates(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "FIRST_ROWS", 32)
    monkeypatch.setattr(search, "CANDIDATE_BYTES", 8 * 7 * 100)
    index = index_of(33, 2, "ip", 500)
    check(backend_of(device), index, mixed_rows(33, 5, QUERIES * 3), 4)


@pytest.mark.parametrize("dim", [1000, 2100])
def test_large_rows(device: str, dim: int) -> None:
    """Queries that a warp holds and that a block does."""
    for width in (2, 5):
        index = index_of(dim, width, "cosine", 12)
        check(backend_of(device, 1), index, mixed_rows(dim, 5, QUERIES), 5)


@pytest.mark.parametrize("metric", METRICS)
def test_a_card_without_the_matrix_instruction(metric: str) -> None:
    if shim_missing():
        pytest.skip(str(shim_missing()))
    check(ShimBackend(capability=75), index_of(64, 4, metric, 100), mixed_rows(64, 5, QUERIES), 10)


@pytest.mark.parametrize(("dim", "width"), [(64, 1), (128, 4), (97, 8)])
def test_kernels_compiled_for_their_parameters(dim: int, width: int) -> None:
    if shim_missing():
        pytest.skip(str(shim_missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    for count in (3, 7):
        check(backend, index_of(dim, width, "l2", 100), mixed_rows(dim, 5, QUERIES)[:count], 10)


def test_nothing_to_find(device: str) -> None:
    backend, index = backend_of(device), index_of(24, 4, "ip", 50)
    none = run_search(backend, index, np.empty((0, 24), np.float32), 3)
    assert same_found(none, (np.empty((0, 3), np.float32), np.empty((0, 3), np.int64)))
    check(backend, index, mixed_rows(24, 5, QUERIES), 3, allowed=np.zeros(50, bool))
    check(backend, index, mixed_rows(24, 5, QUERIES), 3, cuts=[0, 0, 20, 50])


@pytest.mark.parametrize("metric", METRICS)
def test_all_rows_within_a_threshold(device: str, small_chunks: None, metric: str) -> None:
    index = index_of(24, 3, metric, 201, shuffled=True)
    queries = mixed_rows(24, 5, QUERIES)
    scores = index.search(queries, 201)[0]
    for threshold in np.unique(scores)[:: max(1, len(np.unique(scores)) // 7)]:
        backend = backend_of(device, 3)
        kinds = kinds_of(backend, index, [64], None)
        floor = search.order_of(-threshold if metric == "l2" else threshold)
        arrays = backend.asarray(queries)
        found, fault = search.within(backend, metric, kinds, arrays, floor)
        lims, want_scores, want_ids = index.range_search(queries, threshold)
        got = as_found(index, np.concatenate(found))
        assert fault is None
        assert np.array_equal(np.cumsum([0, *map(len, found)]), lims)
        assert same_found(got, (want_scores, want_ids))


@pytest.mark.parametrize(
    ("value", "metric", "kind", "column"),
    [
        (np.nan, "ip", "nonfinite", 3),
        (np.inf, "cosine", "nonfinite", 3),
        (2.0**96, "ip", "norm", 0),
        (2.0**63, "l2", "square", 0),
    ],
)
def test_faulty_queries(
    device: str, monkeypatch: pytest.MonkeyPatch, value: float, metric: str, kind: str, column: int
) -> None:
    """The first one, whichever block it is in; nothing is written out of bounds."""
    monkeypatch.setattr(search, "MOST_QUERIES", 5)
    queries = mixed_rows(24, 5, QUERIES * 2)
    for row, rotation in ((0, "hadamard"), (6, "hadamard"), (13, "hadamard"), (6, "dense")):
        index = index_of(24, 4, metric, 100, rotation=rotation)
        faulty = queries.copy()
        faulty[row:, 3] = value
        fault = run_search(backend_of(device), index, faulty, 3)
        assert fault == search.Fault(kind, row, column)  # type: ignore[arg-type]


def test_orders_and_keys_are_each_other() -> None:
    """Every float32 but NaN, sampled: the order falls as the key rises, and reads back as the key."""
    rng = np.random.default_rng(0)
    keys = np.sort(rng.integers(0, 2**32, 10_000, np.uint32).view(np.float32))
    keys = np.unique(np.append(keys[np.isfinite(keys)], np.array([np.inf, -np.inf, 0, 1e-45, -1e-45], np.float32)))
    orders = np.array([search.order_of(key) for key in keys])
    assert (np.diff(orders.astype(np.int64)) < 0).all()
    numbers = orders.astype(np.uint64) << np.uint64(32) | np.uint64(12)
    values, places = search.read_keys(numbers)
    assert np.array_equal(values, keys)
    assert (places == 6).all()
    zero = np.uint64(search.order_of(0.0)) << np.uint64(32)
    assert np.signbit(search.read_keys(np.array([zero, zero | np.uint64(1)]))[0]).tolist() == [False, True]


@pytest.mark.parametrize(("queries", "k", "n"), [(1, 10, 1 << 30), (5_000, 1_000, 10**7), (3, 2 * 10**6, 5 * 10**6)])
def test_candidates_take_bounded_memory(queries: int, k: int, n: int) -> None:
    """Room for the kept ones, and for a chunk that is a multiple of 32 rows."""
    block, kept = min(queries, search.queries_at_a_time(k)), search.kept_of(k)
    rows = search.rows_at_a_time(block, kept, n)
    assert rows % 32 == 0
    assert 8 * block * (kept + rows) <= max(search.CANDIDATE_BYTES, 8 * (kept + search.FIRST_ROWS))
