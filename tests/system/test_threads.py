"""Threads: the GIL is free while Rust works, and searches and adds side by side give valid results."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from strategies import METRICS, same
from turboquant_rs import Index, TurboQuant

DIM = 64
RNG = np.random.default_rng(0)


# --- the GIL -----------------------------------------------------------------------------------------------------


def progress_during(work: Callable[[], object]) -> bool:
    """Return whether another thread runs Python code while ``work`` runs.

    With an endless switch interval a thread loses the GIL only by giving it up. The other thread waits for an event
    that is set just before the work; whether it got to note that is looked at before the GIL can be lost again.
    """
    started, noted = threading.Event(), []

    def other() -> None:
        started.wait()
        noted.append(True)

    thread = threading.Thread(target=other)
    interval = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(1e6)
        started.set()
        work()
        result = bool(noted)
    finally:
        sys.setswitchinterval(interval)
        started.set()
        thread.join()
    return result


def long_work() -> dict[str, Callable[[], object]]:
    """Return calls that are one call into Rust each, of a tenth of a second or more."""
    dim = 1024
    x = RNG.standard_normal((2_048, dim), np.float32)  # a block of 8 MiB, so that no Python runs between two
    slow = TurboQuant(dim, 8, refine=32)
    q = TurboQuant(dim, 8)
    codes = q.encode(x)
    index = Index(codec=q)
    index.add(x)
    adding = Index(codec=slow)
    data = codes[np.zeros(50_000, int)].to_bytes()
    return {
        "encode": lambda: slow.encode(x, threads=1),
        "encode, threads": lambda: slow.encode(x, threads=2),
        "add": lambda: adding.add(x, threads=1),
        "decode": lambda: [q.decode(codes, threads=1) for _ in range(10)],
        "score": lambda: [q.score(x[:256], codes, threads=1) for _ in range(3)],
        "search": lambda: index.search(x[:256], 10, threads=1),
        "from_bytes": lambda: type(codes).from_bytes(data),
        "truncate": lambda: [codes.truncate(4) for _ in range(10)],
    }


WORK = long_work()


@pytest.mark.parametrize("what", WORK)
def test_the_gil_is_free_during_work(what: str) -> None:
    # A thread that is woken may come too late once on a loaded machine; one that is locked out is so every time.
    assert any(progress_during(WORK[what]) for _ in range(5))


@pytest.mark.skipif(not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="this Python has no GIL")
def test_held_gil_would_be_noticed() -> None:
    """The control: pure Python work gives nothing away."""
    assert not any(progress_during(lambda: sum(range(1_000_000))) for _ in range(5))


# --- side by side ------------------------------------------------------------------------------------------------


def together(*jobs: Callable[[], object]) -> list[Any]:
    """Run jobs in a thread each, starting at once; return their results and raise what they raise."""
    barrier = threading.Barrier(len(jobs))

    def start(job: Callable[[], object]) -> object:
        barrier.wait(60)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(timeout=300) for future in [pool.submit(start, job) for job in jobs]]


def test_a_codec_is_shared_by_threads() -> None:
    q = TurboQuant(DIM, 4, refine=8)
    x = RNG.standard_normal((3_000, DIM), np.float32)
    codes = q.encode(x)
    scores = q.score(x[:20], codes)

    def job() -> None:
        for threads in (None, 1, 2, 3):
            assert q.encode(x, threads=threads) == codes
            assert same(q.score(x[:20], codes, threads=threads), scores)

    together(*[job] * 6)


@pytest.mark.parametrize("metric", METRICS)
def test_searches_beside_adds_see_whole_adds(metric: str) -> None:
    """Every search equals one of the index as it was after some number of adds, no fewer than were done before it."""
    steps, size = 30, 50
    x = RNG.standard_normal((steps * size, DIM), np.float32)
    queries = RNG.standard_normal((6, DIM), np.float32)
    expected = []
    grown = Index(DIM, 4, metric)  # type: ignore[arg-type]
    for step in range(steps + 1):
        expected.append(tuple(a.tobytes() for a in grown.search(queries, 10)))
        grown.add(x[step * size : (step + 1) * size])
    shared = Index(DIM, 4, metric)  # type: ignore[arg-type]
    done = threading.Event()

    def add() -> None:
        for step in range(steps):
            assert shared.add(x[step * size : (step + 1) * size]).tolist() == list(
                range(step * size, (step + 1) * size)
            )
        done.set()

    def search() -> list[int]:
        seen = []
        while not done.is_set() or not seen:
            at_least = len(shared) // size
            found = tuple(a.tobytes() for a in shared.search(queries, 10))
            assert found in expected[at_least:]
            seen.append(expected.index(found))
        assert seen == sorted(seen)
        return seen

    together(add, search, search, search)
    assert tuple(a.tobytes() for a in shared.search(queries, 10)) == expected[-1]


def test_a_large_batch_sees_one_state() -> None:
    """A batch of queries that takes long is answered from the index as it was at one time, not partly from later."""
    dim, n, nq = 512, 4_000, 2_000
    index = Index(dim, 8)
    index.add(RNG.standard_normal((n, dim), np.float32))
    query = RNG.standard_normal(dim).astype(np.float32)
    queries = np.broadcast_to(query, (nq, dim))
    stop = threading.Event()

    def add() -> None:
        for size in np.linspace(2, 50, 200):  # every one the new nearest
            if stop.is_set():
                break
            index.add((query * size)[None])
            stop.wait(0.01)

    def search() -> list[int]:
        try:
            return [len(np.unique(index.search(queries, 1)[1])) for _ in range(4)]
        finally:
            stop.set()

    answers = together(add, search)[1]
    assert answers == [1] * len(answers), f"identical queries of one batch found {answers} different nearest rows"


def test_adds_from_many_threads_are_all_there() -> None:
    index = Index(DIM, 8)
    x = RNG.standard_normal((8, 40, DIM), np.float32)

    def add(worker: int) -> list[int]:
        taken: list[int] = []
        for first in range(0, 40, 4):
            taken += index.add(x[worker, first : first + 4]).tolist()
        return taken

    ids = together(*[lambda worker=worker: add(worker) for worker in range(8)])  # type: ignore[misc]
    assert sorted(np.concatenate(ids).tolist()) == list(range(320)), "no id twice, none left out"
    assert len(index) == 320
    codes = index.codec.encode(x.reshape(320, DIM))
    assert same(index.reconstruct(np.concatenate(ids)), index.codec.decode(codes))


def test_refused_adds_beside_searches_change_nothing() -> None:
    index = Index(DIM)
    x = RNG.standard_normal((200, DIM), np.float32)
    index.add(x)
    before = index.search(x[:5], 20)
    faulty = x.copy()
    faulty[150, 3] = np.nan

    def add() -> None:
        for _ in range(50):
            with pytest.raises(ValueError, match="must be finite"):
                index.add(faulty)
            with pytest.raises(ValueError, match="a second time"):
                index.add(x[:1], [7])

    def search() -> None:
        for _ in range(50):
            for a, b in zip(index.search(x[:5], 20), before, strict=True):
                assert same(a, b)

    together(add, add, search, search)
    assert len(index) == 200


def test_the_level_can_change_beside_work(level: str) -> None:
    """Levels are process-wide and may be set at any time; results stay the same."""
    from turboquant_rs import simd

    q = TurboQuant(DIM, 4)
    x = RNG.standard_normal((500, DIM), np.float32)
    codes = q.encode(x)
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            for name in simd.available():
                simd.set_level(name)

    def encode() -> None:
        try:
            for _ in range(20):
                assert q.encode(x) == codes
        finally:
            stop.set()

    together(switch, encode, encode)
