"""Eight threads search while one adds, replaces and removes: every answer is that of a state between two changes.

Five seconds here; ``make test-threads`` takes a minute and tells how long searches take.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from strategies import METRICS
from turboquant_rs import Index

SECONDS = float(os.environ.get("TURBOQUANT_THREADS_SECONDS", "5"))
THREADS, K, DIM = 8, 10, 64
#: Ids that come and go, each with one of two vectors.
IDS = 4_000
#: A Python thread that is never locked out ticks a hundred times a second; a machine that is busy with other things
#: takes most of that away.
TICKS_A_SECOND = 5

State = NDArray[np.int8]


class Seen(NamedTuple):
    """A search: how many changes were done before it and begun before its end, and what it found."""

    least: int
    most: int
    scores: bytes
    ids: bytes


class Model:
    """States as changes make them, and what a search of each must find."""

    def __init__(self, metric: str, queries: NDArray[np.float32], x: NDArray[np.float32]) -> None:
        self.metric = metric
        # Scores do not depend on other rows, so one search of everything tells all of them: (variant, query, id).
        self.scores = np.empty((2, len(queries), IDS), np.float32)
        for variant, rows in enumerate(x):
            index = Index(DIM, 4, metric)  # type: ignore[arg-type]
            index.add(rows)
            scores, ids = index.search(queries, IDS)
            np.put_along_axis(self.scores[variant], ids, scores, axis=1)
        #: By number of changes: which of its vectors each id has, −1 for none.
        self.states: list[State] = [np.full(IDS, -1, np.int8)]
        self.answer = lru_cache(maxsize=100_000)(self._answer)

    def _answer(self, state: int, query: int) -> tuple[bytes, bytes]:
        variants = self.states[state]
        there = np.flatnonzero(variants >= 0)
        scores = self.scores[variants[there], query, there]
        keys = scores if self.metric == "l2" else -scores
        order = np.lexsort((there, keys))[:K]
        worst = np.inf if self.metric == "l2" else -np.inf
        found = np.full(K, worst, np.float32), np.full(K, -1, np.int64)
        found[0][: len(order)], found[1][: len(order)] = scores[order], there[order]
        return found[0].tobytes(), found[1].tobytes()


@pytest.mark.parametrize("metric", METRICS if SECONDS > 30 else METRICS[:1])
def test_searches_beside_changes_see_a_prefix_of_them(metric: str, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    x, queries = rng.standard_normal((2, IDS, DIM), np.float32), rng.standard_normal((THREADS, DIM), np.float32)
    model, index = Model(metric, queries, x), Index(DIM, 4, metric)  # type: ignore[arg-type]
    stop, begun, done, ticks = threading.Event(), 0, 0, 0

    def change() -> None:
        nonlocal begun, done
        while not stop.is_set():
            state, kind = model.states[-1].copy(), rng.integers(3)
            chosen = rng.permutation(IDS)[: rng.integers(1, 200)]
            there = state[chosen] >= 0
            if kind == 0:
                chosen = chosen[~there]
                state[chosen] = rng.integers(2, size=len(chosen))
            elif kind == 1:
                state[chosen] = rng.integers(2, size=len(chosen))
            else:
                chosen = chosen[there]
                state[chosen] = -1
            model.states.append(state)
            begun += 1
            if kind < 2:
                (index.upsert if kind else index.add)(x[state[chosen], chosen], chosen)
            else:
                index.remove(chosen)
            done += 1

    def search(query: int) -> tuple[list[Seen], list[float]]:
        seen, taken = [], []
        while not stop.is_set():
            least, start = done, time.perf_counter()
            scores, ids = index.search(queries[query], K, threads=1)
            taken.append(time.perf_counter() - start)
            seen.append(Seen(least, begun, scores.tobytes(), ids.tobytes()))
        return seen, taken

    def tick() -> None:
        nonlocal ticks
        while not stop.wait(0.01):
            ticks += 1

    with ThreadPoolExecutor(THREADS + 2) as pool:
        searches = [pool.submit(search, query) for query in range(THREADS)]
        others = [pool.submit(change), pool.submit(tick)]
        try:
            stop.wait(SECONDS)
        finally:
            stop.set()
        found = [future.result(timeout=60) for future in searches]
        for other in others:
            other.result(timeout=60)

    for query, (seen, _) in enumerate(found):
        state = 0
        for each in seen:
            # The earliest state that fits: later searches of the thread see that one or a later one.
            state = max(state, each.least)
            while model.answer(state, query) != (each.scores, each.ids):
                state += 1
                assert state <= each.most, f"query {query} found what no state from {each.least} to {each.most} has"
    times = np.concatenate([taken for _, taken in found])
    with capsys.disabled():
        if SECONDS > 30:
            p50, p99 = 1e3 * np.quantile(times, (0.5, 0.99))
            told: Any = f"{len(times):,} searches, median {p50:.2f} ms, p99 {p99:.2f} ms, beside {done:,} changes"
            print(f"\n{metric}: {told}; {ticks / SECONDS:.0f} ticks a second")
    assert min(len(seen) for seen, _ in found) > 0
    assert done > SECONDS
    assert ticks > TICKS_A_SECOND * SECONDS, "a Python thread was locked out"
