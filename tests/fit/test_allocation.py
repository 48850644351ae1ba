"""Allocation: exact in bytes, widths that never increase, no worse than bit by bit; the order in which bits count."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from turboquant_rs.fit.allocation import BLOCK, PRICE, Allocation, allocate, budget, greedy, stops
from turboquant_rs.fit.distortion import distortion, distortions
from turboquant_rs.fit.order import unit_order
from turboquant_rs.fit.prefixes import ENOUGH, allocate_with_prefixes, prefix_losses
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
    one_by_one, found = greedy(costs, nbytes), allocate(costs, nbytes, prefix=0.0)
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


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_no_codec_has_more_than_255_segments(power: float) -> None:
    costs = np.arange(1, 8192 + 1) ** -power
    assert len(allocate(costs, budget(8192, 4)).segments) <= 255


def test_more_bytes_than_eight_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"nbytes must be between 1 and 8, got 9"):
        allocate(np.ones(8), 9)


@given(spectra())
def test_between_whole_bits_units_come_by_what_they_buy(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    segments = allocate(costs, nbytes).segments
    order = unit_order(segments, costs)
    assert [order.count(s) for s in range(len(segments))] == [bits for _, bits in segments]
    starts = np.cumsum([0] + [axes for axes, _ in segments])
    sizes = [-(-axes // BLOCK) for axes, _ in segments]
    worth = [costs[a:b].sum() / size for (a, b), size in zip(pairwise(starts), sizes, strict=True)]
    taken, gains, ends = [0] * len(segments), [], [0]
    for segment in order:
        gains.append(worth[segment] * -np.diff(distortions())[taken[segment]])
        taken[segment] += 1
        ends.append(ends[-1] + sizes[segment])
    # A unit that buys more than the one before begins where a prefix ends: the last of at most a stop's bytes.
    prefixes = {max(i for i, end in enumerate(ends) if end <= stop) for stop in stops(len(costs), nbytes)}
    assert all(a >= b or i + 1 in prefixes for i, (a, b) in enumerate(pairwise(gains)))


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=4), st.integers(0, 2**32 - 1))
def test_a_prefix_of_one_bit_is_the_best_that_fits(cut: list[tuple[int, int]], seed: int) -> None:
    """Against every way to keep bits of the segments."""
    segments = [(blocks * BLOCK, bits) for blocks, bits in sorted(cut, key=lambda one: -one[1])]
    dim = sum(axes for axes, _ in segments)
    costs = -np.sort(-np.random.default_rng(seed).pareto(1.0, dim))
    starts = np.cumsum([0] + [axes for axes, _ in segments])
    sums = [costs[a:b].sum() for a, b in pairwise(starts)]

    def left(keep: tuple[int, ...]) -> float:
        return float(sum(total * distortions()[kept] for total, kept in zip(sums, keep, strict=True)))

    room = dim // BLOCK
    ways = product(*(range(bits + 1) for _, bits in segments))
    least = min(
        left(way) for way in ways if sum(k * m // BLOCK for k, (m, _) in zip(way, segments, strict=True)) <= room
    )
    keep, spent = [0] * len(segments), 0
    for segment in unit_order(segments, costs):
        spent += segments[segment][0] // BLOCK
        if spent > room:
            break
        keep[segment] += 1
    assert left(tuple(keep)) == pytest.approx(least, rel=ROUNDING)


def test_blocks_of_unlike_costs_are_parted_for_prefixes() -> None:
    """All four get 3 bits in the whole code; the last one gets none of the first byte a block."""
    costs = np.repeat([2.0, 1.0, 0.8, 0.6], BLOCK)
    assert allocate(costs, 4 * 3, prefix=0.0).segments == ((32, 3),)
    assert allocate(costs, 4 * 3, prefix=0.1).segments == ((24, 3), (8, 3))
    # Without shorter prefixes, or with blocks that are alike, there is nothing to lose.
    assert allocate(costs, 4) == allocate(costs, 4, prefix=0.0)
    assert allocate(np.ones(32), 4 * 3).segments == ((32, 3),)


def test_prefixes_of_few_bytes_are_nearly_the_best_of_their_size() -> None:
    """128 axes with the variances of SIFT descriptors: a segment of 32 takes a quarter of the first bit's bytes."""
    permille = [1000, 40, 18, 11, 7.5, 5.9, 4.6, 3.5, 2.7, 2.2, 1.8, 1.5, 1.2, 1.0, 0.7, 0.5]
    costs = np.repeat(permille, BLOCK) ** 1.5
    first, found = allocate(costs, 64), allocate_with_prefixes(costs, 64)
    assert max(prefix_losses(first.segments, unit_order(first.segments, costs), costs)) > ENOUGH
    assert max(prefix_losses(found[0].segments, found[1], costs)) <= ENOUGH
    assert_sound(found[0], costs, 64)
    # Without shorter prefixes the first weight is enough.
    assert allocate_with_prefixes(costs, 16)[0] == allocate(costs, 16)


@given(spectra())
def test_a_larger_weight_is_taken_only_where_prefixes_lose_less(case: tuple[Costs, int]) -> None:
    costs, nbytes = case
    found, order = allocate_with_prefixes(costs, nbytes)
    assert_sound(found, costs, nbytes)
    assert order == unit_order(found.segments, costs)
    first = allocate(costs, nbytes)
    before, after = (
        max(prefix_losses(one.segments, unit_order(one.segments, costs), costs), default=0.0) for one in (first, found)
    )
    assert found == first if before <= ENOUGH else after <= before


@pytest.mark.parametrize("bits", range(1, 9))
def test_distortions_are_those_of_the_tables(bits: int) -> None:
    """Against a sum over a fine grid: midpoints of 2^18 cells in ±8 are within 1e-8 of the integral."""
    y = (np.arange(1 << 18) + 0.5) / (1 << 14) - 8.0
    table = levels(bits, bits, 65_536)
    error = (y - table[np.searchsorted(boundaries(table), y)]) ** 2
    mass = np.exp(-0.5 * y * y) / np.sqrt(2 * np.pi) / (1 << 14)
    assert distortion(bits) == pytest.approx(float(np.sum(error * mass)), abs=1e-8)
    assert np.all(np.diff(distortions(), 2) > 0)
