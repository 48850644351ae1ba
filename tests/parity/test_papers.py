"""QJL, TurboQuantProd and PolarQuant: the package equals the reference to the bit, at every level."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, differences, matrices, mixed_rows, same, seeds
from turboquant_rs import QJL, PolarQuant, TurboQuantProd
from turboquant_rs import reference as plain
from turboquant_rs.reference.haar import haar

PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
#: Dimensions and signs: every remainder of a register, and runs of several rotations.
SKETCHES = [
    (1, 1),
    (1, 9),
    (2, 3),
    (3, 3),
    (5, 40),
    (8, 8),
    (17, 31),
    (31, 33),
    (32, 32),
    (64, 100),
    (97, 97),
    (100, 7),
    (128, 256),
    (200, 130),
]
POLAR = [
    (2, (1,)),
    (2, (8,)),
    (4, (2, 1)),
    (4, (3, 8)),
    (6, (3,)),
    (8, (4, 2, 2)),
    (16, (4, 2, 2, 2)),
    (48, (5, 3, 2, 1)),
    (64, (4, 3, 3, 3, 3, 3)),
    (100, (4, 2)),
    (128, (4, 2, 2, 2)),
    (200, (2, 7, 1)),
    (256, (1, 2, 3, 4, 5, 6, 7, 8)),
    (768, (4, 3, 2, 2)),
]
#: Rows that float16 can hold.
MODEST = ("normal", "zero", "negative zero", "subnormal", "tiny", "one-hot", "2-sparse", "sparse", "constant", "whole")


def compare(fast: Any, reference: Any, x: Any, queries: Any) -> list[str]:
    """Return what differs between the two codecs' codes, bytes, decoded rows and scores."""
    got, want = fast.encode(x), reference.encode(x)
    found = differences(got, want)
    if not same(fast.decode(got), reference.decode(want)):
        found.append("decoded")
    if not same(fast.score(queries, got), reference.score(queries, want)):
        found.append("scores")
    return found


def queries_of(dim: int, seed: int) -> Any:
    kinds = ("normal", "zero", "tiny", "wide", "one-hot", "whole", "constant")
    return mixed_rows(dim, seed + 1000, kinds)


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize(("dim", "size"), SKETCHES)
def test_sketches(level: str, dim: int, size: int, projection: Any) -> None:
    fast = QJL(dim, size, projection=projection, seed=dim)
    reference = plain.QJL(dim, size, projection=projection, seed=dim)
    assert compare(fast, reference, mixed_rows(dim, dim), queries_of(dim, dim)) == []


@pytest.mark.parametrize("projection", PROJECTIONS)
@pytest.mark.parametrize("bits", range(1, 9))
def test_prod(level: str, bits: int, projection: Any) -> None:
    wrong = []
    for dim in (1, 2, 3, 8, 31, 33, 64, 97, 128):
        fast = TurboQuantProd(dim, bits, projection=projection, seed=dim)
        reference = plain.TurboQuantProd(dim, bits, projection=projection, seed=dim)
        found = compare(fast, reference, mixed_rows(dim, dim), queries_of(dim, dim))
        if found:
            wrong.append(f"dim {dim}: {found}")
    assert not wrong


@pytest.mark.parametrize("radius", ["float16", "float32"])
@pytest.mark.parametrize(("dim", "bits"), POLAR)
def test_polar(level: str, dim: int, bits: tuple[int, ...], radius: Any) -> None:
    fast = PolarQuant(dim, len(bits), bits, radius=radius, seed=dim)
    reference = plain.PolarQuant(dim, len(bits), bits, radius=radius, seed=dim)
    x = mixed_rows(dim, dim, KINDS if radius == "float32" else MODEST)
    assert compare(fast, reference, x, queries_of(dim, dim)) == []
    codes = fast.encode(x)
    assert same(fast.radii(codes), reference.radii(reference.encode(x)))


