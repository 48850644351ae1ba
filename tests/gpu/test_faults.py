"""Rows that must be refused: the first one is reported, on the emulation and on a card."""

from __future__ import annotations

import numpy as np
import pytest
from gpu.parity import key_of, run_encode
from gpu.test_parity import backend_of
from numpy.typing import NDArray
from turboquant_rs.gpu.encode import encode
from turboquant_rs.gpu.faults import Fault
from turboquant_rs.gpu.score import score
from turboquant_rs.reference import TurboQuant

Floats = NDArray[np.float32]

#: One dim of each kernel: a warp without and with shared memory, and a block.
DIMS = (24, 40, 128, 1000, 2500)
TOP = float(np.finfo(np.float32).max)


def rows_of(dim: int, count: int = 40) -> Floats:
    return np.random.default_rng(dim).standard_normal((count, dim)).astype(np.float32)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite(device: str, dim: int, value: float) -> None:
    plain, rng = TurboQuant(dim, 4), np.random.default_rng(1)
    for order in range(4):
        x = rows_of(dim)
        places = sorted({(int(rng.integers(40)), int(rng.integers(dim))) for _ in range(6)})
        for row, column in places:
            x[row, column] = value
        got = run_encode(backend_of(device, order, processors=1), plain, x)
        assert got.fault == Fault("nonfinite", *places[0])
        # Rows before it are whole.
        assert np.array_equal(got.packed[: places[0][0]], plain.encode(x[: places[0][0]]).packed)


@pytest.mark.parametrize("dim", DIMS)
def test_a_norm_beyond_float32(device: str, dim: int) -> None:
    x = rows_of(dim)
    x[[7, 9]] = TOP
    assert run_encode(backend_of(device), TurboQuant(dim, 4), x, squares=False).fault == Fault("norm", 7, 0)
    x[8, 3] = np.nan
    assert run_encode(backend_of(device), TurboQuant(dim, 4), x, squares=False).fault == Fault("norm", 7, 0)
    x[6, 3] = np.nan
    assert run_encode(backend_of(device), TurboQuant(dim, 4), x, squares=False).fault == Fault("nonfinite", 6, 3)


@pytest.mark.parametrize("dim", DIMS)
def test_a_norm_beyond_float32_is_no_fault_without_norms(device: str, dim: int) -> None:
    x = rows_of(dim)
    x[7] = TOP
    plain = TurboQuant(dim, 4)
    got = run_encode(backend_of(device), plain, x, unit_norm=True, squares=False)
    assert got.fault is None
    assert np.array_equal(got.scales, plain.encode(x, unit_norm=True).scales)


@pytest.mark.parametrize("scale", ["unbiased", "mse", "matched", "paper"])
def test_scales_beside_the_largest_float32(device: str, scale: str) -> None:
    """Refused where the reference refuses, by norm or by scale."""
    plain = TurboQuant(3, 2, scale=scale)
    outcomes = set()
    for share in (0.4, 0.55, 0.577, 0.58, 0.9, 1.0):
        x = np.full((1, 3), share * TOP, np.float32)
        fault = run_encode(backend_of(device), plain, x, squares=False).fault
        try:
            plain.encode(x)
        except ValueError:
            assert fault == Fault("norm", 0, 0)
        else:
            assert fault is None
        outcomes.add(fault)
    assert len(outcomes) == 2


@pytest.mark.parametrize("dim", DIMS)
def test_squares_of_large_norms(device: str, dim: int) -> None:
    """From 2^63 on, and only where squares are asked for."""
    x = rows_of(dim)
    x[5] = 0
    x[5, 1] = 2.0**63
    x[4, :] = 0
    x[4, 1] = np.nextafter(np.float32(2.0**63), np.float32(0))
    plain = TurboQuant(dim, 4)
    assert run_encode(backend_of(device), plain, x).fault == Fault("square", 5, 0)
    assert run_encode(backend_of(device), plain, x, squares=False).fault is None
    assert run_encode(backend_of(device), plain, x[:5]).fault is None


@pytest.mark.parametrize("dim", DIMS)
def test_queries(device: str, dim: int) -> None:
    plain, backend = TurboQuant(dim, 4), backend_of(device)
    codes = plain.encode(rows_of(dim))
    packed, scales = backend.asarray(codes.packed), backend.asarray(codes.scales)

    def fault_of(queries: Floats, *, cosine: bool = False) -> Fault | None:
        out = backend.empty((len(queries), len(codes)), np.float32)
        return score(backend, key_of(plain), 4, backend.asarray(queries), packed, scales, out, cosine=cosine)

    queries = rows_of(dim, 9)
    assert fault_of(queries) is None
    queries[6] = 0
    queries[6, 2] = 2.0**96
    assert fault_of(queries) == Fault("norm", 6, 0)
    assert fault_of(queries, cosine=True) is None
    queries[6, 2] = np.nextafter(np.float32(2.0**96), np.float32(0))
    assert fault_of(queries) is None
    queries[3, 4] = np.nan
    assert fault_of(queries) == Fault("nonfinite", 3, 4)


def test_faults_of_later_queries_count_from_the_first(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turboquant_rs.gpu.score.MOST_QUERIES", 4)
    plain, backend = TurboQuant(24, 4), backend_of(device)
    codes = plain.encode(rows_of(24))
    queries = rows_of(24, 11)
    queries[9, 20] = np.inf
    out = backend.empty((11, 40), np.float32)
    arrays = backend.asarray(queries), backend.asarray(codes.packed), backend.asarray(codes.scales)
    assert score(backend, key_of(plain), 4, *arrays, out) == Fault("nonfinite", 9, 20)


def test_without_validation_nothing_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """validate=False never copies to the host; validate=True does once a call."""
    from gpu.shim import ShimBackend, missing

    if missing():
        pytest.skip(str(missing()))
    backend, plain = ShimBackend(), TurboQuant(24, 4)
    waits: list[None] = []
    backend.on_synchronise = lambda: waits.append(None)
    x = rows_of(24)
    packed, scales = backend.empty((40, 12), np.uint8), backend.empty((40, 1), np.float32)
    out = backend.empty((40, 40), np.float32)
    rows = backend.asarray(x)
    encode(backend, key_of(plain), rows, packed, scales, validate=False)
    score(backend, key_of(plain), 4, rows, packed, scales, out, validate=False)
    assert not waits
    encode(backend, key_of(plain), rows, packed, scales)
    score(backend, key_of(plain), 4, rows, packed, scales, out)
    assert len(waits) == 2
