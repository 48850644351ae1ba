"""What entropy coding would save: known values, limits, and what is measured on coordinates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from turboquant_rs.evaluation.entropy import entropy, huffman, measured, of_entropy, of_error, uniform
from turboquant_rs.reference.lloyd_max import solve

#: Entropy and Huffman length of Lloyd–Max codes of N(0, 1) for 1 … 8 bits, computed independently.
ENTROPIES = (1, 1.9111, 2.8249, 3.7653, 4.7298, 5.7101, 6.6996, 7.6941)
HUFFMAN = (1, 1.9894, 2.8843, 3.8092, 4.7709, 5.7496, 6.7380, 7.7321)


@pytest.mark.parametrize("bits", range(1, 9))
def test_lloyd_max_codes(bits: int) -> None:
    masses = solve(bits).masses
    assert entropy(masses) == pytest.approx(ENTROPIES[bits - 1], abs=6e-5)
    assert huffman(masses) == pytest.approx(HUFFMAN[bits - 1], abs=6e-5)
    assert entropy(masses) <= huffman(masses) + 1e-12 < entropy(masses) + 1


def test_a_huffman_code_is_the_shortest_of_all() -> None:
    """Against every assignment of lengths that Kraft's inequality allows, for five symbols."""
    masses = np.array([0.4, 0.25, 0.2, 0.1, 0.05])
    allowed = (
        lengths for lengths in itertools.product(range(1, 5), repeat=5) if sum(2.0**-length for length in lengths) <= 1
    )
    assert huffman(masses) == pytest.approx(min(float(np.dot(masses, lengths)) for lengths in allowed), abs=1e-12)


def test_a_fine_uniform_quantiser_is_as_theory_says() -> None:
    """Cells of width w have error w²/12, and entropy h − log2 w with h = ½·log2(2πe): so D·4^H = 2πe/12 (1.53 dB)."""
    fine = uniform(0.05)
    assert fine.distortion == pytest.approx(0.05**2 / 12, rel=1e-3)
    assert fine.entropy == pytest.approx(0.5 * math.log2(2 * math.pi * math.e) - math.log2(0.05), abs=1e-3)
    assert fine.distortion * 4**fine.entropy == pytest.approx(2 * math.pi * math.e / 12, rel=1e-4)


def test_it_saves_where_lloyd_max_codes_save_little() -> None:
    saved = {bits: bits - of_error(solve(bits).distortion).entropy for bits in (2, 3, 4)}
    assert saved == pytest.approx({2: 0.20, 3: 0.32, 4: 0.39}, abs=0.005)
    for bits in (1, 2, 3, 4, 8):
        assert of_error(solve(bits).distortion).distortion == pytest.approx(solve(bits).distortion, rel=1e-9)
        assert of_entropy(bits).entropy == pytest.approx(bits, abs=1e-9)
        assert 4.0**-bits < of_entropy(bits).distortion < solve(bits).distortion


def test_measured_on_normals() -> None:
    """A million values: squares of a uniform error deviate by 0.9 of their mean, theirs by 0.0009; the bar is six."""
    y = np.random.default_rng(0).standard_normal(1_000_000)
    for step in (0.3, 1.0, 2.0):
        expected = uniform(step)
        bits, error = measured(y, expected)
        assert error == pytest.approx(expected.distortion, rel=6e-3)
        assert bits == pytest.approx(expected.entropy, abs=6e-3)
