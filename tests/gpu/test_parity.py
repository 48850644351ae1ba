"""The GPU's kernels equal the reference to the bit: on the emulation always, on a card where there is one."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from gpu.parity import (
    encode_differences,
    key_of,
    run_decode,
    run_encode,
    score_differences,
)
from gpu.shim import ShimBackend, missing
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import (
    EVERY_BITS,
    KINDS,
    SCALES,
    bits,
    dims,
    matrices,
    mixed_rows,
    refines,
    same,
    scales,
    seeds,
)
from turboquant_rs.gpu import plan, runtime
from turboquant_rs.gpu import score as score_module
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.encode import encode
from turboquant_rs.reference import Codes, TurboQuant
from turboquant_rs.reference.index import squared_norm
from turboquant_rs.reference.units import stage_ends

Floats = NDArray[np.float32]

#: Dimensions of the plain loop: every small one, the usual ones, and one that a block holds.
DIMS = (*range(1, 131), 200, 384, 768, 1000, 1024, 1536, 3072)
LOOP_KINDS = ("normal", "2-sparse", "tiny", "whole", "negative zero", "subnormal")
ROWS = ("normal", "sparse", "tiny", "zero", "constant")
QUERIES = ("normal", "one-hot", "zero", "wide", "sparse", "whole", "constant")


def test_there_is_an_emulation() -> None:
    """One skip, by name, where no kernel can run on the CPU."""
    reason = missing()
    if reason is not None:
        pytest.skip(reason)


def test_there_is_a_card() -> None:
    """One skip, by name, where no kernel can run on a GPU."""
    reason = runtime.missing_device()
    if reason is not None:
        pytest.skip(f"the parity tests run on the emulation only: {reason}")


def backend_of(device: str, order: int = 0, **options: Any) -> Backend:
    """Return the backend of a kind; what only an emulation can vary is left out for a card."""
    return runtime.CupyBackend() if device == "cupy" else ShimBackend(order, **options)


@cache
def _rotations(dim: int) -> list[Any]:
    return TurboQuant(dim, 1, seed=dim).rotations


def reference(dim: int, width: int, **options: Any) -> TurboQuant:
    """Return the reference's codec of seed ``dim``; the rotation is shared between widths."""
    plain = TurboQuant(dim, width, seed=dim, **options)
    plain.rotations = _rotations(dim)
    return plain


def every_width(backend: Backend, dim: int, refine: int | bool) -> list[str]:
    """Return what differs at a dimension: codes, decoded rows and truncations of every width."""
    x = mixed_rows(dim, seed=dim, kinds=LOOP_KINDS)
    wrong = []
    for width in EVERY_BITS:
        plain = reference(dim, width, refine=refine)
        codes = plain.encode(x)
        found = encode_differences(backend, plain, x, codes)
        for keep in stage_ends(width) if not refine else ():
            cut = plain.truncate(codes, keep)
            if not same(run_decode(backend, plain, cut), plain.decode(cut)):
                found.append(f"decoded top {keep} bits")
        wrong += [f"dim {dim}, bits {width}: {text}" for text in found]
    return wrong


