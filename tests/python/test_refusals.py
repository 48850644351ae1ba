"""What is refused: the message names the argument, what was expected and what came; the object stays as it was."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from subject import DIM, Subject, X, refuses
from turboquant_rs import Codes, Index, TurboQuant


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject()


# --- the constructor ---------------------------------------------------------------------------------------------

INTEGERS = {"dim": (1, 65_536), "bits": (1, 8), "seed": (0, 2**64 - 1)}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_out_of_range(name: str) -> None:
    low, high = INTEGERS[name]
    for value in (low - 1, high + 1, -(10**30), 10**30):
        limits = f"between {low} and {high}" if high < sys.maxsize else f"at least {low}"
        if value > high and name == "seed":
            limits = f"at most {high}"
        with pytest.raises(ValueError, match=rf"^{name} must be ") as caught:
            TurboQuant(**{"dim": 8, name: value})
        assert str(value) in str(caught.value)
        assert str(high) in str(caught.value) or value < low, "the message must name the limit that was broken"
        assert limits in str(caught.value)


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", [True, False, np.True_, 4.0, np.float32(4), "4", None, [4], 4 + 0j])
def test_integers_of_another_type(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=rf"^{name} must be an integer, got {re.escape(repr(value))}"):
        TurboQuant(**{"dim": 8, name: value})


def test_vectors_or_an_average_in_place_of_an_integer() -> None:
    refuses(lambda: Index(X), f"dim must be an integer, got an array of shape {X.shape} (ndarray)", TypeError)  # type: ignore[arg-type]
    advice = "a fit to a sample takes any average: TurboQuant.fit(sample, 1.5)"
    refuses(lambda: TurboQuant(8, 1.5), f"bits must be an integer, got 1.5 (float); {advice}", TypeError)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.int8(5), np.uint64(5), np.array(5)])
def test_integers_of_any_kind_are_taken(value: Any) -> None:
    q = TurboQuant(value, value, seed=value)
    assert q == TurboQuant(5, 5, seed=5)
    assert {type(q.dim), type(q.bits), type(q.seed)} == {int}


@pytest.mark.parametrize("value", ["", "MSE", "euclid", None, 3, ["mse"], b"mse"])
def test_names(value: Any) -> None:
    refuses(lambda: TurboQuant(8, scale=value), f'scale must be "unbiased", "mse", "matched", "paper", got {value!r}')
    refuses(lambda: Index(8, metric=value), f'metric must be "ip", "cosine", "l2", got {value!r}')
    refuses(lambda: TurboQuant(8, rotation=value), f'rotation must be "hadamard", "dense", got {value!r}')


def test_a_dense_rotation_has_a_largest_dim() -> None:
    refuses(
        lambda: TurboQuant(4097, rotation="dense"), 'dim must be between 1 and 4096 with rotation "dense", got 4097'
    )
    assert TurboQuant(4096, rotation="dense").nbytes > 4 * 4096**2


@pytest.mark.parametrize("value", [0, 1, 7, 64, -8, True, None, "16", 8.0, 16.5, [8]])
def test_refine(value: Any) -> None:
    refuses(lambda: TurboQuant(8, refine=value), f"refine must be False, 8, 16 or 32, got {value!r}")


def test_an_index_of_nothing_or_of_two_things() -> None:
    q = TurboQuant(8, 3)
    refuses(lambda: Index(), "dim must be given, or a codec", TypeError)
    refuses(lambda: Index(codec="q"), "codec must be a TurboQuant, got str", TypeError)  # type: ignore[arg-type]
    text = "dim and bits must be the codec's (TurboQuant(dim=8, bits=3)) or left out, got dim={}, bits={}"
    refuses(lambda: Index(9, codec=q), text.format(9, None))
    refuses(lambda: Index(8, 4, codec=q), text.format(8, 4))
    assert Index(8, 3, codec=q).codec is q


# --- counts, ids, codes ------------------------------------------------------------------------------------------


def test_k(subject: Subject) -> None:
    search = subject.index.search
    for value in (0, -1, -(10**20)):
        refuses(lambda value=value: search(X, value), f"k must be at least 1, got {value}", subject=subject)  # type: ignore[misc]
    for value in (True, 1.0, "1", None, [1]):
        text = f"k must be an integer, got {value!r}"
        with pytest.raises(TypeError, match=f"^{re.escape(text)}"):
            search(X, value)  # type: ignore[arg-type]
    for value in (2**63 - 1, 2**62, 2**60, 2**58):
        with pytest.raises(ValueError, match=rf"^k must be small enough .* got {value}$"):
            search(X, value)
        with pytest.raises(ValueError, match=r"^k must be "):
            search(X[:0], value)
    for value in (2**63, 2**64, 10**30):
        with pytest.raises(ValueError, match=rf"^k must be .* got {value}$"):
            search(X, value)


MUCH = """
import resource
import numpy as np
from turboquant_rs import Index
index = Index(4)
index.add(np.eye(4))
index.search(np.eye(4)[0], 4)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = size + (1 << 29)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for k in [1 << 20, 1 << 24, 1 << 25, 1 << 26, 1 << 30, 1 << 40]:
    try:
        scores, ids = index.search(np.eye(4)[0], k)
        assert ids[:4].max() == 3 and ids[4] == -1
        print("found")
    except (ValueError, MemoryError) as error:
        assert str(k) in str(error), error
        print("refused")
    scores = ids = None
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the address space, as Linux does it")
def test_a_k_that_memory_does_not_hold_ends_no_process() -> None:
    """Twelve bytes a place: results of up to 768 MiB in an address space of 512 MiB, of which some must be refused."""
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    done = subprocess.run([sys.executable, "-c", MUCH], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) == {"found", "refused"}


