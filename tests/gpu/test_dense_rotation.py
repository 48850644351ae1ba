"""TurboQuant with the dense rotation on a GPU: the reference's bits, on the emulation and on a card."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gpu.parity import Floats, dense_key_of, key_of
from gpu.shim import ShimBackend, missing
from gpu.test_parity import backend_of
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import bits, matrices, mixed_rows, refines, same, scales, seeds
from turboquant_rs.gpu import dense, dense_codec, sketch
from turboquant_rs.gpu.backend import Backend
from turboquant_rs.gpu.dense_codec import DenseKey, dense_key
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.sketch import Matrix
from turboquant_rs.reference import Codes, TurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.units import stage_ends

QUERIES = ("normal", "one-hot", "zero", "wide", "sparse", "whole", "constant")


def pair(dim: int, width: int, **options: Any) -> tuple[TurboQuant, DenseKey]:
    """Return the reference's codec and the drivers' name of it."""
    plain = TurboQuant(dim, width, rotation="dense", **options)
    return plain, dense_key_of(plain)


def run_encode(backend: Backend, key: DenseKey, x: Floats) -> tuple[Any, Any, Fault | None]:
    codec = key.codec
    packed = backend.empty((len(x), dense_codec.row_bytes(codec.dim, codec.bits, codec.bits)), np.uint8)
    found = backend.empty((len(x), 1), np.float32)
    fault = dense_codec.encode(backend, key, backend.asarray(x), packed, found)
    return backend.to_host(packed), backend.to_host(found), fault


def run_score(backend: Backend, key: DenseKey, queries: Floats, codes: Codes) -> Floats:
    out = backend.empty((len(queries), len(codes)), np.float32)
    arrays = backend.asarray(queries), backend.asarray(codes.packed), backend.asarray(codes.scales)
    assert dense_codec.score(backend, key, codes.keep[0], *arrays, out) is None
    return backend.to_host(out)


def differences(backend: Backend, plain: TurboQuant, key: DenseKey, x: Floats, queries: Floats) -> list[str]:
    """Return what of codes, and of decoded rows and scores of every truncation, differs from the reference."""
    codes = plain.encode(x)
    packed, found_scales, fault = run_encode(backend, key, x)
    found = [] if fault is None else [f"fault {fault}"]
    found += [] if same(packed, codes.packed) else ["packed"]
    found += [] if same(found_scales, codes.scales) else ["scales"]
    for keep in stage_ends(key.codec.bits):
        cut = plain.truncate(codes, keep)
        out = backend.empty(x.shape, np.float32)
        dense_codec.decode(backend, key, keep, backend.asarray(cut.packed), backend.asarray(cut.scales), out)
        found += [] if same(backend.to_host(out), plain.decode(cut)) else [f"decoded top {keep} bits"]
        for part in (queries[:4], queries):
            if not same(run_score(backend, key, part, cut), reference_score(plain, part, cut)):
                found.append(f"scores of {len(part)} queries, keep {keep}")
    return found


@pytest.mark.parametrize("refine", [False, 8])
def test_every_width(device: str, refine: bool | int) -> None:
    wrong = []
    for i, dim in enumerate((1, 2, 3, 8, 31, 33, 64, 97, 128, 200)):
        for width in range(1, 9) if dim < 100 else (1, 4, 5):
            plain, key = pair(dim, width, seed=dim, refine=refine)
            backend = backend_of(device, i % 5, flush=bool(i % 2))
            found = differences(backend, plain, key, mixed_rows(dim, dim), mixed_rows(dim, 9, QUERIES))
            wrong += [f"dim {dim}, bits {width}: {text}" for text in found]
    assert not wrong, wrong[:10]


@given(data=st.data(), width=bits(), seed=seeds(), scale=scales(), refine=refines(), order=st.integers(0, 50))
def test_any_codec_and_matrix(
    device: str, data: st.DataObject, width: int, seed: int, scale: str, refine: bool | int, order: int
) -> None:
    dim = data.draw(st.integers(1, 60))
    plain, key = pair(dim, width, seed=seed, scale=scale, refine=refine)
    backend = backend_of(device, order, flush=data.draw(st.booleans()), capability=data.draw(st.sampled_from((75, 80))))
    assert differences(backend, plain, key, data.draw(matrices(dim)), mixed_rows(dim, order, QUERIES)) == []


def test_more_than_a_thousand_dimensions(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Normal numbers stand for a rotation, whose making takes long: kernels ask no more of a matrix than its norms."""

    def matrix(dim: int, seed: int, segment: int) -> NDArray[np.int16]:
        g = np.random.default_rng(seed).standard_normal((dim, dim))
        return (g * (31_000 / max(np.linalg.norm(g, axis=axis).max() for axis in (0, 1)))).astype(np.int16)

    monkeypatch.setattr("turboquant_rs.reference.dense_rotation._matrix", matrix)
    plain, key = pair(1100, 4)
    x, queries = mixed_rows(1100, 1, ("normal", "sparse", "wide", "zero")), mixed_rows(1100, 2, QUERIES)
    assert differences(backend_of(device, 3, flush=True), plain, key, x, queries) == []


