"""Neighbours and metrics, against plain loops and theory."""

from __future__ import annotations

import numpy as np
import pytest
from turboquant_rs.evaluation import neighbors
from turboquant_rs.evaluation.generators import isotropic, one_hot
from turboquant_rs.evaluation.metrics import (
    bytes_per_vector,
    distortion,
    inner_product_error,
    one_at_k,
    overlap_at_k,
    scores_of,
    theory_distortion,
    true_neighbors,
)
from turboquant_rs.reference import TurboQuant


def plain_scores(x: np.ndarray, q: np.ndarray, metric: str) -> np.ndarray:
    if metric == "l2":
        return ((q[:, None] - x[None]) ** 2).sum(-1)
    product = q @ x.T
    return product if metric == "ip" else product / np.linalg.norm(q, axis=1)[:, None] / np.linalg.norm(x, axis=1)


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_true_neighbors(metric: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK_VALUES", 16 * 41)  # many blocks, the last one short
    monkeypatch.setattr(neighbors, "_BLOCK_SCORES", 41 * 7)
    r = np.random.default_rng(0)
    x, q = r.standard_normal((300, 16)), r.standard_normal((20, 16))
    truth = true_neighbors(x, q, k, metric)
    expected = plain_scores(x, q, metric)
    order = np.argsort(expected if metric == "l2" else -expected, axis=1, kind="stable")[:, :k]
    assert np.array_equal(truth.ids, order)
    np.testing.assert_allclose(truth.scores, np.take_along_axis(expected, order, axis=1), rtol=1e-10, atol=1e-10)
    sign = -1.0 if metric == "l2" else 1.0
    np.testing.assert_allclose(scores_of(truth, truth.ids), sign * truth.scores, rtol=1e-10, atol=1e-10)


def test_masses_of_ties_go_to_the_lower_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbors, "_BLOCK_VALUES", 4 * 30)
    x = np.zeros((100, 4))
    x[70, 0] = x[90, 0] = 1.0
    truth = true_neighbors(x, np.eye(4)[:2], 5)
    assert truth.ids.tolist() == [[70, 90, 0, 1, 2], [0, 1, 2, 3, 4]]


def test_ties_do_not_punish() -> None:
    x, q = one_hot(60, 10, n_queries=8, seed=1)
    truth = true_neighbors(x, q, 10)
    shuffled = np.random.default_rng(0).permutation(len(x))
    other = true_neighbors(x[shuffled], q, 10)
    assert not np.array_equal(shuffled[other.ids], truth.ids)
    assert overlap_at_k(truth, shuffled[other.ids]) == 1.0
    assert one_at_k(truth, shuffled[other.ids], k=1) == 1.0


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_recall_counts_what_it_should(metric: str) -> None:
    x, q = isotropic(500, 32, n_queries=50, seed=2)
    truth = true_neighbors(x, q, 20, metric)
    assert overlap_at_k(truth, truth.ids) == 1.0
    assert overlap_at_k(truth, truth.ids[:, ::-1], k=10) == 0.0  # the first ten of them are ranks 20 … 11
    half = truth.ids.copy()
    half[:, 5:10] = truth.ids[:, 10:15]
    assert overlap_at_k(truth, half, k=10) == 0.5
    assert one_at_k(truth, half, k=10) == 1.0
    assert one_at_k(truth, truth.ids[:, 1:], k=10) == 0.0
    assert overlap_at_k(truth, np.full((50, 10), -1)) == 0.0
    assert overlap_at_k(truth, np.repeat(truth.ids[:, :1], 10, axis=1)) == pytest.approx(0.1)


