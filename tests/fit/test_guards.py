"""What a fit refuses, and when it returns a plain codec; each with its message."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
import turboquant_rs
from numpy.typing import NDArray
from turboquant_rs import Index, TurboQuant
from turboquant_rs.evaluation import generators
from turboquant_rs.fit import FitWarning

Rows = NDArray[np.float32]


def skewed(n: int, dim: int = 32, seed: int = 0) -> Rows:
    """Rows whose variance falls along the coordinates."""
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((n, dim)) / np.arange(1, dim + 1)).astype(np.float32)


def with_value(value: float) -> Rows:
    """A sample with one bad value."""
    x = skewed(400)
    x[7, 3] = value
    return x


REFUSED: list[tuple[str, Any, dict[str, Any], str]] = [
    ("few rows", skewed(255), {}, r"sample must have at least 256 rows, .* got 255; a plain codec"),
    ("no rows", np.empty((0, 8)), {}, r"sample must have at least 256 rows, .* got 0"),
    ("one row", np.ones(8), {}, r"sample must be a 2-D array \(n, dim\), got 1-D with shape \(8,\)"),
    ("columns", np.empty((300, 8193), np.float16), {}, r"sample must have 1 to 8,192 columns to fit, got 8,193"),
    ("nan", with_value(np.nan), {}, r"sample must be finite, got nan at row 7, column 3"),
    ("inf", with_value(-np.inf), {}, r"sample must be finite, got -inf at row 7, column 3"),
    ("beyond float32", np.full((300, 8), 1e39), {}, r"sample must fit float32, got 1e\+39 at row 0, column 0"),
    ("no bits", skewed(400), {"bits": 0}, r"bits must be above 0 and at most 8, got 0"),
    ("many bits", skewed(400), {"bits": 8.5}, r"bits must be above 0 and at most 8, got 8\.5"),
    ("nan bits", skewed(400), {"bits": float("nan")}, r"bits must be above 0 and at most 8, got nan"),
    ("less than a byte", skewed(400), {"bits": 0.2}, r"bits must be at least 8/dim = 0\.25, .* got 0\.2"),
    (
        "few columns",
        skewed(400, 3),
        {},
        r"sample must have at least 4 columns to fit at 2 bits .*, got 3, too few; a plain codec takes any$",
    ),
    ("center", skewed(400), {"center": "mean"}, r'center must be "auto", True or False, got \'mean\''),
    ("metric", skewed(400), {"metric": "dot"}, r'metric must be "ip", "cosine", "l2", got \'dot\''),
    ("scale", skewed(400), {"scale": "paper"}, r'scale must be "unbiased", "mse", "matched", got \'paper\''),
    ("refine", skewed(400), {"refine": 4}, r"refine must be False, 8, 16 or 32, got 4"),
    ("seed", skewed(400), {"seed": -1}, r"seed must be at least 0, got -1"),
    (
        "few queries",
        skewed(400),
        {"queries": skewed(63)},
        r"queries must have at least 64 rows, .* got 63; or leave queries out$",
    ),
    ("other queries", skewed(400), {"queries": skewed(99, 31)}, r"queries must have 32 columns .* got 31"),
    (
        "nan queries",
        skewed(400),
        {"queries": with_value(np.nan)},
        r"queries must be finite, got nan at row 7, column 3",
    ),
]


@pytest.mark.parametrize(("sample", "options", "message"), [c[1:] for c in REFUSED], ids=[c[0] for c in REFUSED])
def test_refusals_name_the_argument(sample: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TurboQuant.fit(sample, **({"bits": 2} | options))


@pytest.mark.parametrize("bits", ["2", True, None, 2j])
def test_bits_of_other_types_are_refused(bits: Any) -> None:
    with pytest.raises(TypeError, match="bits must be a number, got"):
        TurboQuant.fit(skewed(400), bits)


def test_complex_and_masked_samples_are_refused() -> None:
    with pytest.raises(TypeError, match="sample must hold real numbers, got dtype complex128"):
        TurboQuant.fit(np.ones((300, 8), np.complex128))
    with pytest.raises(TypeError, match="sample must be a plain array, got a masked array"):
        TurboQuant.fit(np.ma.masked_array(np.ones((300, 8))))


@pytest.mark.parametrize("value", [0.0, 1.0, -3e30, 1e-42])
@pytest.mark.parametrize("bits", [1, 1.5])
def test_a_sample_without_differences_gives_plain(value: float, bits: float) -> None:
    with pytest.warns(FitWarning, match="fit returns a plain codec: the rows of the sample do not differ"):
        codec = TurboQuant.fit(np.full((300, 16), value, np.float32), bits)
    assert not codec.report().fitted
    assert codec.report().reason == "the rows of the sample do not differ"
    assert codec.bytes_per_vector() == 2 * bits + 4


@pytest.mark.parametrize("name", ["isotropic", "one_hot", "two_sparse"])
def test_where_nothing_is_gained_plain_comes_back(name: str) -> None:
    sample = generators.GENERATORS[name](2000, 128).base
    with pytest.warns(FitWarning, match="fit returns a plain codec: it"):
        codec = TurboQuant.fit(sample, 2, seed=3)
    assert codec == TurboQuant(128, 2, seed=3)
    report = codec.report()
    assert not report.fitted
    assert "plain, because it" in str(report)


def test_plain_at_a_broken_number_of_bits_takes_the_same_bytes() -> None:
    with pytest.warns(FitWarning, match="plain"):
        codec = TurboQuant.fit(generators.isotropic(2000, 128).base, 2.5)
    assert codec.bytes_per_vector() == 40 + 4
    assert not codec.report().fitted


def test_few_rows_for_the_dimensions_warn() -> None:
    sample = generators.embedding_like(400, 768, decay=0.6).base
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        codec = TurboQuant.fit(sample, 1)
    (warning,) = caught
    assert codec.report().fitted
    assert codec.report().shrinkage > 0.25
    assert str(warning.message).startswith("sample has 400 rows, few for 768 dimensions: ")
    assert warning.filename == __file__


def test_one_dimension_is_fitted_or_plain() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        codec = TurboQuant.fit(np.random.default_rng(0).standard_normal((300, 1)), 8)
    assert len(codec.encode(np.ones((2, 1)))) == 2


def test_an_index_of_a_bad_metric_is_refused_before_the_fit() -> None:
    with pytest.raises(ValueError, match="metric must be"):
        Index.fit(skewed(10), metric="dot")  # type: ignore[arg-type]


def test_wrong_options_name_what_users_know() -> None:
    for cls in (TurboQuant, Index):
        with pytest.raises(TypeError, match=rf"^{cls.__name__}\.fit\(\) got an unexpected keyword argument 'centre'"):
            cls.fit(skewed(400), centre=True)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"^TurboQuant\.report\(\) takes"):
        TurboQuant(8).report(1)  # type: ignore[call-arg]


def test_an_index_hands_every_option_on() -> None:
    """Index.fit spells out the options of TurboQuant.fit, with its defaults, and passes them."""
    own, inner = (inspect.signature(cls.fit).parameters for cls in (Index, TurboQuant))  # type: ignore[attr-defined]
    handed = {name: p.default for name, p in own.items() if name != "keep"}
    assert handed == {name: p.default for name, p in inner.items()}
    options: dict[str, Any] = {"center": False, "scale": "mse", "refine": 8, "seed": 5, "threads": 1}
    x = skewed(600)
    for more in ({}, {"queries": skewed(100, seed=1)}):
        index = Index.fit(x, 2, "cosine", **options, **more)
        assert index.codec == TurboQuant.fit(x, 2, metric="cosine", **options, **more)
        assert index.codec.refine == 8


def test_results_have_public_types() -> None:
    codec = TurboQuant.fit(skewed(600), 2)
    assert type(codec.report()) is turboquant_rs.Report
    assert type(codec.drift(skewed(300))) is turboquant_rs.Drift


def test_reports_are_of_this_process() -> None:
    codec = TurboQuant.fit(skewed(600), 2)
    for other in (TurboQuant(32, 2), TurboQuant.from_bytes(codec.to_bytes())):
        with pytest.raises(ValueError, match=r"report is there for codecs that TurboQuant\.fit returned"):
            other.report()
