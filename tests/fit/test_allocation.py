"""Allocation: exact in bytes, widths that never increase, no worse than bit by bit; the order in which bits count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from turboquant_rs.fit.allocation import BLOCK, PRICE, Allocation, allocate, budget, greedy, unit_order
from turboquant_rs.fit.distortion import distortion, distortions
from turboquant_rs.reference.codebook import boundaries, levels

Costs = NDArray[np.float64]

#: Sums of up to 200 doubles in another order: 200 roundings of at most 2^-53 each, with room.
ROUNDING = 1e-12


@st.composite
def spectra(draw: st.DrawFn) -> tuple[Costs, int]:
    """Descending costs of any decay, some of them 0, and a number of bytes that they can take."""
    dim = draw(st.integers(1, 200))
    decay = draw(st.floats(0, 4))
    costs = np.arange(1, dim + 1, dtype=np.float64) ** -decay
    costs[draw(st.integers(1, dim)) :] = 0.0
    return costs, draw(st.integers(1, 8 * -(-dim // BLOCK)))


def assert_sound(found: Allocation, costs: Costs, nbytes: int) -> None:
    """The promises of an allocation."""
    assert found.nbytes == nbytes
    assert found.axes <= len(costs)
    assert all(1 <= bits <= 8 for _, bits in found.segments)
    assert all(a[1] >= b[1] for a, b in pairwise(found.segments))
    # Only the last axes may fill less than a byte, and only where there are no more.
    assert all(axes % BLOCK == 0 for axes, _ in found.segments[:-1])
    assert found.segments[-1][0] % BLOCK == 0 or found.axes == len(costs)


@given(spectra())
def test_bytes_are_met_and_widths_never_increase(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    assert_sound(allocate(costs, nbytes), costs, nbytes)
    assert_sound(greedy(costs, nbytes), costs, nbytes)


@given(spectra())
def test_the_programme_is_never_worse_than_greedy_at_the_same_price(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    one_by_one, found = greedy(costs, nbytes), allocate(costs, nbytes)
    fee = PRICE * one_by_one.objective
    # Greedy's runs, cut into segments that the programme may have.
    cuts = sum(-(-axes // (4 * BLOCK)) for axes, _ in one_by_one.segments)
    paid = found.objective + fee * len(found.segments)
    assert paid <= (one_by_one.objective + fee * cuts) * (1 + ROUNDING)


@given(spectra())
def test_without_a_price_greedy_is_the_least(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    free = allocate(costs, nbytes, price=0.0)
    if len(costs) % BLOCK == 0:
        assert free.objective == pytest.approx(greedy(costs, nbytes).objective, rel=ROUNDING, abs=ROUNDING)


def test_greedy_equals_every_other_way_to_spend() -> None:
    costs = np.repeat([9.0, 4.0, 1.0], BLOCK)
    ways = [(a, b, c) for a in range(9) for b in range(a + 1) for c in range(b + 1) if a + b + c == 7]
    least = min(
        sum(BLOCK * cost * distortion(bits) for cost, bits in zip((9.0, 4.0, 1.0), way, strict=True)) for way in ways
    )
    assert greedy(costs, 7).objective == pytest.approx(least, rel=ROUNDING)


@pytest.mark.parametrize("bits", [0.25, 0.5, 1, 1.5, 2, 2.25, 3, 4, 8])
@pytest.mark.parametrize("dim", [8, 100, 384, 768])
def test_any_average_is_met_exactly(dim: int, bits: float) -> None:
    costs = np.arange(1, dim + 1) ** -0.5
    nbytes = budget(dim, bits)
    assert nbytes == max(1, -(-round(4 * dim * bits) // 32))
    assert allocate(costs, nbytes).nbytes == nbytes


def test_tenths_do_not_round_up() -> None:
    assert budget(80, 2.3) == 23
    assert budget(800, 1.1) == 110


def test_more_bytes_than_eight_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nbytes must be between 1 and 8, got 9"):
        allocate(np.ones(8), 9)


@given(spectra())
def test_every_prefix_of_the_order_is_the_best_of_its_size(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    segments = allocate(costs, nbytes).segments
    order = unit_order(segments, costs)
    assert [order.count(s) for s in range(len(segments))] == [bits for _, bits in segments]
    starts = np.cumsum([0] + [axes for axes, _ in segments])
    worth = [costs[a:b].sum() / -(-(b - a) // BLOCK) for a, b in pairwise(starts)]
    taken = [0] * len(segments)
    gains = []
    for segment in order:
        gains.append(worth[segment] * -np.diff(distortions())[taken[segment]])
        taken[segment] += 1
    assert all(a >= b for a, b in pairwise(gains))


@pytest.mark.parametrize("bits", range(1, 9))
def test_distortions_are_those_of_the_tables(bits: int) -> None:
    """Against a sum over a fine grid: midpoints of 2^18 cells in ±8 are within 1e-8 of the integral."""
    y = (np.arange(1 << 18) + 0.5) / (1 << 14) - 8.0
    table = levels(bits, bits, 65_536)
    error = (y - table[np.searchsorted(boundaries(table), y)]) ** 2
    mass = np.exp(-0.5 * y * y) / np.sqrt(2 * np.pi) / (1 << 14)
    assert distortion(bits) == pytest.approx(float(np.sum(error * mass)), abs=1e-8)
    assert np.all(np.diff(distortions(), 2) > 0)
