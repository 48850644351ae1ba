"""Inputs for property tests, and the comparison of the package with its NumPy reference, bit for bit."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray
from turboquant_rs import TurboQuant
from turboquant_rs.reference import Codes as ReferenceCodes
from turboquant_rs.reference import TurboQuant as Reference

#: Every SIMD level name that the project knows, on any machine.
KNOWN_LEVELS = ("scalar", "avx2", "avxvnni", "avx512", "avx512vnni", "amx", "neon", "neon_dot", "neon_i8mm")

#: Every dimension that the parity tests visit, besides 65,535 and 65,536.
EVERY_DIM = (*range(1, 131), 200, 300, 384, 500, 768, 769, 1000, 1024, 1032, 1536, 3072)
EVERY_BITS = tuple(range(1, 9))
SCALES = ("unbiased", "mse", "matched", "paper")
REFINES = (False, 8, 16, 32)
METRICS = ("ip", "cosine", "l2")

#: Rows of every kind that needs care; `row_of_kind` makes them.
KINDS = (
    "normal",
    "zero",
    "negative zero",
    "subnormal",
    "tiny",
    "huge",
    "wide",
    "one-hot",
    "2-sparse",
    "sparse",
    "constant",
    "whole",
    "duplicate",
)

#: Magnitudes of "huge" rows: with 65,536 coordinates a norm stays below 2^123, so that every scale fits float32.
HUGE = 2.0**115
#: The smallest subnormal float32.
SUBNORMAL = 2.0**-149


def required_levels() -> set[str]:
    """Return the levels that ``TURBOQUANT_REQUIRE_SIMD`` names."""
    return {name.strip() for name in os.environ.get("TURBOQUANT_REQUIRE_SIMD", "").split(",") if name.strip()}


class Pair(NamedTuple):
    """The package's codec and the reference's, of the same parameters."""

    fast: TurboQuant
    plain: Reference


def pair(dim: int, bits: int = 4, **options: Any) -> Pair:
    """Return both codecs."""
    return Pair(TurboQuant(dim, bits, **options), Reference(dim, bits, **options))


def row_of_kind(kind: str, dim: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return one row (dim,) float32 of a kind of `KINDS`; a "duplicate" is the same for every generator."""
    row = np.zeros(dim)
    if kind == "normal":
        row = rng.standard_normal(dim)
    elif kind == "negative zero":
        row = np.where(rng.random(dim) < 0.5, -0.0, 0.0)
    elif kind == "subnormal":
        row = rng.integers(-(2**22), 2**22, dim) * SUBNORMAL
    elif kind == "tiny":  # about the smallest normal number: some coordinates are subnormal and still count
        row = rng.standard_normal(dim) * 2.0**-125
    elif kind == "huge":
        row = rng.uniform(-1, 1, dim) * HUGE
    elif kind == "wide":  # 60 binary orders of magnitude in one row
        row = rng.standard_normal(dim) * 2.0 ** rng.integers(-50, 10, dim)
    elif kind in ("one-hot", "2-sparse", "sparse"):
        count = {"one-hot": 1, "2-sparse": 2, "sparse": 1 + dim // 10}[kind]
        places = rng.choice(dim, min(count, dim), replace=False)
        row[places] = rng.choice([-1.0, 1.0], len(places)) * (1 if kind != "sparse" else rng.random(len(places)))
    elif kind == "constant":
        row[:] = rng.standard_normal()
    elif kind == "whole":  # sums cancel to exact zeros, which sit on a boundary
        row = rng.integers(-3, 4, dim).astype(float)
    elif kind == "duplicate":
        row = np.sin(np.arange(1, dim + 1))
    elif kind != "zero":
        raise ValueError(kind)
    return row.astype(np.float32)


def mixed_rows(dim: int, seed: int, kinds: tuple[str, ...] = KINDS) -> NDArray[np.float32]:
    """Return one row of every kind, (len(kinds), dim) float32."""
    rng = np.random.default_rng(seed)
    return np.stack([row_of_kind(kind, dim, rng) for kind in kinds])


def dims(largest: int = 3072) -> st.SearchStrategy[int]:
    """Return dimensions from `EVERY_DIM`, and any other up to 300."""
    return st.sampled_from([d for d in EVERY_DIM if d <= largest]) | st.integers(1, min(300, largest))


def bits() -> st.SearchStrategy[int]:
    """Return widths."""
    return st.sampled_from(EVERY_BITS)


def seeds() -> st.SearchStrategy[int]:
    """Return codec seeds, the ends of their range among them."""
    return st.sampled_from([0, 1, 2**32, 2**63, 2**64 - 1]) | st.integers(0, 2**64 - 1)


def scales() -> st.SearchStrategy[str]:
    """Return names of scales."""
    return st.sampled_from(SCALES)


def refines() -> st.SearchStrategy[bool | int]:
    """Return settings of ``refine``."""
    return st.sampled_from(REFINES)


@st.composite
def matrices(draw: st.DrawFn, dim: int, rows: tuple[int, int] = (1, 12)) -> NDArray[np.float32]:
    """Return rows of awkward kinds in any order, (n, dim) float32; of few coordinates, sometimes any finite floats."""
    if dim <= 16 and draw(st.booleans()):
        floats = st.floats(-HUGE, HUGE, width=32, allow_nan=False)
        count = draw(st.integers(*rows))
        result: NDArray[np.float32] = draw(npst.arrays(np.float32, (count, dim), elements=floats))
        return result
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=rows[0], max_size=rows[1]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.array([row_of_kind(kind, dim, rng) for kind in kinds], np.float32).reshape(-1, dim)


def same(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two arrays have one shape, dtype and bytes: −0 differs from 0."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def differences(fast: Any, plain: ReferenceCodes) -> list[str]:
    """Return which of packed codes, scales and serialised bytes differ between the package and the reference."""
    found = []
    if not same(fast.packed, plain.packed):
        found.append("packed")
    if not same(fast.scales, plain.scales):
        found.append("scales")
    if fast.to_bytes() != plain.to_bytes():
        found.append("bytes")
    return found


def assert_same(fast: Any, plain: ReferenceCodes) -> None:
    """Assert that codes, scales and serialised bytes are equal to the bit."""
    assert differences(fast, plain) == []