@pytest.mark.parametrize("refine", [False, 8])
def test_every_dimension_and_width(device: str, refine: int | bool) -> None:
    wrong = []
    for i, dim in enumerate(DIMS):
        wrong += every_width(backend_of(device, order=i % 5, flush=bool(i % 2)), dim, refine)
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@pytest.mark.parametrize("shared_limit", [99 << 10, 40 << 10])
def test_rows_in_a_blocks_memory(device: str, shared_limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels of large dims, at dims that are quick; with little shared memory, rows go to scratch."""
    monkeypatch.setattr(plan, "WARP_DIMS", 0)
    wrong = []
    for i, dim in enumerate((1, 2, 3, 4, 7, 16, 31, 32, 33, 63, 64, 65, 100, 127, 128, 200, 1000, 1024, 8192)):
        if (dim == 8192) == (shared_limit == 40 << 10):
            wrong += every_width(backend_of(device, order=i % 5, flush=True, shared_limit=shared_limit), dim, False)
    assert not wrong, wrong[:10]


@given(
    data=st.data(), dim=dims(), width=bits(), seed=seeds(), scale=scales(), refine=refines(), order=st.integers(0, 50)
)
def test_any_codec_and_matrix(
    device: str,
    data: st.DataObject,
    dim: int,
    width: int,
    seed: int,
    scale: str,
    refine: int | bool,
    order: int,
) -> None:
    backend = backend_of(device, order, flush=data.draw(st.booleans()))
    plain = TurboQuant(dim, width, seed=seed, scale=scale, refine=refine)
    x = data.draw(matrices(dim))
    codes = plain.encode(x)
    assert encode_differences(backend, plain, x, codes) == []
    for keep in stage_ends(width):
        cut = plain.truncate(codes, keep)
        assert same(run_decode(backend, plain, cut), plain.decode(cut))


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_on_every_kind_of_row(device: str, scale: str) -> None:
    backend = backend_of(device, 3, flush=True)
    for dim in (1, 2, 3, 64, 97, 128, 1000, 2049):
        plain = reference(dim, 4, scale=scale)
        assert encode_differences(backend, plain, mixed_rows(dim, seed=dim)) == [], dim


@pytest.mark.parametrize("dim", [3, 128, 1000, 2100])
def test_scales_without_norms(device: str, dim: int) -> None:
    """Unit-norm encoding, and squares beside it, as an index stores them."""
    x = mixed_rows(dim, 1, tuple(kind for kind in KINDS if kind != "huge"))
    plain = reference(dim, 3)
    got = run_encode(backend_of(device, 1), plain, x, unit_norm=True)
    want = plain.encode(x, unit_norm=True)
    assert got.fault is None
    assert same(got.packed, want.packed)
    assert same(got.scales, want.scales)
    assert same(got.squares, squared_norm(x))


def test_beside_the_limits_of_float32(device: str) -> None:
    """The largest exponent, the smallest normal rows, and scales that round up to 2^-126 or are stored as 0."""
    for dim in (1, 3, 64):
        rows = [
            np.full(dim, 2.0**k * m)
            for k in (-149, -127, -126, -125, -87, -86, -85, 120, 126 if dim == 1 else 121)
            for m in (1, 1.9)
        ]
        rows += [np.where(np.arange(dim) % 2 == 0, row, 2.0**-149) for row in rows]
        x = np.array(rows, np.float32)
        for scale in SCALES:
            plain = reference(dim, 2, scale=scale)
            for flush in (False, True):
                assert encode_differences(backend_of(device, flush=flush), plain, x) == [], (dim, scale)


# --- scores ------------------------------------------------------------------------------------------------------


def codes_of(plain: TurboQuant, kinds: tuple[str, ...] = ROWS) -> Codes:
    """Return codes of a few rows of every kind."""
    return plain.encode(mixed_rows(plain.dim, seed=plain.dim, kinds=kinds))


@pytest.mark.parametrize("count", [1, 4, 5])
def test_scores_of_every_dimension_width_and_truncation(device: str, count: int) -> None:
    """Few queries go by dp4a, more by the matrix instruction."""
    wrong = []
    for i, dim in enumerate(d for d in DIMS if d % 3 == count % 3 or d > 130):
        backend = backend_of(device, i % 5, flush=bool(i % 2))
        queries = mixed_rows(dim, seed=dim + 1, kinds=QUERIES)[:count]
        for width in EVERY_BITS:
            plain = reference(dim, width)
            codes = codes_of(plain)
            for keep in stage_ends(width):
                found = score_differences(backend, plain, queries, plain.truncate(codes, keep))
                wrong += [f"dim {dim}, bits {width}: {text}" for text in found]
    assert not wrong, f"{len(wrong)} differ, the first: {wrong[:10]}"


@given(data=st.data(), dim=dims(1024), width=bits(), seed=seeds(), count=st.integers(1, 70), cosine=st.booleans())
def test_any_queries(
    device: str, data: st.DataObject, dim: int, width: int, seed: int, count: int, cosine: bool
) -> None:
    backend = backend_of(device, data.draw(st.integers(0, 50)), flush=data.draw(st.booleans()))
    plain = TurboQuant(dim, width, seed=seed)
    codes = plain.encode(data.draw(matrices(dim, rows=(1, 90))))
    kinds = data.draw(st.lists(st.sampled_from(QUERIES), min_size=count, max_size=count))
    queries = mixed_rows(dim, data.draw(st.integers(0, 2**32 - 1)), tuple(kinds))
    assert score_differences(backend, plain, queries, codes, cosine=cosine) == []


def test_more_queries_than_are_prepared_at_a_time(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_module, "MOST_QUERIES", 7)
    plain = reference(33, 4)
    queries = mixed_rows(33, 5, QUERIES * 3)
    assert score_differences(backend_of(device), plain, queries, codes_of(plain)) == []


def test_the_largest_products(device: str) -> None:
    """Every coordinate at the ends of its range: the sums that come nearest to the limits of int32."""
    for dim in (1024, 65_536):
        for width in (4, 8):
            plain = TurboQuant(dim, width)
            width_bytes = plain.encode(np.zeros((1, dim), np.float32)).packed.shape[1]
            packed = np.stack([np.zeros(width_bytes, np.uint8), np.full(width_bytes, 255, np.uint8)])
            codes = Codes(packed, np.ones((2, 1), np.float32), plain.spec, (width,))
            # A query whose rotation is ±1 in every coordinate has integers at the ends of their range.
            rng = np.random.default_rng(3)
            signs = rng.choice([-1, 1], (1, dim)).astype(np.float32)
            queries = plain.rotations[0].apply_inverse(np.concatenate([np.ones((1, dim), np.float32), signs]))
            for batch in (queries, np.concatenate([queries] * 3)):
                assert score_differences(backend_of(device), plain, batch, codes) == []


# --- sizes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dim", "width", "refine"), [(65_536, 4, 8), (65_535, 5, False)])
def test_the_largest_dimensions(device: str, dim: int, width: int, refine: int | bool) -> None:
    """Rows that exceed shared memory live in scratch."""
    plain = TurboQuant(dim, width, refine=refine)
    x = mixed_rows(dim, seed=1, kinds=("normal", "sparse"))
    backend = backend_of(device, 3, flush=True)
    codes = plain.encode(x)
    assert encode_differences(backend, plain, x, codes) == []
    assert same(run_decode(backend, plain, codes), plain.decode(codes))
    assert score_differences(backend, plain, x[:1], codes) == []


@pytest.mark.parametrize("dim", [5, 96, 300, 2049])
def test_more_rows_than_blocks(device: str, dim: int) -> None:
    """A block takes several rows, the last of them few."""
    backend = backend_of(device, 4, processors=1)
    x = np.concatenate([mixed_rows(dim, seed=s) for s in range(7)])[:77]
    plain = reference(dim, 3)
    codes = plain.encode(x)
    assert encode_differences(backend, plain, x, codes) == []
    assert same(run_decode(backend, plain, codes), plain.decode(codes))
    for count in (2, 9):
        assert score_differences(backend, plain, mixed_rows(dim, 9, QUERIES * 2)[:count], codes) == []


def test_no_rows_and_no_queries(device: str) -> None:
    backend, plain = backend_of(device), reference(24, 4)
    empty = plain.encode(np.empty((0, 24), np.float32))
    assert run_encode(backend, plain, np.empty((0, 24), np.float32)).packed.shape == (0, 12)
    assert run_decode(backend, plain, empty).shape == (0, 24)
    assert score_differences(backend, plain, mixed_rows(24, 1, QUERIES), empty) == []
    assert score_differences(backend, plain, np.empty((0, 24), np.float32), codes_of(plain)) == []


@pytest.mark.parametrize("dim", [32, 64, 1024])
def test_packed_rows_at_any_address(device: str, dim: int) -> None:
    """Rows of whole words are written and read as words only where they are aligned."""
    backend, plain = backend_of(device), reference(dim, 8)
    x = mixed_rows(dim, seed=2)
    want = plain.encode(x)
    n, width = want.packed.shape
    for shift in (1, 2, 4):
        room = backend.empty((n * width + shift,), np.uint8)
        packed = room[shift:].reshape(n, width)
        scales = backend.empty((n, 1), np.float32)
        assert encode(backend, key_of(plain), backend.asarray(x), packed, scales) is None
        assert same(backend.to_host(packed), want.packed)


@pytest.mark.parametrize(("dim", "width"), [(97, 4), (128, 2), (384, 3), (768, 8), (1024, 4), (3072, 4)])
def test_kernels_compiled_for_their_parameters(dim: int, width: int) -> None:
    """As a GPU has them: every parameter a constant. Elsewhere the emulation compiles a kernel once for all."""
    if missing():
        pytest.skip(str(missing()))
    backend = ShimBackend(2, flush=True, specialised=True)
    plain = reference(dim, width, refine=8 if width == 4 else False)
    codes = plain.encode(mixed_rows(dim, seed=dim))
    assert encode_differences(backend, plain, mixed_rows(dim, seed=dim), codes) == []
    assert same(run_decode(backend, plain, codes), plain.decode(codes))
    for count in (3, 7):
        assert score_differences(backend, plain, mixed_rows(dim, 5, QUERIES)[:count], codes) == []
