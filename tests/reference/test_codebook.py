"""The shipped codebooks against the solver of equation 4, and the solver against closed forms and published digits."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from published import BETA_DISTORTION
from turboquant_rs.reference import codebook, lloyd_max, make_tables
from turboquant_rs.reference.codebook import beta_offset, boundaries, integer_levels, levels, masses
from turboquant_rs.reference.lloyd_max import solve

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(codebook.__file__).parent
RUST = ROOT / "rust/core/src/codebook"

BITS = range(1, 9)
SAMPLE_DIMS = (2, 3, 4, 5, 6, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 96, 126, 127)
WIDTHS = [(bits, keep) for bits in BITS for keep in range(1, bits + 1)]

# Independent solutions (regularised incomplete beta, Lloyd and Newton), in unit-variance coordinates, as printed.
GAUSSIAN_DIGITS = {
    1: "0.7978846",
    2: "0.4527800 1.5104176",
    3: "0.2450942 0.7560053 1.3439093 2.1519457",
    4: "0.1283950 0.3880483 0.6567591 0.9423405 1.2562312 1.6180464 2.0690172 2.7325896",
    5: "0.0658897 0.1980518 0.3313783 0.4666995 0.6049336 0.7471357 0.8945651 1.0487833 "
    "1.2118044 1.3863403 1.5762281 1.7872332 2.0287284 2.3177394 2.6911196 3.2607325",
    6: "0.033410 0.100278 0.167297 0.234567 0.302193 0.370283 0.438950 0.508314 0.578503 0.649656 0.721922 "
    "0.795468 0.870477 0.947155 1.025736 1.106488 1.189720 1.275794 1.365141 1.458276 1.555831 1.658589 "
    "1.767542 1.883977 2.009611 2.146810 2.298981 2.471305 2.672274 2.917407 3.240437 3.744101",
}
GAUSSIAN_THRESHOLDS = {
    2: "0.9815988",
    3: "0.5005497 1.0499573 1.7479275",
    4: "0.2582217 0.5224037 0.7995498 1.0992858 1.4371388 1.8435318 2.4008034",
}
GAUSSIAN_OUTERMOST = {6: "3.7441013", 7: "4.189694", 8: "4.603536"}
GAUSSIAN_DISTORTION = "0.36338023 0.11748185 0.03454776 0.00950101 0.00250467 0.00064424 0.00016348 0.00004119"
BETA_DIGITS = {
    64: {
        1: "0.801007",
        2: "0.452119 1.499975",
        3: "0.243753 0.750658 1.329343 2.111311",
        4: "0.127352 0.384718 0.650494 0.931894 1.239404 1.590849 2.023310 2.646370",
    },
    128: {
        1: "0.799444",
        2: "0.452453 1.505193",
        3: "0.244425 0.753330 1.336599 2.131471",
        4: "0.127873 0.386381 0.653619 0.937097 1.247770 1.604343 2.045925 2.688859",
    },
    256: {
        1: "0.798664",
        2: "0.452618 1.507805",
        3: "0.244760 0.754667 1.340247 2.141669",
        4: "0.128134 0.387214 0.655187 0.939714 1.251989 1.611168 2.057411 2.710567",
    },
}
# Distortion under the Beta law when the Gaussian levels are used.
GAUSSIAN_ON_BETA = {
    32: "0.353396 0.111684 0.032474 0.008927 2.362e-3 6.091e-4 1.547e-4 3.898e-5",
    64: "0.358397 0.114546 0.033444 0.009171 2.417e-3 6.222e-4 1.580e-4 3.981e-5",
}


def assert_digits(values, printed: str) -> None:
    """Each value is within one unit of the last digit printed."""
    words = printed.split()
    assert len(words) == len(values)
    for value, word in zip(values, words, strict=True):
        mantissa, _, exponent = word.partition("e")
        unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
        assert abs(value - float(word)) <= unit, (value, word)


def positive(values):
    return values[len(values) // 2 :]


def assert_within_one_ulp(shipped, derived) -> None:
    # exp, sin and cos may differ in their last bit between platforms, and a solution may lie beside a rounding edge.
    assert shipped.dtype == derived.dtype == np.float32
    np.testing.assert_array_max_ulp(shipped, derived, maxulp=1)


def distortion(law, c):
    """E(x − nearest level)² for any positive levels ``c`` of a symmetric codebook."""
    masses, moments = lloyd_max.cell_integrals(law, c)
    return 1 - 4 * (c * moments).sum() + 2 * (c * c * masses).sum()


# --- the shipped tables -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bits", "keep"), WIDTHS)
def test_gaussian_levels_are_the_solution_rounded_once(bits: int, keep: int) -> None:
    assert_within_one_ulp(levels(bits, keep, 768), solve(bits).keep(keep).levels.astype(np.float32))


@pytest.mark.parametrize("dim", SAMPLE_DIMS)
def test_beta_levels_are_the_solution_rounded_once(dim: int) -> None:
    table = np.frombuffer((PYTHON / "beta_levels.bin").read_bytes(), dtype="<f4")
    for bits in BITS:
        quantizer = solve(bits, dim)
        for keep in range(1, bits + 1):
            start, count = beta_offset(dim, bits, keep), 1 << (keep - 1)
            derived = make_tables.positive_levels(quantizer, keep)
            assert_within_one_ulp(table[start : start + count].astype(np.float32), derived)
            if dim < 64 or bits > 4:
                assert_within_one_ulp(levels(bits, keep, dim), quantizer.keep(keep).levels.astype(np.float32))


def test_beta_table_has_a_run_for_every_width_and_no_gap() -> None:
    expected = 0
    for dim in range(2, 128):
        for bits in BITS:
            for keep in range(bits, 0, -1):
                assert beta_offset(dim, bits, keep) == expected
                expected += 1 << (keep - 1)
    assert (PYTHON / "beta_levels.bin").stat().st_size == 4 * expected == 253_008


def test_rust_has_the_same_tables() -> None:
    if not RUST.is_dir():
        pytest.skip("no Rust sources beside the tests")
    assert (RUST / "beta_levels.bin").read_bytes() == (PYTHON / "beta_levels.bin").read_bytes()
    shipped = [[np.array(half, dtype=np.float32) for half in row] for row in codebook.GAUSSIAN]
    assert (RUST / "gaussian_levels.rs").read_text(encoding="utf-8") == make_tables.rust_source(shipped)
    assert (PYTHON / "gaussian_levels.py").read_text(encoding="utf-8") == make_tables.python_source(shipped)


def test_decimal_literals_name_float32_exactly() -> None:
    for row in codebook.GAUSSIAN:
        for half in row:
            assert [str(np.float32(c)) for c in half] == [repr(c) for c in half]


@pytest.mark.parametrize("dim", [1, *SAMPLE_DIMS, 128, 65_536])
def test_levels_are_symmetric_ascending_float32(dim: int) -> None:
    for bits, keep in WIDTHS:
        c = levels(bits, keep, dim)
        assert c.dtype == np.float32
        assert c.shape == (1 << keep,)
        assert (np.diff(c) > 0).all()
        assert (c == -c[::-1]).all()
        assert not c.flags.writeable
        if dim < 64:
            assert c[-1] <= np.float32(math.sqrt(dim))
        b = boundaries(c)
        assert b.dtype == np.float32
        assert b.shape == ((1 << keep) - 1,)
        assert ((c[:-1] < b) & (b < c[1:])).all()
        assert (b == -b[::-1]).all()


def test_which_dimensions_use_the_gaussian_table() -> None:
    for bits in BITS:
        gaussian = levels(bits, bits, 65_536)
        assert levels(bits, bits, 128) is gaussian
        assert (levels(bits, bits, 127) is gaussian) == (bits <= 4)
        assert (levels(bits, bits, 64) is gaussian) == (bits <= 4)
        assert (levels(bits, bits, 63) != gaussian).all()


def test_the_gaussian_table_costs_less_than_half_a_percent_where_it_is_used() -> None:
    for dim, widest in ((64, 4), (128, 8)):
        law = lloyd_max.beta_law(dim)
        for bits in range(1, widest + 1):
            used = distortion(law, positive(levels(bits, bits, dim)).astype(np.float64))
            assert used < 1.005 * solve(bits, dim).distortion


def test_one_dimension_is_a_sign_with_exact_ends() -> None:
    for bits, keep in WIDTHS:
        c = levels(bits, keep, 1)
        assert c[0] == -1
        assert c[-1] == 1
        np.testing.assert_allclose(np.diff(c), 2 / ((1 << keep) - 1), rtol=0, atol=1.2e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 0, 8), r"bits must be between 1 and 8, got 0"),
        ((9, 1, 8), r"bits must be between 1 and 8, got 9"),
        ((4, 0, 8), r"keep must be between 1 and bits \(4\), got 0"),
        ((4, 5, 8), r"keep must be between 1 and bits \(4\), got 5"),
        ((4, 4, 0), r"dim must be at least 1, got 0"),
    ],
)
def test_levels_refuses(arguments: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        levels(*arguments)


# --- integer levels ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 2, 3, 31, 63, 64, 127, 128])
def test_integer_levels(dim: int) -> None:
    for (bits, keep), most in product(WIDTHS, (4, 5)):
        c = levels(bits, keep, dim)
        ints, scale = integer_levels(bits, keep, dim, fitted=most == 5)
        assert isinstance(scale, np.float32)
        assert ints.dtype == (np.int8 if keep <= most else np.int16)
        ints = ints.astype(np.int64)
        assert (ints == -ints[::-1]).all()
        assert (np.diff(ints) > 0).all()
        assert ints[-1] == 16_319 if keep > most else 64 <= ints[-1] <= 127
        error = np.abs(c.astype(np.float64) - float(scale) * ints)
        assert error.max() <= float(scale)  # half a step of rounding; refitting α moves the outer levels by less


def test_masses_are_those_of_the_solver() -> None:
    for dim in (2, 31, 768):
        for bits, keep in WIDTHS:
            exact = solve(bits, None if dim == 768 else dim).keep(keep).masses
            # A share divides differences of float32 levels, of relative error 2^-24·c/(e − d): below 1e-4 at 8 bits.
            np.testing.assert_allclose(masses(bits, keep, dim), exact, rtol=1e-3, atol=1e-6)


def test_integer_levels_take_the_best_of_the_tops() -> None:
    for bits in (1, 2, 3, 4, 5):
        c, p = levels(bits, bits, 768).astype(np.float64), solve(bits).masses
        rounded = np.rint(c / (c[-1] / np.arange(127, 63, -1)[:, None]))
        alpha = (p * c * rounded).sum(axis=1) / (p * rounded**2).sum(axis=1)
        squares = (p * (c - rounded * alpha[:, None]) ** 2).sum(axis=1)
        ints, scale = integer_levels(bits, bits, 768, fitted=True)
        assert (p * (c - float(scale) * ints) ** 2).sum() <= squares.min() * 1.0001 + 1e-14
        # Scores are neither stretched nor shrunk: what least squares leaves is the squared error itself.
        assert abs((p * c * float(scale) * ints).sum() / (p * c * c).sum() - 1) < 4e-5


def test_two_byte_integers_split_into_signed_bytes() -> None:
    for bits in range(5, 9):
        ints = integer_levels(bits, bits, 768)[0].astype(np.int64)
        high = (ints + 64) >> 7
        low = ints - 128 * high
        assert np.abs(high).max() <= 127
        assert low.min() >= -64
        assert low.max() <= 63


# --- the solver -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [None, 2, 3, 4, 5, 16, 63, 127, 1024, 65_536])
def test_solutions_are_stationary(dim: int | None) -> None:
    for bits in BITS:
        q = solve(bits, dim)
        assert q.residual < 1e-12
        np.testing.assert_array_equal(q.levels, -q.levels[::-1])
        np.testing.assert_array_equal(q.boundaries[: 1 << (bits - 1)], -q.boundaries[::-1][: 1 << (bits - 1)])
        assert (np.diff(q.levels) > 0).all()
        assert q.masses.sum() == pytest.approx(1, abs=1e-10)  # lgamma of 32768 costs digits
        if dim is not None:
            assert q.levels[-1] < math.sqrt(dim)


@pytest.mark.parametrize("bits", BITS)
def test_gaussian_solution_is_stationary_by_the_error_function(bits: int) -> None:
    q = solve(bits)
    edges = [0.0, *positive(q.boundaries)[1:], math.inf] if bits > 1 else [0.0, math.inf]
    tail = np.array([0.5 * math.erfc(x / math.sqrt(2)) for x in edges])
    density = np.array([math.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) for x in edges])
    masses, moments = -np.diff(tail), -np.diff(density)
    np.testing.assert_allclose(positive(q.masses), masses, rtol=0, atol=1e-14)
    np.testing.assert_allclose(positive(q.levels) * masses, moments, rtol=0, atol=1e-14)


@pytest.mark.parametrize("dim", [2, 3, 4, 31, 64, 127, 4096])
def test_beta_solution_is_stationary_by_the_closed_partial_mean(dim: int) -> None:
    constant = math.exp(math.lgamma(dim / 2) - math.lgamma((dim - 1) / 2)) / math.sqrt(math.pi)
    for bits in (1, 4, 8):
        q = solve(bits, dim)
        edges = np.append(positive(q.boundaries) if bits > 1 else [0.0], math.sqrt(dim)) / math.sqrt(dim)
        moments = -math.sqrt(dim) * constant / (dim - 1) * np.diff((1 - edges**2) ** ((dim - 1) / 2))
        np.testing.assert_allclose(positive(q.levels) * positive(q.masses), moments, rtol=0, atol=1e-12)


def test_three_dimensions_are_uniform() -> None:
    for bits in BITS:
        q = solve(bits, 3)
        step = 2 * math.sqrt(3) / (1 << bits)
        np.testing.assert_allclose(q.levels, (np.arange(1 << bits) + 0.5) * step - math.sqrt(3), rtol=0, atol=1e-12)
        assert q.distortion == pytest.approx(step * step / 12, rel=1e-9)


def test_two_dimensions_are_the_arcsine_law() -> None:
    assert solve(1, 2).levels[1] == pytest.approx(math.sqrt(2) * 2 / math.pi, rel=1e-14)
    for bits in BITS:
        q = solve(bits, 2)
        edges = np.arcsin(np.concatenate([[-1], q.boundaries / math.sqrt(2), [1]]))
        np.testing.assert_allclose(q.masses, np.diff(edges) / math.pi, rtol=1e-12)


def test_published_gaussian_digits() -> None:
    for bits, printed in GAUSSIAN_DIGITS.items():
        assert_digits(positive(solve(bits).levels), printed)
    for bits, printed in GAUSSIAN_THRESHOLDS.items():
        assert_digits(positive(solve(bits).boundaries)[1:], printed)
    for bits, printed in GAUSSIAN_OUTERMOST.items():
        assert_digits(solve(bits).levels[-1:], printed)
    assert_digits([solve(bits).distortion for bits in BITS], GAUSSIAN_DISTORTION)


def test_published_beta_digits() -> None:
    for dim, widths in BETA_DIGITS.items():
        for bits, printed in widths.items():
            assert_digits(positive(solve(bits, dim).levels), printed)
    for dim, printed in BETA_DISTORTION.items():
        assert_digits([solve(bits, dim).distortion for bits in BITS], printed)
    for dim, printed in GAUSSIAN_ON_BETA.items():
        law = lloyd_max.beta_law(dim)
        assert_digits([distortion(law, positive(solve(bits).levels)) for bits in BITS], printed)


def test_one_bit_has_a_closed_form() -> None:
    """The paper's ±√(2/(πd)), exactly: E|x| = Γ(d/2)·√d / (√π·Γ((d+1)/2)) in unit-variance coordinates."""
    assert solve(1).levels[1] == pytest.approx(math.sqrt(2 / math.pi), rel=1e-15)
    for dim in (2, 3, 64, 127, 1024):
        log = math.lgamma(dim / 2) - math.lgamma((dim + 1) / 2)
        assert solve(1, dim).levels[1] == pytest.approx(math.sqrt(dim / math.pi) * math.exp(log), rel=1e-11)


