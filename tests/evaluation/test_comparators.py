"""The comparators have the errors that their papers and independent simulations give them."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from turboquant_rs.evaluation.comparators import _swept, eden, rabitq, rotated, uniform_levels
from turboquant_rs.reference.lloyd_max import solve

Floats = np.ndarray[Any, np.dtype[np.float64]]

#: d·Var of the unbiased scale at ρ = 0, and D of the least-error scale, at 128 dimensions: simulated independently,
#: with standard errors of 0.1–0.2 %. By bits: EDEN unbiased and mse, RaBitQ unbiased and mse, swept Lloyd–Max mse.
PUBLISHED = {
    1: (0.56851, 0.36104, 0.56851, 0.36104, 0.36104),
    2: (0.13083, 0.11543, 0.13164, 0.11605, 0.11441),
    3: (0.03477, 0.03357, 0.03645, 0.03512, 0.03162),
    4: (0.009284, 0.009194, 0.009998, 0.009892, 0.007762),
}


def unit_rows(n: int, dim: int) -> Floats:
    x = np.random.default_rng(n).standard_normal((n, dim))
    return rotated(x / np.linalg.norm(x, axis=1, keepdims=True))


@pytest.mark.parametrize("bits", PUBLISHED)
def test_errors_at_128_dimensions(bits: int) -> None:
    """3,000 rows: the mean's standard error is about 0.4 %, the bar 2 %."""
    y = unit_rows(3000, 128)
    found = (
        eden(y, bits),
        eden(y, bits, scale="mse"),
        rabitq(y, bits),
        rabitq(y, bits, scale="mse"),
        eden(y, bits, scale="mse", refine=True),
    )
    for got, want, name in zip(
        found, PUBLISHED[bits], ("eden", "eden mse", "rabitq", "rabitq mse", "swept"), strict=True
    ):
        error = np.sum((got - y) ** 2, axis=1).mean()
        assert error == pytest.approx(want, rel=0.02), name


@pytest.mark.parametrize("bits", [2, 3])
def test_the_sweep_finds_the_best_of_all_codes(bits: int) -> None:
    """Against every code of five coordinates: the rounding of t·y over all t > 0 holds the code of largest cosine."""
    rng = np.random.default_rng(bits)
    for levels in (uniform_levels(bits), solve(bits).levels):
        codes = np.array(list(itertools.product(levels, repeat=4)))
        y = rng.standard_normal((40, 4))
        cosines = y @ codes.T / np.linalg.norm(codes, axis=1)
        swept = _swept(y, levels)
        found = np.sum(y * swept, axis=1) / np.linalg.norm(swept, axis=1)
        assert np.allclose(found, cosines.max(axis=1), rtol=1e-12)


def test_the_unbiased_scale_is_unbiased_and_exact_along_the_vector() -> None:
    y = unit_rows(200, 64)
    for approximation in (eden(y, 1), eden(y, 3), rabitq(y, 1), rabitq(y, 3)):
        assert np.allclose(np.sum(y * approximation, axis=1), np.sum(y * y, axis=1), rtol=1e-12)