@given(data=st.data(), dim=st.integers(1, 80), seed=seeds(), projection=st.sampled_from(PROJECTIONS))
def test_any_sketch_and_matrix(level: str, data: st.DataObject, dim: int, seed: int, projection: Any) -> None:
    size, bits = data.draw(st.integers(1, 120)), data.draw(st.integers(1, 8))
    x, queries = data.draw(matrices(dim)), queries_of(dim, 7)
    pairs = (
        (QJL(dim, size, projection=projection, seed=seed), plain.QJL(dim, size, projection=projection, seed=seed)),
        (
            TurboQuantProd(dim, bits, projection=projection, seed=seed),
            plain.TurboQuantProd(dim, bits, projection=projection, seed=seed),
        ),
    )
    for fast, reference in pairs:
        assert compare(fast, reference, x, queries) == []


@given(data=st.data(), seed=seeds())
def test_any_polar_and_matrix(level: str, data: st.DataObject, seed: int) -> None:
    bits = tuple(data.draw(st.lists(st.integers(1, 8), min_size=1, max_size=5)))
    dim = data.draw(st.integers(1, 160 >> len(bits))) << len(bits)
    fast = PolarQuant(dim, len(bits), bits, radius="float32", seed=seed)
    reference = plain.PolarQuant(dim, len(bits), bits, radius="float32", seed=seed)
    assert compare(fast, reference, data.draw(matrices(dim)), queries_of(dim, 7)) == []


@pytest.mark.slow
def test_the_largest_dimensions(level: str) -> None:
    x, queries = mixed_rows(65_536, 1, ("normal", "sparse", "wide")), mixed_rows(65_536, 2, ("normal", "one-hot"))
    pairs = (
        (QJL(65_536, 65_536, projection="hadamard"), plain.QJL(65_536, 65_536, projection="hadamard")),
        (QJL(3000, 65_536, projection="hadamard"), plain.QJL(3000, 65_536, projection="hadamard")),
        (QJL(2, 16_384), plain.QJL(2, 16_384)),
        (QJL(4096, 70), plain.QJL(4096, 70)),
        (PolarQuant(65_536, 16, (2,) * 16), plain.PolarQuant(65_536, 16, (2,) * 16)),
    )
    for fast, reference in pairs:
        assert compare(fast, reference, x[:, : fast.dim], queries[:, : fast.dim]) == []


def test_many_rows_and_threads() -> None:
    """More rows than a task and a block, more queries than a batch: no split changes a byte."""
    rng = np.random.default_rng(3)
    x, queries = rng.standard_normal((1500, 40)).astype(np.float32), rng.standard_normal((300, 40)).astype(np.float32)
    pairs = (
        (QJL(40, 70), plain.QJL(40, 70)),
        (TurboQuantProd(40, 3), plain.TurboQuantProd(40, 3)),
        (PolarQuant(40, 2, (4, 2)), plain.PolarQuant(40, 2, (4, 2))),
    )
    for fast, reference in pairs:
        want = reference.encode(x)
        scores = reference.score(queries, want)
        for threads in (1, 2, 5):
            got = fast.encode(x, threads=threads)
            assert differences(got, want) == []
            assert same(fast.score(queries, got, threads=threads), scores)
            assert same(fast.decode(got, threads=threads), reference.decode(want))


@pytest.mark.slow
@pytest.mark.parametrize("projection", ["gaussian", "orthogonal"])
def test_a_usual_embedding(level: str, projection: Any) -> None:
    x = mixed_rows(384, 1)
    fast = TurboQuantProd(384, 4, projection=projection)
    assert compare(fast, plain.TurboQuantProd(384, 4, projection=projection), x, queries_of(384, 1)) == []


def test_an_orthogonal_sketch_shows_the_references_matrix() -> None:
    """A one-hot query's score against a row is that entry of Sᵀ·signs: the matrices themselves are compared."""
    dim = 150
    fast, reference = (
        QJL(dim, dim, projection="orthogonal", seed=4),
        plain.QJL(dim, dim, projection="orthogonal", seed=4),
    )
    x = np.eye(dim, dtype=np.float32)
    assert same(fast.encode(x).packed, reference.encode(x).packed)
    assert np.array_equal(reference.sketch.projection.values, np.rint(haar(dim, _orthogonal_key(4)) * 32_000))  # type: ignore[attr-defined]


def _orthogonal_key(seed: int) -> int:
    from turboquant_rs.reference.rng import derive

    return derive(seed, 257, 0)
