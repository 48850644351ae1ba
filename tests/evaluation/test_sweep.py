"""The sweep finds the code of the largest cosine: against every code there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from turboquant_rs.evaluation.sweep import assign, best_of, cosine, kept_share, sweep
from turboquant_rs.reference.codebook import boundaries, levels


@pytest.mark.parametrize(("bits", "dim"), [(1, 5), (2, 1), (2, 5), (3, 4)])
def test_no_code_has_a_larger_cosine(bits: int, dim: int) -> None:
    table = levels(bits, bits, 64).astype(np.float64)
    every = np.array(list(itertools.product(table, repeat=dim)))
    every /= np.linalg.norm(every, axis=1, keepdims=True)
    y = np.random.default_rng(bits).standard_normal((50, dim))
    largest = (y @ every.T / np.linalg.norm(y, axis=1, keepdims=True)).max(axis=1)
    np.testing.assert_allclose(sweep(y, table).cosine, largest, rtol=1e-12)


def test_codes_are_the_nearest_levels_at_t() -> None:
    y = np.random.default_rng(0).standard_normal((20, 32))
    table = levels(4, 4, 128)
    result = sweep(y, table)
    distance = np.abs(result.t[:, None, None] * y[:, :, None] - table.astype(np.float64))
    assert np.array_equal(result.codes, distance.argmin(axis=2))
    # Where the fraction is plain float32, the codec's own rule (boundaries divided by t) gives the same codes.
    trial = np.array(
        [
            np.searchsorted(boundaries(table) / np.float32(t), r.astype(np.float32))
            for t, r in zip(result.t, y, strict=True)
        ]
    )
    assert np.mean(trial == result.codes) > 0.999


def test_a_window_around_the_optimum_changes_nothing() -> None:
    y = np.random.default_rng(1).standard_normal((50, 200))
    table = levels(4, 4, 200)
    whole = sweep(y, table)
    inside = sweep(y, table, (float(whole.t.min()) * 0.9, float(whole.t.max()) * 1.1))
    assert np.array_equal(inside.codes, whole.codes)
    narrow = sweep(y, table, (0.999, 1.001))
    assert np.all((narrow.t > 0.998) & (narrow.t < 1.002))
    assert np.all(narrow.cosine <= whole.cosine)


def test_order_of_merit_and_odd_rows() -> None:
    y = np.random.default_rng(2).standard_normal((40, 48))
    y[0] = 0.0
    y[1] = 1.0  # one magnitude: every breakpoint is a tie
    y[2, 1:] = 0.0
    table = levels(3, 3, 48)
    best, grid, plain = sweep(y, table).cosine, best_of(y, table, [1.0, 0.8, 1.2]), cosine(y, table)
    assert np.all(best >= grid - 1e-12)
    assert np.all(grid >= plain)
    assert best[0] == 0.0
    assert best[1] == pytest.approx(1.0)
    assert np.isfinite(sweep(y, table).t).all()
    assert kept_share(y, table, [1.0]) == 0.0


def test_ties_go_to_the_lower_code() -> None:
    assert assign([[0.0, -0.0, 1.0, 1.0000001, -1.0]], [-1.5, -0.5, 0.5, 1.5]).tolist() == [[1, 1, 2, 3, 0]]


@pytest.mark.parametrize(
    ("y", "table", "window", "words"),
    [
        ([1.0, 2.0], [-1.0, 1.0], (0.0, 2.0), "2 dimensions"),
        ([[1.0]], [-1.0, 2.0], (0.0, 2.0), "symmetric"),
        ([[1.0]], [-1.0, 1.0], (2.0, 1.0), "ascending"),
    ],
)
def test_refused(y: list[float], table: list[float], window: tuple[float, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sweep(y, table, window)
