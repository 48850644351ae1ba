"""The rotation: orthonormal up to rounding, undone by its inverse, different for every seed and segment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from strategies import dims, seeds
from turboquant_rs.reference.dense_rotation import DenseRotation
from turboquant_rs.reference.rotation import Rotation

#: Unit roundoff of float32.
ROUNDOFF = 2.0**-24


def tolerance(dim: int) -> float:
    """Return a bound on the relative error of a rotated row's length and of entries of a Gram matrix of unit rows.

    Every block transform rounds each coordinate once in its multiply and once a stage: log2(p) + 1 roundings of
    relative size `ROUNDOFF` in a vector whose length is kept, so at most (log2(p) + 1)·ROUNDOFF of it; six block
    transforms at most. Scaling by p^(−1/2), itself rounded, changes lengths by another ROUNDOFF each. An inner product
    of two unit rows takes both rows' errors.
    """
    return 2 * 6 * (np.log2(dim) + 2) * ROUNDOFF


@given(dim=dims(1536), seed=seeds())
def test_rotations_are_orthonormal(dim: int, seed: int) -> None:
    r = Rotation(dim, seed)
    rotated = r.apply(np.eye(dim, dtype=np.float32)).astype(np.float64)
    assert np.abs(rotated @ rotated.T - np.eye(dim)).max() <= tolerance(dim)


@given(dim=dims(), seed=seeds())
def test_the_inverse_undoes_and_lengths_stay(dim: int, seed: int) -> None:
    r = Rotation(dim, seed)
    x = np.random.default_rng(dim).standard_normal((3, dim)).astype(np.float32)
    length = np.linalg.norm(x.astype(np.float64), axis=1)
    rotated = r.apply(x)
    assert np.abs(np.linalg.norm(rotated.astype(np.float64), axis=1) / length - 1).max() <= tolerance(dim)
    for back in (r.apply_inverse(rotated), r.apply(r.apply_inverse(x))):
        error = np.linalg.norm(back.astype(np.float64) - x, axis=1)
        assert (error <= tolerance(dim) * length).all()


@pytest.mark.parametrize("dim", [2, 3, 97, 1024])
def test_seeds_and_segments_give_other_rotations(dim: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, dim)).astype(np.float32)
    seen = {Rotation(dim, seed, segment).apply(x).tobytes() for seed in range(64) for segment in range(2)}
    # In two dimensions there are few rotations: 2^6 choices of signs, of which many act alike.
    assert len(seen) > (4 if dim < 4 else 120)


@pytest.mark.parametrize("dim", [97, 200, 1000, 1024, 1032])
def test_one_hot_rows_spread_evenly(dim: int) -> None:
    """No coordinate of any rotated one-hot row stands out: all dim² entries of the matrix look normal at once.

    For normal entries of variance 1/dim the largest of dim² exceeds 6.5/√dim with probability below dim²·8e-11 < 1e-4.
    """
    largest = 6.5 / np.sqrt(dim)
    for seed in range(3):
        rotated = Rotation(dim, seed).apply(np.eye(dim, dtype=np.float32))
        assert np.abs(rotated).max() < largest
        # The fourth moment of a normal is 3; over dim² entries its standard error is √96/dim, at most 0.1 here.
        kurtosis = dim**2 * np.mean(rotated.astype(np.float64) ** 4)
        assert abs(kurtosis - 3) < 0.5


@pytest.mark.parametrize("dim", [1, 2, 3, 64, 200, 768])
def test_dense_rotations_are_orthonormal_but_for_fixed_point(dim: int) -> None:
    """Rounding to int16 errs by at most ½ in each of dim values of two vectors of norm 32,000."""
    bound = 2 * 0.5 * np.sqrt(dim) / 32_000
    r = DenseRotation(dim, seed=3)
    x = np.random.default_rng(0).standard_normal((20, dim)).astype(np.float32)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    rotated = r.apply(x)
    gram = (rotated / length) @ (rotated / length).T - (x / length) @ (x / length).T
    assert np.abs(gram).max() <= 2 * bound
    assert (np.linalg.norm(r.apply_inverse(rotated) - x, axis=1) <= 2 * bound * length[:, 0]).all()


def test_dense_rotations_differ_by_seed_and_segment() -> None:
    x = np.random.default_rng(0).standard_normal((1, 16)).astype(np.float32)
    seen = {DenseRotation(16, seed, segment).apply(x).tobytes() for seed in range(32) for segment in range(2)}
    assert len(seen) == 64