def test_rows_and_queries_in_parts(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sketch, dense_codec):
        monkeypatch.setattr(module, "BUFFER", 12_000)
    plain, key = pair(40, 4, refine=8)
    assert 1 < sketch.rows_at_a_time(key.projection, 10**6) < 50
    assert 1 < dense_codec.decoded_at_a_time(key, 10**6) < 100
    x = np.concatenate([mixed_rows(40, seed) for seed in range(12)])
    queries = np.concatenate([mixed_rows(40, seed, QUERIES) for seed in range(8)])
    assert differences(backend_of(device, 4, processors=1), plain, key, x, queries) == []
    x[77, 3], x[70] = np.nan, 3e38
    assert run_encode(backend_of(device), key, x)[2] == Fault("norm", 70, 0)
    x[70, 5] = np.inf
    assert run_encode(backend_of(device), key, x)[2] == Fault("nonfinite", 70, 5)


def test_scales_beyond_float32(device: str) -> None:
    """Refused where the reference refuses, by norm or by scale."""
    outcomes = set()
    for share in (0.4, 0.55, 0.577, 0.58, 0.9, 1.0):
        plain, key = pair(3, 2)
        x = np.full((1, 3), share * np.finfo(np.float32).max, np.float32)
        fault = run_encode(backend_of(device), key, x)[2]
        try:
            plain.encode(x)
        except ValueError:
            assert fault == Fault("norm", 0, 0)
        else:
            assert fault is None
        outcomes.add(fault)
    assert len(outcomes) == 2


def test_no_rows(device: str) -> None:
    plain, key = pair(24, 4)
    none = np.empty((0, 24), np.float32)
    assert differences(backend_of(device), plain, key, none, mixed_rows(24, 1, QUERIES)) == []
    assert differences(backend_of(device), plain, key, mixed_rows(24, 1), none) == []


def test_buffers_are_bounded() -> None:
    key = dense_key(key_of(TurboQuant(4096, 8)), Matrix(np.float32(1), lambda: np.zeros((1, 1), np.int16)))
    assert dense_codec.encoding_bytes(key, 10**9) <= dense.BUFFER
    assert dense_codec.decoding_bytes(key, 10**9) <= dense.BUFFER


@pytest.mark.parametrize(("dim", "width"), [(97, 5), (128, 4)])
def test_kernels_compiled_for_their_parameters(dim: int, width: int) -> None:
    if missing():
        pytest.skip(str(missing()))
    plain, key = pair(dim, width)
    backend = ShimBackend(2, flush=True, specialised=True)
    assert differences(backend, plain, key, mixed_rows(dim, 1), mixed_rows(dim, 2, QUERIES)) == []
