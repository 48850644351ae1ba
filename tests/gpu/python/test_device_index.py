"""An index on a GPU: the CPU's ids and scores from every kind of queries; what is added and removed; memory; errors."""

from __future__ import annotations

import pickle
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doubles.fake_cuda import CUDA
from hypothesis import given
from hypothesis import strategies as st
from strategies import bits, dims, matrices, mixed_rows, seeds
from turboquant_rs import Index, SearchStats, TurboQuant
from turboquant_rs.gpu import index as gpu_index
from turboquant_rs.gpu import search

N, DIM = 300, 24
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, DIM)).astype(np.float32)
QUERIES = RNG.standard_normal((7, DIM)).astype(np.float32)
METRICS: tuple[Any, ...] = ("ip", "cosine", "l2")


def index_of(metric: Any = "ip", width: int = 4, **options: Any) -> Index:
    index = Index(DIM, width, metric, **options)
    index.add(X)
    return index


def host(value: Any) -> Any:
    return value if isinstance(value, np.ndarray) else value.get()


def refuses(error: type[Exception], pattern: str) -> Any:
    return pytest.raises(error, match=pattern)


def agree(index: Index, placed: Index, queries: Any = QUERIES, k: int = 10, **options: Any) -> None:
    """Assert that a search on the GPU finds what one on the CPU does."""
    on_cpu = host(queries) if not isinstance(queries, list) else queries
    for want, got in zip(index.search(on_cpu, k, **options), placed.search(queries, k, **options), strict=True):
        assert np.array_equal(want, host(got))
        assert (want.shape, want.dtype) == (got.shape, got.dtype)


# --- equal to the CPU --------------------------------------------------------------------------------------------


@given(data=st.data(), seed=seeds(), metric=st.sampled_from(METRICS), k=st.integers(1, 60))
def test_every_index_finds_the_cpu_s(cp: ModuleType, data: st.DataObject, seed: int, metric: Any, k: int) -> None:
    dim, width = data.draw(dims(128)), data.draw(bits())
    rotation: Any = data.draw(st.sampled_from(("hadamard", "dense" if dim <= 60 else "hadamard")))
    index = Index(codec=TurboQuant(dim, width, seed=seed, rotation=rotation), metric=metric)
    small = matrices(dim).filter(lambda m: float(np.abs(m).max(initial=0)) < 2.0**50)
    ids = index.add(data.draw(small))
    placed = index.to("cuda:1")
    assert (index.device, placed.device, len(placed)) == ("cpu", "cuda:1", len(index))
    queries = data.draw(small)
    agree(index, placed, queries, k)
    some = index.filter(ids[:: data.draw(st.integers(1, 3))])
    with cp.cuda.Device(1):
        agree(index, placed, cp.asarray(queries), k, filter=some)
    if len(queries) and len(index):
        limit = float(index.search(queries, len(index))[0].flat[-1])
        for want, got in zip(index.range_search(queries, limit), placed.range_search(queries, limit), strict=True):
            assert np.array_equal(want, got)


@pytest.mark.parametrize("metric", METRICS)
def test_queries_of_every_kind(cp: ModuleType, torch: ModuleType, metric: Any) -> None:
    """NumPy's give NumPy's, CuPy's CuPy's, tensors tensors; lists, other dtypes and strides are converted."""
    index = index_of(metric)
    placed = index.to("cuda")
    agree(index, placed)
    agree(index, placed, QUERIES[0])
    agree(index, placed, QUERIES.tolist())
    agree(index, placed, cp.asarray(QUERIES.astype(np.float16)))
    agree(index, placed, cp.asarray(QUERIES)[::2])
    scores, ids = placed.search(cp.asarray(QUERIES), 3)
    assert isinstance(scores, cp.ndarray)
    assert isinstance(ids, cp.ndarray)
    scores, ids = placed.search(torch.Tensor(cp.asarray(QUERIES)), 3)
    assert isinstance(ids, torch.Tensor)
    assert np.array_equal(ids.cpu(), index.search(QUERIES, 3)[1])