def test_recall_refuses() -> None:
    x, q = isotropic(20, 8, n_queries=3)
    truth = true_neighbors(x, q, 5)
    with pytest.raises(ValueError, match="5 neighbours"):
        overlap_at_k(truth, np.zeros((3, 10), int), k=10)
    with pytest.raises(ValueError, match="shape"):
        overlap_at_k(truth, np.zeros((3, 4), int), k=5)
    with pytest.raises(ValueError, match="k must be between"):
        true_neighbors(x, q, 21)
    with pytest.raises(ValueError, match="columns"):
        true_neighbors(x, q[:, :4])
    with pytest.raises(ValueError, match="metric"):
        true_neighbors(x, q, 1, "dot")


# Appendix values of the exact Beta law, to their last digit.
@pytest.mark.parametrize(
    ("bits", "dim", "value"),
    [
        (1, 32, 0.353357),
        (2, 64, 0.114526),
        (3, 96, 0.033773),
        (4, 128, 0.009315),
        (4, 1536, 0.009485),
        (5, 256, 2.478e-3),
        (8, 4096, 4.116e-5),
        (1, None, 0.363380),
        (4, None, 0.009501),
    ],
)
def test_theory(bits: int, dim: int | None, value: float) -> None:
    assert theory_distortion(bits, dim) == pytest.approx(value, rel=2e-4)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_distortion_of_the_codec_meets_theory(bits: int) -> None:
    x = isotropic(1500, 128, seed=3).base
    q = TurboQuant(128, bits, scale="paper")
    assert distortion(x, q.decode(q.encode(x))) == pytest.approx(theory_distortion(bits, 128), rel=0.01)


def test_distortion_of_odd_rows() -> None:
    x = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert distortion(x, x) == 0.0
    assert distortion(x, 2 * x) == 1.0
    assert distortion(x, x + [[1.0, 0.0], [0.0, 0.0]]) == np.inf


def test_inner_product_error_tells_scales_apart() -> None:
    """The paper's scale shrinks inner products by the distortion at 2 bits (0.117), the unbiased one does not."""
    x, q = isotropic(800, 128, n_queries=300, seed=4)
    queries = np.concatenate([q, x[:100] + 0.5 * q[:100]])
    errors = {}
    for scale in ("paper", "unbiased"):
        codec = TurboQuant(128, 2, scale=scale)
        errors[scale] = inner_product_error(x, codec.decode(codec.encode(x)), queries)
    assert errors["paper"].bias == pytest.approx(-0.116, abs=0.015)
    assert abs(errors["unbiased"].bias) < 0.01
    assert errors["unbiased"].variance_times_dim == pytest.approx(0.1308, rel=0.05)  # 1/cos² − 1 at 128 dimensions
    assert errors["unbiased"].pairs == 800 * 400
    rms, e = errors["unbiased"].rms, errors["unbiased"]
    assert rms**2 * 128 == pytest.approx(e.variance_times_dim + 128 * e.mean**2)


def test_inner_product_error_against_a_plain_loop() -> None:
    r = np.random.default_rng(5)
    x, q = r.standard_normal((30, 6)), r.standard_normal((7, 6))
    x_hat = x + 0.1 * r.standard_normal(x.shape)
    e, rho = [], []
    for row, decoded in zip(x, x_hat, strict=True):
        for v in q:
            size = np.linalg.norm(row) * np.linalg.norm(v)
            e.append((v @ decoded - v @ row) / size)
            rho.append(v @ row / size)
    error = inner_product_error(x, x_hat, q)
    slope = np.dot(rho, e) / np.dot(rho, rho)
    assert error.bias == pytest.approx(slope)
    assert error.mean == pytest.approx(np.mean(e))
    assert error.variance_times_dim == pytest.approx(6 * np.var(e))
    left = np.array(rho) + np.array(e)
    assert error.rank_error_times_dim == pytest.approx(6 * np.mean((left / (1 + slope) - rho) ** 2))


def test_bytes_per_vector() -> None:
    x = isotropic(10, 64).base
    assert bytes_per_vector(TurboQuant(64, 4).encode(x)) == 64 * 4 / 8 + 4
    with pytest.raises(ValueError, match="empty"):
        bytes_per_vector(np.zeros((0, 4)))
