"""Fitted codecs against what they promise: the distortion of their allocation, scales, prefixes, exact fixed point."""

from __future__ import annotations

import numpy as np
import pytest
from fits import random_parts
from numpy.typing import NDArray
from turboquant_rs.evaluation.metrics import theory_distortion
from turboquant_rs.reference import FittedTurboQuant, score
from turboquant_rs.reference.dense import NORM_LIMIT, fixed_matrix, fixed_point, products
from turboquant_rs.reference.rows import norm, prepare

DIM, N = 96, 4000
#: Deviations of three runs of axes; the bits that each gets.
SIGMAS, SEGMENTS = np.array([1.0, 0.4, 0.1]), [(32, 4), (32, 2), (32, 1)]
ORDER = [0, 0, 1, 0, 1, 0, 2]
#: The mean over N rows of 96 squared errors: its standard error is below 1 % (a coordinate's has a deviation of at most
#: 2 times its mean at these widths, and rows share nothing), so that 4 % is four of them; the levels of segments of 32
#: axes add less than 1 % (the Gaussian table where the exact law is a Beta one).
SAMPLING = 0.05


def sample(seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Return orthonormal axes (d, d) and rows (n, d) whose coordinates along them have the deviations of `SIGMAS`."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    x = (rng.standard_normal((N, DIM)) * np.repeat(SIGMAS, 32)) @ basis
    return basis, x.astype(np.float32)


def codec(basis: NDArray[np.float64], scale: str, **options: object) -> FittedTurboQuant:
    total = np.sqrt(32 * (SIGMAS**2).sum())
    sigmas = (SIGMAS / total).astype(np.float32)
    return FittedTurboQuant(None, fixed_matrix(basis), sigmas, SEGMENTS, ORDER, scale=scale, **options)  # type: ignore[arg-type]


def error(x: NDArray[np.float32], decoded: NDArray[np.float32]) -> float:
    return float(((x.astype(float) - decoded) ** 2).sum() / (x.astype(float) ** 2).sum())


def expected(keep: tuple[int, ...]) -> float:
    """Return Σ σ²·D(bits) / Σ σ², the distortion of these bits; an axis without any loses all."""
    shares = SIGMAS**2 / (SIGMAS**2).sum()
    return float(
        sum(share * (theory_distortion(bits) if bits else 1) for share, bits in zip(shares, keep, strict=True))
    )


def test_distortion_is_that_of_the_allocation() -> None:
    basis, x = sample()
    q = codec(basis, "mse")
    found = error(x, q.decode(q.encode(x)))
    assert found == pytest.approx(expected((4, 2, 1)), rel=SAMPLING)
    # Rows of other norms have the same relative error.
    assert error(x * 1e10, q.decode(q.encode(x * np.float32(1e10)))) == pytest.approx(found, rel=1e-3)


def test_every_prefix_has_the_distortion_of_its_bits() -> None:
    basis, x = sample()
    q = codec(basis, "mse")
    codes = q.encode(x)
    for count in range(1, len(ORDER)):
        short = q.truncate(codes, 32 * count / DIM)
        assert short.keep == tuple(ORDER[:count].count(i) for i in range(3))
        # The top bits of a wider code lose up to 4 % against a code made with them (4 bits cut to 1: 5 %).
        assert expected(short.keep) * (1 - SAMPLING) < error(x, q.decode(short)) < expected(short.keep) * 1.12


def test_cuts_that_codes_cannot_give_are_refused() -> None:
    basis, x = sample()
    q = codec(basis, "mse")
    codes = q.encode(x[:5])
    short = q.truncate(codes, 64 / DIM)
    assert np.array_equal(q.truncate(short, 65 / DIM).packed, short.packed)
    for held, bits in ((short, 96 / DIM), (codes, 8)):
        with pytest.raises(ValueError, match=r"bits must be at most .*, which the codes hold, got"):
            q.truncate(held, bits)
    with pytest.raises(ValueError, match=r"bits must be at least .*, the first unit, got"):
        q.truncate(codes, 31 / DIM)


def test_scales_keep_their_promises() -> None:
    basis, x = sample()
    wide = x.astype(float)
    along = np.square(wide).sum(axis=1)
    # Rounding: T and rows in fixed point err by 2^-16 a value, 2^-16·√96 < 2e-4 a row; 5e-4 leaves room for float32.
    close = 5e-4
    matched = codec(basis, "matched")
    decoded = matched.decode(matched.encode(x)).astype(float)
    assert np.abs(np.square(decoded).sum(axis=1) / along - 1).max() < 2 * close
    unbiased = codec(basis, "unbiased")
    decoded = unbiased.decode(unbiased.encode(x)).astype(float)
    assert np.abs((decoded * wide).sum(axis=1) / along - 1).max() < 2 * close
    least = codec(basis, "mse")
    decoded = least.decode(least.encode(x)).astype(float)
    assert np.abs((decoded * (wide - decoded)).sum(axis=1) / along).max() < 2 * close


def test_energy_outside_the_axes_is_not_promised() -> None:
    basis, x = sample()
    sigmas = (SIGMAS[:2] / np.sqrt(32 * (SIGMAS**2).sum())).astype(np.float32)
    q = FittedTurboQuant(None, fixed_matrix(basis[:64]), sigmas, SEGMENTS[:2], ORDER[:6], scale="matched")
    along = x.astype(float) @ basis[:64].T
    norms = np.linalg.norm(q.decode(q.encode(x)).astype(float), axis=1)
    assert np.abs(norms / np.linalg.norm(along, axis=1) - 1).max() < 1e-3
    outside = (x.astype(float) @ basis[64:].T) @ basis[64:]
    decoded = q.decode(q.encode(outside.astype(np.float32)))
    assert np.linalg.norm(decoded, axis=1).max() < 1e-3 * np.linalg.norm(outside, axis=1).max()


def test_a_center_is_taken_off_and_put_back() -> None:
    basis, x = sample()
    mean = np.full(DIM, 5, np.float32)
    plain = codec(basis, "mse")
    centered = FittedTurboQuant(mean, plain.fitted.transform, plain.fitted.sigmas, SEGMENTS, ORDER, scale="mse")
    shifted = centered.decode(centered.encode(x + mean)) - mean
    assert error(x, shifted) == pytest.approx(error(x, plain.decode(plain.encode(x))), rel=1e-3)
    queries = x[:20] + mean
    exact = queries.astype(float) @ centered.decode(centered.encode(x + mean)).astype(float).T
    found = score(centered, queries, centered.encode(x + mean))
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(x, axis=1)
    # One-byte queries: a group's integers err by half of M/127, M the largest of 32 coordinates, up to 4 deviations.
    assert np.std((found - exact) / norms) < 4e-3


def test_refinement_lowers_the_error() -> None:
    basis, x = sample()
    plain, refined = codec(basis, "mse"), codec(basis, "mse", refine=16)
    assert error(x, refined.decode(refined.encode(x))) < error(x, plain.decode(plain.encode(x)))


def test_a_dual_scores_what_its_matrices_say() -> None:
    """Rows go through T, queries through U: scores estimate ⟨U q β, T x γ⟩ in the coordinates of unit variance."""
    parts = random_parts(64, 3, dual=True, widest=8)
    q = FittedTurboQuant(*parts[:5], **parts.dual, scale="mse")  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    x, queries = (rng.standard_normal((n, 64)).astype(np.float32) for n in (200, 20))
    codes = q.encode(x)
    decoded = q.decode(codes).astype(float)
    found, exact = score(q, queries, codes), queries.astype(float) @ decoded.T
    norms = np.linalg.norm(queries, axis=1)[:, None] * np.linalg.norm(decoded, axis=1)
    assert np.std((found - exact) / norms) < 4e-3


def test_fixed_point_keeps_its_bound_at_the_largest_dimension() -> None:
    """Products of 65,536 values that all round up fit int32, which the limit on norms promises."""
    dim = 65_536
    row = prepare(np.full((1, dim), 1.0, np.float32)).row
    fixed = fixed_point(row, norm(row))
    assert (fixed.astype(np.int64) ** 2).sum() <= NORM_LIMIT**2 < 2**31
    assert products(fixed, fixed)[0, 0] == (fixed.astype(np.int64) ** 2).sum()


def test_fixed_point_costs_no_distortion_that_shows() -> None:
    """Rounding errs by 1/12 of a unit squared in each value of T and of the row: 2·768/12 units squared in all.

    That is 0.0013 % of the distortion of 4 bits; a tenth more is ten standard errors of the sample.
    """
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((768, 768)))[0]
    x = rng.standard_normal((50, 768)).astype(np.float32)
    prepared = prepare(x)
    n = norm(prepared.row)
    t = products(fixed_point(prepared.row, n), fixed_matrix(basis)) / 32_000.0**2
    exact = (prepared.row.astype(float) / n[:, None]) @ basis.T
    share = ((t - exact) ** 2).sum() / (exact**2).sum()
    assert share < 1.1 * (2 * 768 / 12) / 32_000**2
