"""Arrays of vectors that are refused: wrong shapes, no real numbers, masked, not finite, beyond float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from subject import DIM, Subject, X, refuses
from turboquant_rs import Index, TurboQuant, _arrays


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject()


#: Everything that takes an array of vectors, with the name it gives it and the owner of the dimension.
TAKERS: dict[str, tuple[Callable[[Subject, Any], object], str, str]] = {
    "encode": (lambda s, x: s.q.encode(x), "x", "codec"),
    "score": (lambda s, x: s.q.score(x, s.codes), "queries", "codec"),
    "add": (lambda s, x: s.index.add(x), "x", "codec"),
    "search": (lambda s, x: s.index.search(x), "queries", "index"),
}
each_taker = pytest.mark.parametrize("name", TAKERS)


# --- what an array is --------------------------------------------------------------------------------------------


@each_taker
def test_wrong_shapes(name: str, subject: Subject) -> None:
    call, argument, owner = TAKERS[name]
    columns = f"{argument} must have {DIM} columns (the {owner}'s dim), got "
    for width in (0, 1, DIM - 1, DIM + 1, 2 * DIM):
        refuses(lambda width=width: call(subject, np.ones((3, width))), f"{columns}{width}", subject=subject)  # type: ignore[misc]
    for shape in [(), (2, 2, DIM), (1, 1, 1, DIM)]:
        text = f"{argument} must be a 2-D array (n, {DIM}), got {len(shape)}-D with shape {shape}"
        refuses(lambda shape=shape: call(subject, np.ones(shape)), text, subject=subject)  # type: ignore[misc]
    if argument == "queries":
        refuses(lambda: call(subject, np.ones(DIM + 1)), f"{columns}{DIM + 1}", subject=subject)
    else:
        text = f"{argument} must be a 2-D array (n, {DIM}), got 1-D with shape ({DIM},)"
        refuses(lambda: call(subject, np.ones(DIM)), text, subject=subject)


@each_taker
@pytest.mark.parametrize(
    "value",
    [
        np.ones((2, DIM), complex),
        np.ones((2, DIM), np.complex64),
        np.ones((2, DIM), object),
        np.full((2, DIM), "1"),
        np.full((2, DIM), b"1"),
        np.ones((2, DIM), "datetime64[s]"),
        np.ones((2, DIM), "timedelta64[s]"),
        np.ones((2, DIM), [("a", np.float32)]),
        np.ones((2, DIM), "V4"),
    ],
    ids=lambda value: str(value.dtype),
)
def test_arrays_that_hold_no_real_numbers(name: str, value: Any, subject: Subject) -> None:
    call, argument, _ = TAKERS[name]
    refuses(
        lambda: call(subject, value), f"{argument} must hold real numbers, got dtype {value.dtype}", TypeError, subject
    )


@each_taker
def test_lists_that_are_no_matrices_of_numbers(name: str, subject: Subject) -> None:
    call, argument, _ = TAKERS[name]
    for value in (None, {}, object(), [["a"] * DIM], [[None] * DIM], [[10**400] * DIM], "text", {1.0}):
        with pytest.raises(TypeError, match=rf"^{argument} must hold real numbers, got dtype "):
            call(subject, value)
    with pytest.raises(ValueError, match=rf"^{argument} must be a rectangular array of numbers: "):
        call(subject, [[1.0] * DIM, [1.0]])


@each_taker
def test_masked_arrays(name: str, subject: Subject) -> None:
    call, argument, _ = TAKERS[name]
    text = f"{argument} must be a plain array, got a masked array; fill it first"
    refuses(lambda: call(subject, np.ma.masked_array(X[:2], X[:2] > 0)), text, TypeError, subject)


# --- values ------------------------------------------------------------------------------------------------------


@each_taker
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4", "longdouble"])
@pytest.mark.parametrize(("value", "text"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_values_that_are_not_finite(name: str, dtype: str, value: float, text: str, subject: Subject) -> None:
    call, argument, _ = TAKERS[name]
    for row, column in [(0, 0), (7, DIM - 1), (49, 3)]:
        x = X.astype(dtype)
        x[row, column] = value
        x[49, DIM - 1] = value  # the first one in reading order is named
        message = f"{argument} must be finite, got {text} at row {row}, column {column}"
        refuses(lambda x=x: call(subject, x), message, subject=subject)  # type: ignore[misc]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("threads", [1, 3])
def test_values_that_are_not_finite_beyond_the_first_block(dtype: str, threads: int) -> None:
    dim = 512
    rows = 2 * _arrays.BLOCK_BYTES // (4 * dim) + 100
    q, index = TurboQuant(dim, 1), Index(dim, 1)
    x = np.zeros((rows, dim), dtype)
    x[:, 0] = 1
    for row in (rows // 2 + 777, rows - 1):
        x[row, 500] = np.nan
        x[rows - 1, 501] = np.inf
        message = f"x must be finite, got NaN at row {row}, column 500"
        refuses(lambda: q.encode(x, threads=threads), message)
        refuses(lambda: index.add(x, threads=threads), message)
        assert len(index) == 0
        x[row, 500] = 0
        x[row, 501] = 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_queries_that_are_not_finite_beyond_the_first_block(dtype: str, subject: Subject) -> None:
    queries = np.ones((9_000, DIM), dtype)
    queries[8_765, 4] = np.inf
    message = "queries must be finite, got inf at row 8765, column 4"
    refuses(lambda: subject.index.search(queries, 1), message, subject=subject)
    refuses(lambda: subject.q.score(queries, subject.codes), message, subject=subject)
    refuses(lambda: Index(DIM).search(queries, 1), message)
    refuses(lambda: subject.q.score(queries, subject.codes[:0]), message, subject=subject)


@each_taker
def test_values_beyond_float32(name: str, subject: Subject) -> None:
    call, argument, _ = TAKERS[name]
    for dtype, value in (("float64", 1e39), ("float64", -1e300), ("longdouble", 1e39)):
        x = X.astype(dtype)
        x[31, 5] = x[40, 1] = value
        with pytest.raises(ValueError, match=rf"^{argument} must fit float32, got .* at row 31, column 5$") as caught:
            call(subject, x)
        assert dtype == "longdouble" or f"{value:.0e}" in str(caught.value)
    if argument == "queries":
        with pytest.raises(ValueError, match=r"^queries must fit float32, got .* at row 0, column 2$"):
            call(subject, [0.0, 0.0, 1e39] + [0.0] * (DIM - 3))


def test_values_beyond_float32_beyond_the_first_block() -> None:
    rows = _arrays.BLOCK_BYTES // (4 * 512) + 100
    x = np.zeros((rows, 512))
    x[rows - 9, 500] = -1e39
    with pytest.raises(ValueError, match=rf"^x must fit float32, got .*1e\+39.* at row {rows - 9}, column 500$"):
        TurboQuant(512, 1).encode(x)


@pytest.mark.parametrize("metric", ["ip", "cosine", "l2"])
def test_norms_beyond_what_a_metric_allows(metric: str) -> None:
    subject = Subject(metric)
    big = {"ip": 2.0**127, "cosine": 2.0**127, "l2": 2.0**62}[metric]
    x = X.copy()
    x[20], x[30] = big, big  # norms of big·√24
    if metric == "cosine":
        assert len(subject.index.add(x)) == 50, "a cosine needs no norm"
    else:
        limit = "below 2^63 for squared L2 distances" if metric == "l2" else "within float32"
        text = f"x must have norms {limit}, got a larger one at row 20"
        refuses(lambda: subject.index.add(x), text, subject=subject)
    queries = X.copy()
    queries[41] = {"ip": 2.0**94, "cosine": 2.0**127, "l2": 2.0**61}[metric]
    if metric == "cosine":
        assert np.isfinite(subject.index.search(queries)[0]).all()
    else:
        limit = "below 2^63 for squared L2 distances" if metric == "l2" else "below 2^96"
        text = f"queries must have norms {limit}, got a larger one at row 41"
        refuses(lambda: subject.index.search(queries), text, subject=subject)
    queries[41] = 2.0**94
    text = "queries must have norms below 2^96, got a larger one at row 41"
    refuses(lambda: subject.q.score(queries, subject.codes), text, subject=subject)
