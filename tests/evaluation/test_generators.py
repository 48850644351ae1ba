"""Generators: shapes, determinism, and that each breaks what it says."""

from __future__ import annotations

import numpy as np
import pytest
from turboquant_rs.evaluation.generators import (
    GENERATORS,
    Vectors,
    effective_dim,
    embedding_like,
    lognormal_norms,
    low_rank,
    mean_dominated,
    shared_direction,
    sparse,
    tight_clusters,
)
from turboquant_rs.evaluation.metrics import distortion, overlap_at_k, theory_distortion, true_neighbors
from turboquant_rs.reference import TurboQuant


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("dim", [2, 97, 200])
def test_common_contract(name: str, dim: int) -> None:
    make = GENERATORS[name]
    base, queries = make(40, dim, n_queries=7, seed=3)
    assert base.shape == (40, dim)
    assert queries.shape == (7, dim)
    assert base.dtype == queries.dtype == np.float32
    assert np.isfinite(base).all()
    assert np.isfinite(queries).all()
    again = make(40, dim, n_queries=7, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(again, (base, queries), strict=True))
    assert np.array_equal(make(40, dim, seed=3).base, base)  # whatever the number of queries
    assert make(40, dim).queries.shape == (0, dim)
    assert not np.array_equal(make(40, dim, seed=4).base, base)
    if name != "lognormal_norms":
        np.testing.assert_allclose(np.linalg.norm(base, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(set(GENERATORS) - {"sparse", "one_hot", "two_sparse"}))
def test_queries_have_the_law_of_base(name: str) -> None:
    base, queries = GENERATORS[name](2000, 32, n_queries=2000, seed=1)
    for moment in (lambda x: np.linalg.norm(x.mean(axis=0)), effective_dim, lambda x: np.abs(x).mean()):
        assert moment(queries) == pytest.approx(moment(base), rel=0.1, abs=0.05)
    assert not np.array_equal(base[:100], queries[:100])


@pytest.mark.parametrize("rho", [0.65, 0.8])
def test_shared_direction(rho: float) -> None:
    x = shared_direction(500, 256, mean_cosine=rho).base
    cosines = (x @ x.T)[np.triu_indices(500, 1)]
    assert cosines.mean() == pytest.approx(rho, abs=0.01)


def test_sparse_rows_and_queries() -> None:
    for dim in (1000, 1032):
        base, queries = sparse(200, dim, n_queries=50, nnz=3)
        assert np.all((base != 0).sum(axis=1) == 3)
        truth = true_neighbors(base, queries, 2)
        # A query's own row is its nearest at about 1/√1.04, the other one 0.2 of it (unless they are one row).
        assert np.median(truth.scores[:, 0]) == pytest.approx(0.98, abs=0.02)


def test_tight_clusters_are_tighter_than_a_code_of_two_bits() -> None:
    x = tight_clusters(400, 64, seed=1).base
    truth = true_neighbors(x, x[:20], 2, "l2")
    assert truth.scores[:, 1].max() < theory_distortion(2, 64)


def test_lognormal_norms_separate_the_metrics() -> None:
    base, queries = lognormal_norms(500, 64, n_queries=20)
    found = [true_neighbors(base, queries, 1, metric).ids[:, 0] for metric in ("ip", "cosine", "l2")]
    assert np.mean(found[0] == found[1]) < 0.5
    assert np.mean(found[0] == found[2]) < 0.5


def test_low_rank() -> None:
    assert effective_dim(low_rank(1000, 128, rank=8).base) == pytest.approx(8, abs=0.5)
    assert effective_dim(low_rank(1000, 128, rank=8, noise=0.5).base) > 8


@pytest.mark.parametrize("dim", [64, 300])
@pytest.mark.parametrize("seed", [0, 1])
def test_mean_dominated_has_the_shape_of_pixels(dim: int, seed: int) -> None:
    x = mean_dominated(1500, dim, seed=seed).base
    assert x.min() >= 0
    assert 0.6 < np.linalg.norm(x.mean(axis=0)) < 0.8
    assert 3 < effective_dim(x) < 7


def test_embedding_like_is_mild() -> None:
    x = embedding_like(2000, 384).base
    assert 0.26 < np.linalg.norm(x.mean(axis=0)) < 0.31
    assert 60 < effective_dim(x) < 136


def recall(vectors: Vectors, bits: int, scale: str) -> float:
    """10@10, averaged over three rotation seeds."""
    truth = true_neighbors(vectors.base, vectors.queries, 10)
    found = []
    for seed in range(3):  # on such data one rotation differs from another by several points
        codec = TurboQuant(vectors.base.shape[1], bits, seed=seed, scale=scale)
        decoded = codec.decode(codec.encode(vectors.base))
        found.append(overlap_at_k(truth, np.argsort(-(vectors.queries @ decoded.T), axis=1)[:, :10]))
    return float(np.mean(found))


def test_mean_dominated_breaks_the_plain_norm() -> None:
    """2 bits rank worse than 1 with the paper's norm, and never with the unbiased scale, at distortion as in theory."""
    vectors = mean_dominated(1500, 128, n_queries=100)
    assert recall(vectors, 2, "paper") < recall(vectors, 1, "paper") - 0.05
    assert recall(vectors, 2, "unbiased") > recall(vectors, 1, "unbiased") + 0.1
    codec = TurboQuant(128, 2, scale="paper")
    left = distortion(vectors.base, codec.decode(codec.encode(vectors.base)))
    assert left == pytest.approx(theory_distortion(2, 128), rel=0.1)
