"""A search of rows of a fitted codec, and of those that it codes badly, finds what the reference does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fits import Parts, mixed_rows_of, random_parts
from gpu import fitted_parity
from gpu.search_parity import run_search, same_found
from gpu.shim import ShimBackend, missing
from gpu.test_fitted import as_fits_make, descriptions
from gpu.test_parity import backend_of
from hypothesis import given
from hypothesis import strategies as st
from strategies import mixed_rows, refines
from turboquant_rs.gpu import search
from turboquant_rs.reference import Codes, FittedTurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.index import Index
from turboquant_rs.reference.linear_stage import linear_stage
from turboquant_rs.reference.staged import row_bounds, upper

METRICS = ("ip", "cosine", "l2")
KINDS = ("normal", "sparse", "tiny", "zero", "constant", "whole")


def index_of(parts: Parts, metric: str, n: int, **options: Any) -> Index:
    """Return an index of a codec's description, with rows that it codes badly among the others and ids in any order."""
    codec = fitted_parity.reference(parts, **options)
    index = Index(codec, metric)
    x = np.concatenate([mixed_rows(codec.dim, i, KINDS) for i in range(-(-n // len(KINDS)))])[:n]
    index.add(x, np.random.default_rng(n).permutation(2 * n)[:n].astype(np.int64))
    return index


def check(backend: Any, index: Index, queries: Any, k: int, **options: Any) -> None:
    want = index.search(queries, k, allowed=options.get("allowed"))
    assert same_found(run_search(backend, index, queries, k, **options), want), (index.codec.spec, index.metric, k)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("center", [False, True])
def test_rows_of_both_kinds(device: str, monkeypatch: pytest.MonkeyPatch, metric: str, center: bool) -> None:
    """In several chunks; segments in lanes and in memory."""
    monkeypatch.setattr(search, "FIRST_ROWS", 64)
    kinds = set()
    for i, (dim, axes) in enumerate(((1, 1), (5, 5), (24, 20), (64, 64), (97, 90), (150, 147))):
        random = i % 2 and dim > 1
        parts = random_parts(dim, i, axes=axes, center=center) if random else as_fits_make(dim, 2.25, center=center)
        index = index_of(parts, metric, 150)
        kinds |= {i for i, (_, numbers, _) in enumerate(index.partitions) if len(numbers)}
        for count in (3, 9):
            queries = mixed_rows(dim, 9, fitted_parity.QUERIES)[:count]
            check(backend_of(device, i, flush=bool(i % 2)), index, queries, 12, cuts=[40])
    assert kinds == {0, 1}


@pytest.mark.parametrize("metric", METRICS)
def test_few_queries_that_read_rows_in_full(device: str, monkeypatch: pytest.MonkeyPatch, metric: str) -> None:
    """As where their tables exceed shared memory."""
    monkeypatch.setattr(search, "stage_fits", lambda *_: False)
    index = index_of(as_fits_make(97, 2.25, center=True), metric, 100)
    check(backend_of(device, 2, flush=True), index, mixed_rows(97, 9, fitted_parity.QUERIES)[:3], 10)


@given(data=st.data(), parts=descriptions(), metric=st.sampled_from(METRICS), refine=refines(), count=st.integers(1, 9))
def test_any_fitted_index(device: str, data: st.DataObject, parts: Parts, metric: str, refine: Any, count: int) -> None:
    options = {"flush": data.draw(st.booleans()), "capability": data.draw(st.sampled_from((75, 90)))}
    backend = backend_of(device, data.draw(st.integers(0, 50)), **options)
    index = index_of(parts, metric, data.draw(st.integers(1, 80)), refine=refine)
    kinds = tuple(data.draw(st.lists(st.sampled_from(fitted_parity.QUERIES), min_size=count, max_size=count)))
    queries = mixed_rows(index.codec.dim, data.draw(st.integers(0, 2**32 - 1)), kinds)
    mask = data.draw(st.none() | st.integers(0, 2 ** len(index.ids) - 1))
    allowed = None if mask is None else np.array([mask >> i & 1 for i in range(len(index.ids))], bool)
    check(backend, index, queries, data.draw(st.integers(1, 90)), allowed=allowed)


@pytest.mark.parametrize(("metric", "center"), [("ip", False), ("ip", True), ("cosine", False), ("l2", True)])
def test_scores_are_cut(device: str, metric: str, center: bool) -> None:
    """Queries along what the first stage knows nothing of: scores of rows pass their upper ends."""
    parts = as_fits_make(64, 2.25, center=center)
    index = Index(fitted_parity.reference(parts), metric)
    index.add(mixed_rows_of(parts, 80), np.arange(80))
    codec, _, codes = next(some for some in index.partitions if isinstance(some[0], FittedTurboQuant))
    stage = linear_stage(codec)
    assert stage is not None
    short = Codes(codes.packed[:, : stage.size].copy(), codes.scales, codes.spec, stage.keep)
    queries = (codec.decode(codes) - codec.decode(short))[:9]
    cosine = metric == "cosine"
    ends = upper(codec, queries, codes, row_bounds(codec, codes), cosine=cosine)
    assert (ends < reference_score(codec, queries, codes, cosine=cosine)).any()
    for count in (2, 9):
        check(backend_of(device, 2, flush=True), index, queries[:count], 80)


def test_kernels_compiled_for_their_parameters() -> None:
    if missing():
        pytest.skip(str(missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    index = index_of(as_fits_make(97, 2.25, axes=90, center=True), "l2", 100)
    for count in (3, 7):
        check(backend, index, mixed_rows(97, 5, fitted_parity.QUERIES)[:count], 10)
