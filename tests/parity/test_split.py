"""Codecs with outlier channels: bytes, decoded rows, scores, cuts and searches equal the reference's at every level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, METRICS, assert_same, matrices, mixed_rows, refines, same, scales, seeds
from turboquant_rs import Index, TurboQuant
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import TurboQuant as Reference
from turboquant_rs.reference import score
from turboquant_rs.reference.index_file import read_index
from turboquant_rs.reference.units import stage_ends


def both(dim: int, bits: tuple[int, int], channels: tuple[int, ...], **options: Any) -> tuple[TurboQuant, Reference]:
    return (
        TurboQuant(dim, bits, outliers=channels[::-1], **options),
        Reference(dim, bits, outliers=channels, **options),
    )


@st.composite
def splits(draw: st.DrawFn) -> tuple[int, tuple[int, int], tuple[int, ...]]:
    dim = draw(st.integers(2, 150))
    first = draw(st.integers(1, 8))
    channels = draw(st.sets(st.integers(0, dim - 1), min_size=1, max_size=dim - 1))
    return dim, (first, draw(st.integers(1, first))), tuple(sorted(channels))


@given(
    data=st.data(),
    split=splits(),
    seed=seeds(),
    scale=scales(),
    refine=refines(),
    rotation=st.sampled_from(["hadamard", "dense"]),
    unit_norm=st.booleans(),
)
def test_any_split_and_matrix(
    level: str,
    data: st.DataObject,
    split: tuple[int, tuple[int, int], tuple[int, ...]],
    seed: int,
    scale: str,
    refine: int | bool,
    rotation: str,
    unit_norm: bool,
) -> None:
    dim, bits, _ = split
    fast, plain = both(*split, seed=seed, scale=scale, refine=refine, rotation=rotation)
    x = data.draw(matrices(dim))
    got, want = fast._encode(x, None, unit_norm=unit_norm)[0], plain.encode(x, unit_norm=unit_norm)
    assert_same(got, want)
    assert same(fast.decode(got), plain.decode(want))
    # Unclipped, so that shares beyond float32 meet where the reference lets them.
    queries = np.clip(data.draw(matrices(dim)), -(2.0**80), 2.0**80).astype(np.float32)
    assert same(fast.score(queries, got), score(plain, queries, want))
    ends = data.draw(st.tuples(*(st.sampled_from(stage_ends(width)) for width in bits)))
    shorter, expected = got.truncate(ends), plain.truncate(want, ends)
    assert_same(shorter, expected)
    assert same(fast.decode(shorter), plain.decode(expected))
    assert same(fast.score(queries, shorter), score(plain, queries, expected))
    assert_same(shorter.truncate(1), plain.truncate(expected, 1))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("dim", "bits", "count"), [(2, (2, 1), 1), (96, (3, 2), 24), (130, (5, 4), 100), (768, (4, 3), 64)]
)
def test_an_index_finds_the_reference_s_neighbours(
    level: str, dim: int, bits: tuple[int, int], count: int, metric: str
) -> None:
    rng = np.random.default_rng(dim)
    channels = tuple(sorted(rng.choice(dim, count, replace=False).tolist()))
    q, reference = both(dim, bits, channels, seed=4)
    x = np.vstack([mixed_rows(dim, 1, tuple(k for k in KINDS if k != "huge")), rng.standard_normal((150, dim))])
    x = x.astype(np.float32)
    fast, plain = Index(codec=q, metric=metric), ReferenceIndex(reference, metric)  # type: ignore[arg-type]
    plain.add(x, fast.add(x))
    for queries in (x[-12:], x[:3]):
        scores, ids = fast.search(queries, 7)
        want_scores, want_ids = plain.search(queries, 7)
        assert np.array_equal(ids, want_ids)
        assert same(scores, want_scores)


def test_an_index_file_is_the_reference_s_to_read(tmp_path: Path) -> None:
    for bits, rotation in (((3, 2), "hadamard"), ((7, 5), "dense"), ((8, 1), "hadamard")):
        q = TurboQuant(30, bits, outliers=[3, 4, 28], rotation=rotation)  # type: ignore[arg-type]
        x = mixed_rows(30, 1)
        index = Index(codec=q)
        index.add(x)
        path = tmp_path / f"{bits[0]}.tqi"
        index.save(path)
        plain = read_index(path.read_bytes())
        assert same(Index.open(path).search(x[-3:], 5)[0], plain.search(x[-3:], 5)[0])


def test_shares_beyond_float32_of_both_signs_are_no_number_but_0(level: str) -> None:
    q, plain = both(4, (8, 8), (0, 1))
    x = np.array([[2e37, 2e37, 2e37, 2e37]], np.float32)
    queries = np.array([[1e10, 1e10, -1e10, -1e10], [1e10, 1e10, 1e10, 1e10]], np.float32)
    scores = q.score(queries, q.encode(x))
    assert scores.tolist() == [[0.0], [np.inf]]
    assert same(scores, score(plain, queries, plain.encode(x)))