def test_ids(subject: Subject) -> None:
    add = subject.index.add
    two = X[:2]
    cases: list[tuple[Any, str, type[Exception]]] = [
        ([1], "ids must be one a row (2), got 1", ValueError),
        ([1, 2, 4], "ids must be one a row (2), got 3", ValueError),
        ([], "ids must be one a row (2), got 0", ValueError),
        ([1, -1], "ids must be at least 0 (−1 marks empty places), got -1", ValueError),
        ([1, -(2**63)], f"ids must be at least 0 (−1 marks empty places), got {-(2**63)}", ValueError),
        ([7, 7], "ids must be new and distinct, got 7 a second time", ValueError),
        ([7, 3], "ids must be new and distinct, got 3 a second time", ValueError),
        (np.array([1, 2**63], np.uint64), f"ids must be below 2**63, got {2**63}", ValueError),
        ([[1, 2]], "ids must be a 1-D array, got 2-D with shape (1, 2)", ValueError),
        (5, "ids must be a 1-D array, got 0-D with shape ()", ValueError),
        ([1.0, 2.0], "ids must be integers or strings, got dtype float64", TypeError),
        ([True, False], "ids must be integers or strings, got dtype bool", TypeError),
        (["1", "2"], "ids must be integers, as those of the index's rows are, got strings", ValueError),
        (["1", 2], "ids must be all integers or all strings, got 2 among strings", TypeError),
        (["1", "\ud800"], "ids must be text that UTF-8 can hold, got '\\ud800'", ValueError),
        (np.array([["1", "2"]]), "ids must be a 1-D array, got 2-D with shape (1, 2)", ValueError),
        ("1", "ids must be one a row, a sequence of integers or strings, got the string '1'", TypeError),
        ([1, None], "ids must be integers or strings, got dtype object", TypeError),
    ]
    for ids, text, error in cases:
        refuses(lambda ids=ids: add(two, ids), text, error, subject)  # type: ignore[misc]
        refuses(lambda ids=ids: subject.index.add_codes(subject.codes[:2], ids), text, error, subject)  # type: ignore[misc]
    for ids in ([1, 2**63], [2**64, 1], [-1, 2**63], [10**30, 1]):
        with pytest.raises((ValueError, TypeError), match=r"^ids must be "):
            add(two, ids)


def test_masked_ids() -> None:
    subject, masked = Subject(), np.ma.masked_array([1, 2], [True, False])
    text = "ids must be a plain array, got a masked array; fill it first"
    refuses(lambda: subject.index.add(X[:2], masked), text, TypeError, subject)
    refuses(lambda: subject.index.reconstruct(masked), text, TypeError, subject)


def test_default_ids_after_the_largest() -> None:
    index = Index(DIM)
    index.add(X[:1], [2**63 - 1])
    refuses(lambda: index.add(X[:1]), "ids must be given, since the largest id is in use, got none")
    assert index.ids.tolist() == [2**63 - 1]
    assert index.add(X[:1], [0]).tolist() == [0]