def test_any_ids_and_filters(cp: ModuleType) -> None:
    """Ids that do not ascend decide between equal scores; strings come by the order of adding."""
    twice = np.concatenate([X[:50], X[:50]])
    ids = RNG.permutation(1000)[:100]
    index = Index(DIM, metric="l2")
    index.add(twice, ids)
    placed = index.to("cuda")
    agree(index, placed, k=30)
    for allowed in (ids[::3], slice(500), np.arange(100) % 2 == 0, index.filter(ids[:7]), np.zeros(100, bool)):
        agree(index, placed, filter=allowed)
    named = Index(DIM)
    named.add(twice, [f"row {i}" for i in ids])
    placed = named.to("cuda")
    agree(named, placed, k=110)
    agree(named, placed, filter=[f"row {i}" for i in ids[:7]])
    found = placed.search(cp.asarray(QUERIES), 3)[1]
    assert isinstance(found, np.ndarray), "no array on a GPU holds strings"
    with refuses(ValueError, "filter must be a filter of this index, got one of another index"):
        placed.search(QUERIES, filter=index.filter(ids))


@pytest.mark.parametrize("keep", [None, "float32"])
def test_exact_scores(cp: ModuleType, keep: Any) -> None:
    index = index_of("cosine", 2, keep=keep)
    placed = index.to("cuda")
    options: dict[str, Any] = {"rescore": 4} | ({} if keep else {"rescore_from": X})
    agree(index, placed, **options)
    agree(index, placed, cp.asarray(QUERIES[0]), k=200, deviations=0.5, **options)
    with refuses(ValueError, "rescore must be None, since this index keeps no vectors"):
        index_of().to("cuda").search(QUERIES, rescore=2)


