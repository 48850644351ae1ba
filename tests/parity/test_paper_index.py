"""PaperIndex: ids, scores and rows equal the NumPy reference's to the bit, for three codecs and three metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import METRICS, matrices, mixed_rows, same, seeds
from turboquant_rs import QJL, PaperIndex, PolarQuant, TurboQuantProd
from turboquant_rs import reference as plain

PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
CODECS = ("qjl", "prod", "polar")
#: Kinds whose norms l2 takes (below 2^63).
KINDS = ("normal", "zero", "negative zero", "tiny", "wide", "one-hot", "2-sparse", "constant", "whole", "duplicate")


def pair(kind: str, dim: int, number: int, projection: Any, seed: int) -> tuple[Any, Any]:
    """Return the package's codec and the reference's; ``dim`` a multiple of 4, ``number`` from 1 on."""
    options = {"projection": projection, "seed": seed}
    if kind == "qjl":
        return QJL(dim, number, **options), plain.QJL(dim, number, **options)
    if kind == "prod":
        bits = 1 + number % 8
        return TurboQuantProd(dim, bits, **options), plain.TurboQuantProd(dim, bits, **options)
    angles = (1 + number % 8, 1 + number // 8 % 8)
    return (
        PolarQuant(dim, 2, angles, radius="float32", seed=seed),
        plain.PolarQuant(dim, 2, angles, radius="float32", seed=seed),
    )


class Both:
    """An index of the package and the reference's, with the same rows."""

    def __init__(self, codecs: tuple[Any, Any], metric: Any) -> None:
        self.fast = PaperIndex(codecs[0], metric)
        self.plain = plain.PaperIndex(codecs[1], metric)

    def add(self, x: Any, ids: Any = None) -> None:
        self.plain.add(x, self.fast.add(x, ids))
        assert np.array_equal(self.fast.ids, self.plain.ids)

    def check(self, queries: Any, k: int, threads: Sequence[int | None] = (None,)) -> None:
        want_scores, want_ids = self.plain.search(queries, k)
        for count in threads:
            scores, ids = self.fast.search(queries, k, threads=count)
            assert np.array_equal(ids, want_ids), (k, count)
            assert same(scores, want_scores), (k, count)

    def check_rows(self, ids: Any) -> None:
        assert same(self.fast.reconstruct(ids), self.plain.reconstruct(ids))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODECS)
def test_dimensions_and_awkward_rows(level: str, kind: str, metric: str) -> None:
    for dim in (4, 8, 32, 100, 132):
        both = Both(pair(kind, dim, dim + 3, "orthogonal", dim), metric)
        both.add(mixed_rows(dim, dim, KINDS))
        both.check(mixed_rows(dim, dim + 1, KINDS), 4)
        both.check_rows(both.plain.ids)


@given(
    data=st.data(),
    kind=st.sampled_from(CODECS),
    dim=st.integers(1, 20).map(lambda n: 4 * n),
    number=st.integers(1, 90),
    projection=st.sampled_from(PROJECTIONS),
    metric=st.sampled_from(METRICS),
    seed=seeds(),
    k=st.integers(1, 30),
    threads=st.sampled_from([None, 1, 3]),
)
def test_any_index(
    level: str,
    data: st.DataObject,
    kind: str,
    dim: int,
    number: int,
    projection: str,
    metric: str,
    seed: int,
    k: int,
    threads: int | None,
) -> None:
    both = Both(pair(kind, dim, number, projection, seed), metric)
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
    both.check(np.clip(data.draw(matrices(dim, (1, 5))), -limit, limit), k, threads=(threads,))
    both.check_rows(both.plain.ids[::2])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", CODECS)
def test_several_tasks_and_blocks(kind: str, metric: str) -> None:
    """Thousands of rows in several tasks, added in pieces, more queries than a block; ties across tasks."""
    rng = np.random.default_rng(1)
    both = Both(pair(kind, 12, 11, "gaussian", 2), metric)
    x = rng.standard_normal((5_001, 12)).astype(np.float32)
    x[2_900:3_200] = x[100]
    for first, last in [(0, 1), (1, 2_000), (2_000, 2_000), (2_000, 5_001)]:
        both.add(x[first:last])
    queries = np.concatenate(
        [x[:150], rng.standard_normal((120, 12)).astype(np.float32), np.zeros((1, 12), np.float32)]
    )
    both.check(queries, 10, threads=(None, 1, 3))
    both.check(queries[98:102], 1_000)
    both.check(queries[98:102], 5_003)


@pytest.mark.parametrize("kind", CODECS)
def test_ties_go_to_the_lower_id(kind: str) -> None:
    rng = np.random.default_rng(0)
    both = Both(pair(kind, 16, 10, "orthogonal", 0), "cosine")
    x = np.repeat(rng.standard_normal((5, 16)).astype(np.float32), 400, axis=0)
    both.add(x, rng.permutation(10**6)[: len(x)].astype(np.int64))
    both.check(x[::400], 900, threads=(1, 3))
    found = both.fast.search(x[:1], 400)[1][0]
    assert np.array_equal(found, np.sort(found)), "equal scores must come in ascending order of ids"


@pytest.mark.parametrize("kind", CODECS)
@pytest.mark.parametrize("metric", METRICS)
def test_the_largest_norms(level: str, kind: str, metric: str) -> None:
    """Scores beyond float32 become ±inf or distances of 0, and never NaN."""
    both = Both(pair(kind, 64, 3, "gaussian", 5), metric)
    x = np.eye(64, dtype=np.float32) * np.float32(2.0 ** (62 if metric == "l2" else 120))
    both.add(np.concatenate([x, -x]))
    queries = np.eye(64, dtype=np.float32)[:7] * np.float32(2.0**62 if metric == "l2" else 2.0**95)
    both.check(queries, 128)
    assert not np.isnan(both.fast.search(queries, 128)[0]).any()