def test_ids_to_reconstruct(subject: Subject) -> None:
    for ids in (1, [0, 1], np.array([3, -1]), 2**62):
        with pytest.raises(KeyError, match="ids must be in the index, got"):
            subject.index.reconstruct(ids)
    for ids in (True, 1.0, [1.0], None):
        with pytest.raises(TypeError, match="ids must be integers"):
            subject.index.reconstruct(ids)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        TurboQuant(DIM, 4, seed=2),
        TurboQuant(DIM, 3, seed=1),
        TurboQuant(DIM + 1, 4, seed=1),
        TurboQuant(DIM, 4, seed=1, scale="mse"),
    ],
    ids=repr,
)
def test_codes_of_another_codec(other: TurboQuant, subject: Subject) -> None:
    foreign = other.encode(np.ones((2, other.dim)))
    text = (
        f"codes must come from this codec, {subject.q!r} with fingerprint {subject.q.fingerprint:016x}; "
        f"got codes of {other!r} with {other.fingerprint:016x}"
    )
    refuses(lambda: subject.q.decode(foreign), text, subject=subject)
    refuses(lambda: subject.q.score(X, foreign), text, subject=subject)
    refuses(lambda: subject.index.add_codes(foreign), text, subject=subject)
    refuses(lambda: subject.q.decode(X), "codes must be Codes, got ndarray", TypeError, subject)  # type: ignore[arg-type]
    refuses(lambda: subject.index.add_codes(X), "codes must be Codes, got ndarray", TypeError, subject)  # type: ignore[arg-type]


def test_codes_that_an_index_cannot_hold(subject: Subject) -> None:
    text = "codes must be whole, 4 bits, got codes truncated to 2"
    refuses(lambda: subject.index.add_codes(subject.codes.truncate(2)), text, subject=subject)
    for metric in ("cosine", "l2"):
        other = Subject(metric)
        text = f'metric must be "ip" to add codes, got "{metric}"; add the vectors instead'
        refuses(lambda other=other: other.index.add_codes(other.codes), text, subject=other)  # type: ignore[misc]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scales_that_are_not_finite(value: float) -> None:
    """No encoder makes them; whoever fills the arrays himself must not get rows that no search finds."""
    subject = Subject()
    scales = subject.codes.scales.copy()
    scales[3] = value
    made = Codes(subject.codes.packed, scales, subject.q, 4)
    before = subject.state()
    with pytest.raises(ValueError, match=r"scales must be finite, got .* at row 3"):
        subject.index.add_codes(made)
    assert subject.state() == before


def test_bits_to_truncate_to(subject: Subject) -> None:
    codes = subject.codes
    for bits, full in ((3, codes), (5, codes), (8, codes), (4, codes.truncate(2)), (2, codes.truncate(1))):
        allowed = [b for b in (1, 2, 4) if b <= full.bits]
        text = f"bits must be one of {allowed} (where a stage ends), got {bits}"
        refuses(lambda full=full, bits=bits: full.truncate(bits), text, subject=subject)  # type: ignore[misc]
    for value in (0, 9, -1):
        refuses(lambda value=value: codes.truncate(value), f"bits must be between 1 and 8, got {value}")  # type: ignore[misc]
    for value in (True, 2.0, "2", None):
        with pytest.raises(TypeError, match=r"^bits must be an integer, got"):
            codes.truncate(value)  # type: ignore[arg-type]


def test_deviations(subject: Subject) -> None:
    before = subject.state()
    searches: list[Callable[[Any], object]] = [
        lambda value: subject.index.search(X, deviations=value),
        lambda value: subject.index.range_search(X, 0.0, deviations=value),
    ]
    for search in searches:
        for value in (-0.5, 1000.5, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=rf"^deviations must be 0 to 1000, got {value}$"):
                search(value)
        for other in (True, "2", None, [3.0]):
            with pytest.raises(TypeError, match=r"^deviations must be a number, got"):
                search(other)
    assert subject.state() == before


def test_threads(subject: Subject) -> None:
    calls: list[Callable[[Any], object]] = [
        lambda t: subject.q.encode(X, threads=t),
        lambda t: subject.q.decode(subject.codes, threads=t),
        lambda t: subject.q.score(X, subject.codes, threads=t),
        lambda t: subject.index.add(X, threads=t),
        lambda t: subject.index.search(X, threads=t),
    ]
    before = subject.state()
    for call in calls:
        for value in (0, -1, 10**9):
            with pytest.raises(ValueError, match=rf"^threads must be between 1 and 4096, got {value}$"):
                call(value)
        for other in (True, 1.0, "2"):
            with pytest.raises(TypeError, match=r"^threads must be an integer, got"):
                call(other)
    assert subject.state() == before