def test_results_go_where_they_are_wanted(cp: ModuleType) -> None:
    index = index_of()
    placed, stats = index.to("cuda"), SearchStats()
    out = np.empty((7, 3), np.float32), np.empty((7, 3), np.int64)
    scores, ids = placed.search(QUERIES, 3, out=out, stats=stats, exact=True, threads=1)
    assert scores is out[0]
    assert np.array_equal(ids, index.search(QUERIES, 3)[1])
    assert stats == SearchStats(full_rows=7 * N, full_bytes=N * (DIM // 2 + 4))
    with refuses(ValueError, "out must be None for queries on a GPU, whose results are arrays there, got a pair"):
        placed.search(cp.asarray(QUERIES), 3, out=out)
    with refuses(ValueError, r"out\[0\] must have the result's shape"):
        placed.search(QUERIES, 4, out=out)


def test_an_empty_index(cp: ModuleType) -> None:
    index = Index(DIM)
    placed = index.to("cuda")
    agree(index, placed)
    index.add(X)
    agree(index, placed)
    agree(index, placed, QUERIES[:0])


@pytest.mark.parametrize("metric", METRICS)
def test_fitted_indexes(cp: ModuleType, metric: Any) -> None:
    """With rows that the fit codes badly, between the others; added and removed, filtered, with ids in any order."""
    spread = (RNG.standard_normal((2000, DIM)) * np.arange(1, DIM + 1) ** -1.0).astype(np.float32)
    index = Index.fit(spread, bits=2.5, metric=metric)
    index.add(np.concatenate([spread[:50], X[:20], spread[50:90]]))
    placed = index.to("cuda")
    assert index.codec.fitted
    assert index.plain_rows > 5
    agree(index, placed, k=120)
    agree(index, placed, QUERIES[0], k=5, filter=range(40, 80))
    index.add(np.concatenate([X[20:25], spread[90:120]]))
    index.remove(range(30, 60))
    agree(index, placed, k=200)
    index.add(spread[120:125], [900, 800, 700, 600, 500])
    agree(index, placed, cp.asarray(QUERIES), k=30, filter=slice(700))
    index.compact()
    agree(index, placed, k=200)
    limit = float(index.search(QUERIES, 40)[0][0, -1])
    for want, got in zip(index.range_search(QUERIES, limit), placed.range_search(QUERIES, limit), strict=True):
        assert np.array_equal(want, got)
    faulty = QUERIES.copy()
    faulty[3, 1] = np.nan
    with refuses(ValueError, "queries must be finite, got NaN at row 3, column 1"):
        placed.search(faulty)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("rotation", ["hadamard", "dense"])
def test_outlier_splits(cp: ModuleType, metric: Any, rotation: Any) -> None:
    """Added to, removed from, filtered; more rows than the GPU may hold; the CPU's words for faulty queries."""
    index = Index(codec=TurboQuant(DIM, (6, 3), outliers=[2, 7, 11, 12, 20], rotation=rotation), metric=metric)
    index.add(X[:200])
    placed, other = index.to("cuda"), index.to("cuda:1", memory=2_000)
    each = 6 * 1 + 3 * 3 + 8 + 4 * (metric == "l2")
    assert placed.info()["bytes"]["device"] == 200 * each
    for some in (placed, other):
        agree(index, some, k=20)
        agree(index, some, cp.asarray(QUERIES) if some is placed else QUERIES[0], k=5, filter=range(40, 80))
    placed.add(X[200:])
    index.remove(range(30, 60))
    for some in (placed, other):
        agree(index, some, k=400)
    before = CUDA.used[0]
    CUDA.reset()
    agree(index, placed)
    kinds = placed._placed._allowed(None)[1]  # type: ignore[union-attr]
    assert CUDA.peak[0] - before <= search.buffer_bytes(kinds, 7, 10) + QUERIES.nbytes + 20 * 512
    for queries in (QUERIES * np.float32(2.0**97), np.where(np.arange(DIM) == 3, np.nan, QUERIES)):
        if metric == "cosine" and np.isfinite(queries).all():
            agree(index, placed, queries)
            continue
        with pytest.raises(ValueError) as want:  # noqa: PT011
            index.search(queries)
        with refuses(ValueError, re.escape(str(want.value))):
            placed.search(cp.asarray(queries.astype(np.float32)))


# --- one set of rows ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", METRICS)
def test_what_is_added_and_removed_is_found(cp: ModuleType, metric: Any) -> None:
    """By either index, on any GPU; new rows alone are copied."""
    index = index_of(metric)
    placed, other = index.to("cuda"), index.to("cuda:1")
    placed.add(X[:40] + 1)
    assert len(index) == N + 40
    packed = placed._placed._held.kinds[0][0].part.packed  # type: ignore[union-attr]
    agree(index, placed, k=50)
    assert placed._placed._held.kinds[0][0].part.packed is packed  # type: ignore[union-attr]
    index.remove(np.arange(0, 60, 2))
    for some in (placed, other):
        agree(index, some, k=50)
        agree(index, some, k=50, filter=slice(100))
    index.add(X[:3], [900, 800, 700])
    agree(index, placed, k=400)
    placed.upsert(X[:5] * 2, np.arange(1, 11, 2))
    agree(index, other, k=400)
    index.compact()
    agree(index, placed, k=400)
    for i in range(gpu_index.MOST_PARTS + 2):
        index.add(X[i : i + 1])
        agree(index, placed, k=5)
    assert len(placed._placed._held.kinds[0]) <= gpu_index.MOST_PARTS  # type: ignore[union-attr]


def test_rows_are_copied_in_blocks(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_index, "COPY_BYTES", 7 * DIM // 2)
    index = index_of("l2")
    agree(index, index.to("cuda"))


@pytest.mark.parametrize(("memory", "at_once"), [(0, False), (0, True), (1_000, False), (4_000, True), (10**9, False)])
def test_more_rows_than_the_gpu_may_hold(
    cp: ModuleType, monkeypatch: pytest.MonkeyPatch, memory: int, at_once: bool
) -> None:
    """Rows beyond `memory` stay on the host, and are copied some at a time by every search, early or late."""
    monkeypatch.setattr(CUDA, "copies_at_once", at_once)
    monkeypatch.setattr(search, "HOST_BYTES", 64 * DIM // 2)
    monkeypatch.setattr(gpu_index, "COPY_BYTES", 70 * DIM // 2)
    for metric in METRICS:
        index = Index(DIM, metric=metric)
        index.add(X, RNG.permutation(N) if metric == "cosine" else None)
        placed = index.to("cuda", memory=memory)
        info = placed.info()["bytes"]
        each = DIM // 2 + 8 + 4 * (metric == "l2") + 4 * (metric == "cosine")
        assert info["device"] <= memory + 4 * N
        assert info["device"] + info["pinned"] == N * each
        agree(index, placed, k=20)
        agree(index, placed, cp.asarray(QUERIES), k=400, filter=range(0, 250, 3))
        index.add(X[:100] * 2)
        index.remove(range(20))
        agree(index, placed, k=50)
    spread = (RNG.standard_normal((2000, DIM)) * np.arange(1, DIM + 1) ** -1.0).astype(np.float32)
    index = Index.fit(spread, bits=2.5)
    index.add(np.concatenate([spread[:150], X[:40]]))
    assert index.plain_rows
    agree(index, index.to("cuda", memory=memory), k=200)
    assert placed.to("cuda", memory=memory) is placed
    assert placed.to("cuda") is not placed


def test_rows_on_the_host_take_no_more_of_the_gpu_than_a_chunk(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "CANDIDATE_BYTES", 1 << 16)
    monkeypatch.setattr(search, "FIRST_ROWS", 64)
    monkeypatch.setattr(search, "HOST_BYTES", 64 * DIM // 2)
    index = Index(DIM)
    index.add(np.repeat(X, 20, axis=0))
    placed = index.to("cuda", memory=0)
    placed.search(QUERIES, 3)
    before = CUDA.used[0]
    CUDA.reset()
    placed.search(QUERIES, 3)
    kinds = placed._placed._allowed(None)[1]  # type: ignore[union-attr]
    assert CUDA.peak[0] - before <= search.buffer_bytes(kinds, 7, 3) + QUERIES.nbytes + 40 * 512
    assert CUDA.peak[0] - before < index.nbytes


def test_a_chunk_is_copied_while_the_one_before_is_searched(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a stream of its own, into a room whose kernels are done, and awaited by the kernels that read it."""
    monkeypatch.setattr(search, "FIRST_ROWS", 64)
    monkeypatch.setattr(search, "HOST_BYTES", 64 * DIM // 2)
    index = Index(DIM, metric="l2")
    index.add(X, RNG.permutation(N))
    placed = index.to("cuda", memory=0)
    placed.search(QUERIES, 3)
    CUDA.reset()
    agree(index, placed, k=3)
    log = [event for event in CUDA.log if event.kind in ("launch", "copy", "record", "wait")]
    letters = {"launch": "k", "copy": "c", "record": "r", "wait": "w"}
    # Capitals are of the stream of copies.
    text = "".join(letters[event.kind].upper() if event.stream else letters[event.kind] for event in log)
    text = re.sub("C+", "C", re.sub("k+", "k", text))
    start, take = "rWC", "Rw"
    assert text == "k" + start + 4 * (take + start + "k") + take + "k" + take


def test_a_file_is_opened_on_a_gpu(cp: ModuleType, tmp_path: Any) -> None:
    index = index_of("l2")
    index.save(tmp_path / "index.tqi")
    for mmap in (True, False):
        placed = Index.open(tmp_path / "index.tqi", mmap, device="cuda:1")
        assert placed.device == "cuda:1"
        agree(index, placed)
        placed.add(X[:5])
        placed.commit()
        assert len(Index.open(tmp_path / "index.tqi")) == len(placed)
        placed.save(tmp_path / "index.tqi")
        index = Index.open(tmp_path / "index.tqi")
    with refuses(ValueError, "device must be one of this machine's 2 GPUs"):
        Index.open(tmp_path / "index.tqi", device="cuda:5")


def test_the_example_of_the_documentation(cp: ModuleType, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built on the CPU, searched on the GPU, saved from there, opened on the CPU and on the GPU: the same ids."""
    page = Path(__file__).parents[3] / "docs" / "gpu.md"
    if not page.is_file():
        pytest.skip("no source tree here: the documentation is checked in a checkout")
    example = page.read_text().split("## Search\n```python\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example.replace("10_000", "500"), names)
    assert names["again"].device == "cpu"
    assert np.array_equal(names["ids"], names["index"].search(names["queries"], k=10)[1])
    assert names["there"].device == "cuda:0"


def test_there_and_back(cp: ModuleType, tmp_path: Any) -> None:
    index = index_of()
    placed = index.to("cuda:0")
    assert placed.to("cuda") is placed
    assert placed.to("cuda:0") is placed
    assert index.to("cpu") is index
    back = placed.to("cpu")
    agree(back, placed)
    assert repr(placed) == "Index(dim=24, bits=4, metric='ip', n=300, device='cuda:0', 28.0 bytes per vector)"
    assert placed.info()["device"] == "cuda:0"
    assert placed.info()["bytes"]["device"] == N * (DIM // 2 + 4 + 4)
    assert index.info()["bytes"]["device"] == 0
    placed.save(tmp_path / "index.tqi")
    agree(Index.open(tmp_path / "index.tqi"), placed)
    assert pickle.loads(pickle.dumps(placed)).device == "cpu"
    assert np.array_equal(placed.reconstruct([3]), index.reconstruct([3]))


def test_searches_from_many_threads(cp: ModuleType) -> None:
    index = index_of()
    placed = index.to("cuda")
    want = index.search(QUERIES, 5)
    index.add(X[:1] * 0)
    with ThreadPoolExecutor(4) as pool:
        for got in pool.map(lambda _: placed.search(QUERIES, 5), range(8)):
            assert np.array_equal(got[1], want[1])


# --- memory ------------------------------------------------------------------------------------------------------


def test_without_room_the_index_is_as_it_was(cp: ModuleType) -> None:
    index = index_of()
    CUDA.memory = CUDA.used.get(0, 0) + 4_000
    with refuses(MemoryError, r"copying 300 vectors of an index needs 6,000 bytes on cuda:0, where [\d,]+ are free"):
        index.to("cuda")
    assert index.device == "cpu"
    CUDA.memory = 1 << 30
    placed = index.to("cuda")
    CUDA.memory = CUDA.used[0] + 1_000
    with refuses(MemoryError, r"searching 300 vectors for 7 queries needs [\d,]+ bytes on cuda:0"):
        placed.search(QUERIES)
    index.add(np.repeat(X, 10, axis=0))
    with refuses(MemoryError, "copying 3,000 vectors of an index needs"):
        placed.search(QUERIES)
    CUDA.memory = 1 << 30
    agree(index, placed)


def test_memory_is_given_back(cp: ModuleType) -> None:
    index = index_of()
    placed = index.to("cuda")
    placed.search(QUERIES)
    used = CUDA.used[0]
    for _ in range(3):
        placed.search(QUERIES)
    assert CUDA.used[0] == used
    held = placed.info()["bytes"]["device"]
    del placed
    assert CUDA.used[0] <= used - held


def test_what_a_search_takes_is_accounted(cp: ModuleType) -> None:
    """The bytes of an error are those that are taken, but for tables and the rounding of sizes."""
    options: tuple[tuple[int, Any, Any], ...] = ((10, "l2", "hadamard"), (1_200, "ip", "hadamard"), (10, "ip", "dense"))
    for k, metric, rotation in options:
        index = Index(codec=TurboQuant(DIM, 5, rotation=rotation), metric=metric)
        index.add(X)
        placed = index.to("cuda")
        placed.search(QUERIES, k)
        before = CUDA.used[0]
        CUDA.reset()
        placed.search(QUERIES, k)
        kinds = placed._placed._allowed(None)[1]  # type: ignore[union-attr]
        size = search.buffer_bytes(kinds, 7, min(k, N)) + QUERIES.nbytes  # type: ignore[union-attr]
        assert CUDA.peak[0] - before <= size + 20 * 512


# --- refusals ----------------------------------------------------------------------------------------------------


def test_queries_elsewhere(cp: ModuleType) -> None:
    index = index_of()
    placed = index.to("cuda:1")
    with refuses(ValueError, "queries must be on cuda:1, where the index is, got cupy.ndarray on cuda:0"):
        placed.search(cp.asarray(QUERIES))
    text = r"queries must be in host memory, where the index is, got a CUDA array \(cupy.ndarray\); move the index, "
    for call in (lambda: index.search(cp.asarray(QUERIES)), lambda: index.range_search(cp.asarray(QUERIES), 0)):
        with refuses(TypeError, text):
            call()


@pytest.mark.parametrize("where", ["host", "gpu"])
def test_faulty_queries_get_the_cpu_s_words(cp: ModuleType, where: str) -> None:
    for metric, value in (("ip", np.nan), ("cosine", np.inf), ("ip", 2.0**96), ("l2", 2.0**63), ("l2", np.nan)):
        index = index_of(metric)
        queries = mixed_rows(DIM, 1, ("normal",) * 9)
        queries[6, 5] = value
        with pytest.raises(ValueError) as want:  # noqa: PT011
            index.search(queries)
        placed = index.to("cuda")
        with pytest.raises(ValueError) as got:  # noqa: PT011
            placed.search(queries if where == "host" else cp.asarray(queries))
        assert str(got.value) == str(want.value)
        with pytest.raises(ValueError) as got:  # noqa: PT011
            placed.range_search(queries if where == "host" else cp.asarray(queries), 0)
        assert str(got.value) == str(want.value)
        agree(index, placed)


def test_shapes_and_dtypes(cp: ModuleType) -> None:
    placed = index_of().to("cuda")
    with refuses(ValueError, r"queries must have 24 columns \(the index's dim\), got 23"):
        placed.search(cp.asarray(QUERIES[:, 1:]))
    with refuses(TypeError, "queries must hold real numbers, got dtype complex64"):
        placed.search(cp.asarray(QUERIES.astype(np.complex64)))
    with refuses(ValueError, "k must be at least 1, got 0"):
        placed.search(QUERIES, 0)
    with refuses(ValueError, "k must be small enough for 7 rows of results to fit memory"):
        placed.search(QUERIES, 1 << 60)


def test_devices_that_are_not_there(cp: ModuleType) -> None:
    with refuses(ValueError, 'device must be "cpu", "cuda" or "cuda:0", "cuda:1" …, got \'gpu\''):
        index_of().to("gpu")
    with refuses(ValueError, "device must be one of this machine's 2 GPUs, from cuda:0, got 'cuda:7'"):
        index_of().to("cuda:7")


def test_memory_that_is_none(cp: ModuleType) -> None:
    index = index_of()
    with refuses(ValueError, 'memory must be None on "cpu", got 5'):
        index.to("cpu", memory=5)
    with refuses(ValueError, "memory must be at least 0, got -1"):
        index.to("cuda", memory=-1)


def test_more_rows_than_candidates_can_number(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_index, "MOST_ROWS", 299)
    with refuses(ValueError, "device must be the CPU for more than 299 vectors, got 300"):
        index_of().to("cuda")
