"""Index.search: ids and scores equal the NumPy reference's to the bit, for three metrics, at every level."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import EVERY_DIM, METRICS, bits, dims, matrices, mixed_rows, refines, same, scales, seeds
from turboquant_rs import Index, TurboQuant
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import TurboQuant as Reference

Floats = np.ndarray[Any, np.dtype[np.float32]]
Ids = np.ndarray[Any, np.dtype[np.int64]]

#: Kinds whose norms l2 takes (below 2^63).
KINDS = ("normal", "zero", "negative zero", "tiny", "wide", "one-hot", "2-sparse", "constant", "whole", "duplicate")


class Both:
    """An index of the package and the reference's, with the same rows."""

    def __init__(self, dim: int, width: int, metric: str, **options: Any) -> None:
        self.fast = Index(codec=TurboQuant(dim, width, **options), metric=metric)  # type: ignore[arg-type]
        self.plain = ReferenceIndex(Reference(dim, width, **options), metric)

    def add(self, x: Floats, ids: Ids | None = None) -> None:
        given = self.fast.add(x, ids)
        assert given.dtype == np.int64
        if ids is not None:
            assert np.array_equal(given, ids)
        if len(x):
            self.plain.add(x, given)

    def check(self, queries: Floats, k: int, **options: Any) -> None:
        deviations = {name: value for name, value in options.items() if name == "deviations"}
        check(self.fast, queries, k, self.plain.search(queries, k, **deviations), **options)


def check(fast: Index, queries: Floats, k: int, want: tuple[Floats, Ids], **options: Any) -> None:
    scores, ids = fast.search(queries, k, **options)
    assert np.array_equal(ids, want[1]), (k, options)
    assert same(scores, want[0]), (k, options)


@cache
def _expected(metric: str, dim: int) -> tuple[Floats, Ids]:
    plain = ReferenceIndex(Reference(dim, 1 + dim % 8, seed=dim), metric)
    plain.add(mixed_rows(dim, dim, KINDS), np.arange(len(KINDS)))
    return plain.search(mixed_rows(dim, dim + 1, KINDS), 4)


@pytest.mark.parametrize("metric", METRICS)
def test_every_dimension(level: str, metric: str) -> None:
    for dim in EVERY_DIM:
        fast = Index(codec=TurboQuant(dim, 1 + dim % 8, seed=dim), metric=metric)  # type: ignore[arg-type]
        fast.add(mixed_rows(dim, dim, KINDS))
        check(fast, mixed_rows(dim, dim + 1, KINDS), 4, _expected(metric, dim))


@given(
    data=st.data(),
    dim=dims(1032),
    width=bits(),
    metric=st.sampled_from(METRICS),
    seed=seeds(),
    scale=scales(),
    refine=refines(),
    k=st.integers(1, 30),
    deviations=st.sampled_from([3.0, 0.0, 1.7, 1000.0]),
)
def test_any_index(
    level: str,
    data: st.DataObject,
    dim: int,
    width: int,
    metric: str,
    seed: int,
    scale: str,
    refine: int | bool,
    k: int,
    deviations: float,
) -> None:
    both = Both(dim, width, metric, seed=seed, scale=scale, refine=refine)
    limit = 2.0**40  # keeps norms below what l2 and queries allow
    for _ in range(data.draw(st.integers(0, 3))):
        x = np.clip(data.draw(matrices(dim)), -limit, limit)
        ids = None
        if data.draw(st.booleans()):
            taken = set(both.plain.ids.tolist())
            fresh = st.integers(0, 2**63 - 1).filter(lambda i: i not in taken)  # noqa: B023 - drawn at once
            ids = np.array(data.draw(st.lists(fresh, min_size=len(x), max_size=len(x), unique=True)), np.int64)
        elif len(both.plain.ids) and int(both.plain.ids.max()) > 2**62:
            continue
        both.add(x, ids)
    queries = np.clip(data.draw(matrices(dim, (1, 5))), -limit, limit)
    both.check(queries, k, deviations=deviations, exact=data.draw(st.booleans()))


@cache
def _many_rows(metric: str, width: int) -> tuple[Floats, Floats, dict[int, tuple[Floats, Ids]]]:
    """Return 7,001 rows, 81 queries, and the reference's answer for each k, which it takes long to find."""
    dim = 33
    rng = np.random.default_rng(width)
    x = rng.standard_normal((7_001, dim)).astype(np.float32)
    x[3_000:3_500] = x[100]  # ties across tasks
    queries = np.concatenate(
        [x[:40], rng.standard_normal((40, dim)).astype(np.float32), np.zeros((1, dim), np.float32)]
    )
    plain = ReferenceIndex(Reference(dim, width), metric)
    plain.add(x, np.arange(len(x)))
    scores, ids = plain.search(queries, 8_000)
    return x, queries, {k: (scores[:, :k], ids[:, :k]) for k in (1, 10, 1_000, 8_000)}


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [1, 4, 7])
def test_several_tasks_and_blocks(level: str, metric: str, width: int) -> None:
    """Thousands of rows in several parallel tasks, added in pieces, searched by any number of threads and at any k."""
    x, queries, want = _many_rows(metric, width)
    fast = Index(33, width, metric)  # type: ignore[arg-type]
    for first, last in [(0, 1), (1, 2_000), (2_000, 2_000), (2_000, 7_001)]:
        assert np.array_equal(fast.add(x[first:last]), np.arange(first, last))
    for k in (1, 10, 1_000):
        for threads in (None, 1, 2, 3):
            check(fast, queries, k, want[k], threads=threads)
    check(fast, queries[38:42], 8_000, (want[8_000][0][38:42], want[8_000][1][38:42]))


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_lower_id(level: str, metric: str) -> None:
    both = Both(16, 2, metric)
    rng = np.random.default_rng(0)
    x = np.repeat(rng.standard_normal((5, 16)).astype(np.float32), 400, axis=0)
    ids = rng.permutation(10**6)[: len(x)].astype(np.int64)
    both.add(x, ids)
    for threads in (1, 2, 3):
        both.check(x[::400], 900, threads=threads)
    found = both.fast.search(x[:1], 400)[1][0]
    assert np.array_equal(found, np.sort(found)), "equal scores must come in ascending order of ids"


@pytest.mark.parametrize("metric", METRICS)
def test_rows_that_a_rotation_makes_sparse(level: str, metric: str) -> None:
    """The rotation's own worst rows: all energy in one rotated coordinate, where the unbiased scale is largest."""
    for dim in (64, 97, 1024):
        both = Both(dim, 1, metric, seed=4)
        rotation = both.plain.codec.rotations[0]
        x = rotation.apply_inverse(np.eye(dim, dtype=np.float32)[:20]) * np.float32(2.0**60)
        both.add(x)
        both.check(x[:5] * np.float32(1.5), 20)
        both.check(-x[:5], 20)