def test_kept_bits_cost_almost_nothing() -> None:
    for bits in BITS:
        q = solve(bits)
        assert q.keep(1).distortion == pytest.approx(1 - 2 / math.pi, abs=1e-12)
        costs = [q.keep(keep).distortion / solve(keep).distortion for keep in range(1, bits + 1)]
        assert min(costs) > 1 - 1e-9
        assert max(costs) < 1.056
    assert_digits([solve(4).keep(2).distortion, solve(4).keep(3).distortion], "0.12029 0.03485")
    assert_digits([solve(8).keep(2).distortion, solve(8).keep(4).distortion], "0.12398 0.00976")


def test_kept_levels_are_conditional_means() -> None:
    """The mean square error of drawn coordinates falls short of the promise by sampling error only."""
    x = np.random.default_rng(0).standard_normal(400_000)
    for bits, keep in ((4, 2), (8, 4), (3, 1)):
        q = solve(bits)
        codes = np.searchsorted(q.boundaries, x) >> (bits - keep)
        kept = q.keep(keep)
        assert np.mean((x - kept.levels[codes]) ** 2) == pytest.approx(kept.distortion, rel=0.02)
        for code in range(1 << keep):
            cell = x[codes == code]
            assert abs(cell.mean() - kept.levels[code]) < 5 * cell.std() / math.sqrt(len(cell))
        np.testing.assert_allclose(kept.masses.sum(), 1, atol=1e-12)
        assert len(kept.boundaries) == (1 << keep) - 1


def test_the_solver_refuses() -> None:
    with pytest.raises(ValueError, match="bits must be at least 1, got 0"):
        solve(0)
    with pytest.raises(ValueError, match="dim must be at least 2, got 1"):
        solve(4, 1)
    with pytest.raises(ValueError, match="bits must be between 1 and 4, got 5"):
        solve(4).keep(5)
