"""The dense rotation: codes, scales, decoded rows, scores and searches equal the reference's at every level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import KINDS, METRICS, assert_same, bits, matrices, mixed_rows, pair, refines, same, scales, seeds
from turboquant_rs import Index, TurboQuant
from turboquant_rs.reference import Index as ReferenceIndex
from turboquant_rs.reference import score
from turboquant_rs.reference.units import stage_ends


@given(
    data=st.data(),
    dim=st.integers(1, 130),
    width=bits(),
    seed=seeds(),
    scale=scales(),
    refine=refines(),
)
def test_any_codec_and_matrix(
    level: str, data: st.DataObject, dim: int, width: int, seed: int, scale: str, refine: int | bool
) -> None:
    q = pair(dim, width, seed=seed, rotation="dense", scale=scale, refine=refine)
    x = data.draw(matrices(dim))
    got, want = q.fast.encode(x), q.plain.encode(x)
    assert_same(got, want)
    assert same(q.fast.decode(got), q.plain.decode(want))
    queries = np.clip(x[:3], -(2.0**60), 2.0**60).astype(np.float32)
    assert same(q.fast.score(queries, got), score(q.plain, queries, want))
    for end in stage_ends(width):
        assert_same(got.truncate(end), q.plain.truncate(want, end))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("dim", "width"), [(3, 2), (96, 4), (257, 6)])
def test_an_index_finds_the_reference_s_neighbours(level: str, dim: int, width: int, metric: str) -> None:
    q = pair(dim, width, seed=4, rotation="dense")
    rng = np.random.default_rng(dim)
    x = np.vstack([mixed_rows(dim, 1, tuple(k for k in KINDS if k != "huge")), rng.standard_normal((150, dim))])
    x = x.astype(np.float32)
    fast, plain = Index(codec=q.fast, metric=metric), ReferenceIndex(q.plain, metric)  # type: ignore[arg-type]
    plain.add(x, fast.add(x))
    for queries in (x[-12:], x[-3:]):
        scores, ids = fast.search(queries, 7)
        want_scores, want_ids = plain.search(queries, 7)
        assert np.array_equal(ids, want_ids)
        assert same(scores, want_scores)


def test_a_large_dimension(level: str) -> None:
    q = pair(520, 3, rotation="dense")
    x = mixed_rows(520, 2)
    assert_same(q.fast.encode(x), q.plain.encode(x))


def test_codes_of_another_rotation_are_refused() -> None:
    x = np.ones((2, 8))
    dense, plain = TurboQuant(8, rotation="dense"), TurboQuant(8)
    assert dense != plain
    with pytest.raises(
        ValueError, match=r"codes must come from this codec, TurboQuant\(dim=8, bits=4, rotation='dense'\)"
    ):
        dense.decode(plain.encode(x))
