"""Scores of queries against codes: the package equals the NumPy reference to the bit, at every level."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import (
    EVERY_BITS,
    EVERY_DIM,
    SUBNORMAL,
    bits,
    dims,
    matrices,
    mixed_rows,
    pair,
    refines,
    row_of_kind,
    same,
    scales,
    seeds,
)
from turboquant_rs import TurboQuant
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference import score
from turboquant_rs.reference.units import stage_ends

Floats = np.ndarray[Any, np.dtype[np.float32]]

ROWS = ("normal", "sparse", "tiny", "zero", "constant")
QUERIES = ("normal", "one-hot", "zero", "wide")

#: Queries must have norms below 2^96; these are made to stay below it.
LARGE = 2.0**87


@cache
def _rotations(dim: int) -> list[Any]:
    return Reference(dim, 1, seed=dim).rotations


@cache
def _expected(dim: int, width: int) -> dict[int, Floats]:
    plain = Reference(dim, width, seed=dim)
    plain.rotations = _rotations(dim)
    codes = plain.encode(mixed_rows(dim, seed=dim, kinds=ROWS))
    queries = mixed_rows(dim, seed=dim + 1, kinds=QUERIES)
    return {end: score(plain, queries, plain.truncate(codes, end)) for end in stage_ends(width)}


def test_every_dimension_width_and_truncation(level: str) -> None:
    wrong = []
    for dim in EVERY_DIM:
        x, queries = mixed_rows(dim, seed=dim, kinds=ROWS), mixed_rows(dim, seed=dim + 1, kinds=QUERIES)
        for width in EVERY_BITS:
            q = TurboQuant(dim, width, seed=dim)
            codes = q.encode(x)
            wrong += [
                f"dim {dim}, top {end} of {width} bits"
                for end, want in _expected(dim, width).items()
                if not same(q.score(queries, codes.truncate(end)), want)
            ]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


def scaled_queries(dim: int, count: int, seed: int) -> Floats:
    """Queries of all magnitudes that are allowed, from subnormal to nearly 2^96."""
    rng = np.random.default_rng(seed)
    exponents = rng.choice([-149, -126, -60, 0, 0, 0, 60, 87], count)
    unit = np.stack([row_of_kind(str(rng.choice(["normal", "sparse", "whole"])), dim, rng) for _ in range(count)])
    return (np.clip(unit, -4, 4).astype(float) * 2.0 ** exponents[:, None]).astype(np.float32)


@given(data=st.data(), dim=dims(), width=bits(), seed=seeds(), scale=scales(), refine=refines(), nq=st.integers(0, 9))
def test_any_codec_rows_and_queries(
    level: str, data: st.DataObject, dim: int, width: int, seed: int, scale: str, refine: int | bool, nq: int
) -> None:
    q = pair(dim, width, seed=seed, scale=scale, refine=refine)
    x = data.draw(matrices(dim))
    queries = scaled_queries(dim, nq, seed % 1000) if nq else np.empty((0, dim), np.float32)
    fast, plain = q.fast.encode(x), q.plain.encode(x)
    assert same(q.fast.score(queries, fast), score(q.plain, queries, plain))


@cache
def _rows_queries_scores(dim: int, width: int) -> tuple[Floats, Floats, Floats]:
    x = np.concatenate([mixed_rows(dim, seed=s) for s in range(21)])
    queries = scaled_queries(dim, 300, 1)
    plain = Reference(dim, width, seed=3)
    return x, queries, score(plain, queries, plain.encode(x))


@pytest.mark.parametrize("width", [1, 4, 5, 8])
@pytest.mark.parametrize("dim", [31, 128, 1000])
def test_any_number_of_rows_and_queries(level: str, dim: int, width: int) -> None:
    """Counts around the blocks of a scan: 64 rows a panel, 256 queries a block."""
    x, queries, want = _rows_queries_scores(dim, width)
    q = TurboQuant(dim, width, seed=3)
    codes = q.encode(x)
    for n in (0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 257, 273):
        assert same(q.score(queries[:9], codes[:n]), want[:9, :n]), n
    for nq in (1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 300):
        for threads in (1, 2, 3):
            assert same(q.score(queries[:nq], codes, threads=threads), want[:nq]), (nq, threads)
    for at in (0, 100, 299):
        assert same(q.score(queries[at], codes), want[at])


def test_the_largest_dimension(level: str) -> None:
    x = mixed_rows(65_536, seed=2, kinds=("normal", "sparse", "constant"))
    for width in (4, 8):
        q = pair(65_536, width)
        assert same(q.fast.score(x, q.fast.encode(x)), score(q.plain, x, q.plain.encode(x)))


def test_the_largest_products_are_exact(level: str) -> None:
    """A query and a code that point the same way at every coordinate: sums of int8 products at their extremes.

    With the query at the inverse rotation of ±1 every query integer is ±127 (or 16,319), and so are the outer levels:
    what overflows a 16-bit or saturating accumulator shows here.
    """
    for dim in (64, 128, 1024, 4096):
        for width in (1, 2, 4, 5, 8):
            q = pair(dim, width, scale="paper")
            rotation = q.plain.rotations[0]
            for seed in range(3):
                pattern = np.where(np.random.default_rng(seed).random(dim) < 0.5, -1, 1).astype(np.float32)
                corner = rotation.apply_inverse(pattern[None])
                # Codes at the outer levels, set by hand: no vector's codes are all there.
                packed = q.plain.encode(corner)
                outer = np.where(pattern[None] > 0, 2**width - 1, 0).astype(np.uint8)
                extreme = _with_codes(q.plain, packed, outer)
                fast = q.fast.encode(corner)
                fast.packed[:] = extreme.packed
                both = np.concatenate([corner, -corner])
                assert same(q.fast.score(both, fast), score(q.plain, both, extreme)), (dim, width, seed)


def _with_codes(plain: Reference, like: Any, codes: np.ndarray[Any, np.dtype[np.uint8]]) -> Any:
    from dataclasses import replace

    from turboquant_rs.reference.units import pack

    width = plain.spec.segments[0].bits
    return replace(like, packed=pack(codes, width, width))


def test_tiny_scores_and_factors_flush_alike(level: str) -> None:
    """Products of tiny queries and tiny rows fall below the smallest normal number on both sides or on neither."""
    q = pair(5, 4)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((60, 5)) * 2.0 ** rng.integers(-126, -20, (60, 1))).astype(np.float32)
    queries = (rng.standard_normal((60, 5)) * 2.0 ** rng.integers(-149, 0, (60, 1))).astype(np.float32)
    queries[0] = SUBNORMAL
    want = score(q.plain, queries, q.plain.encode(x))
    assert (want == 0).any()
    assert (want != 0).any()
    assert same(q.fast.score(queries, q.fast.encode(x)), want)


def test_scores_beyond_float32_are_infinite_alike(level: str) -> None:
    q = pair(3, 4)
    x = np.full((2, 3), 2.0**120, np.float32)
    queries = np.array([[LARGE, LARGE, LARGE], [-LARGE, -LARGE, -LARGE], [0, 0, 0]], np.float32)
    want = score(q.plain, queries, q.plain.encode(x))
    assert np.isposinf(want[0]).all()
    assert np.isneginf(want[1]).all()
    assert same(q.fast.score(queries, q.fast.encode(x)), want)
