"""The benchmark of searches on a GPU runs to its end, and what it measures beside ours is right."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

BENCHES = Path(__file__).parents[3] / "benches"


def loaded(name: str) -> ModuleType:
    """Import a benchmark by its path."""
    path = BENCHES / f"{name}.py"
    if not path.is_file():
        pytest.skip("no source tree here: benchmarks are run in a checkout")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def viewed(address: int, rows: int, columns: int, kind: Any) -> NDArray[Any]:
    """Return memory as a matrix whose columns lie one after another."""
    count = rows * columns * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_uint8 * count).from_address(address), kind).reshape(columns, rows).T


def gemm_ex(handle: int, *arguments: int) -> None:
    """As cublasGemmEx of int8: out = op(a) · op(b), columns first."""
    assert handle == 7
    first, second, m, n, k, _, a, a_kind, a_step, b, b_kind, b_step, _, out, out_kind, out_step, sums, _ = arguments
    assert (first, second, a_kind, b_kind, out_kind, sums) == (1, 0, 3, 3, 10, 72)
    assert a_step % 4 == b_step % 4 == 0
    assert (a_step, b_step, out_step) == (k, k, m)
    products = viewed(a, k, m, np.int8).T.astype(np.int32) @ viewed(b, k, n, np.int8).astype(np.int32)
    viewed(out, m, n, np.int32)[...] = products


class Event:
    """As cupy.cuda.Event; every two are a second apart."""

    def record(self) -> None:
        """Nothing."""

    def synchronize(self) -> None:
        """Nothing."""


@pytest.fixture
def card(cp: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The double with what benchmarks alone ask of CuPy."""

    def normal(shape: tuple[int, ...], dtype: Any) -> Any:
        return cp.asarray(np.random.default_rng(shape[0]).standard_normal(shape, dtype))

    cublas = SimpleNamespace(gemmEx=gemm_ex, getPointerMode=lambda _: 1, setPointerMode=lambda *_: None)
    runtime = vars(cp.cuda.runtime) | {
        "getDeviceProperties": lambda _: {"name": b"double", "totalGlobalMem": 1, "multiProcessorCount": 1},
        "driverGetVersion": lambda: 0,
        "runtimeGetVersion": lambda: 0,
    }
    for name, value in {
        "Event": Event,
        "get_elapsed_time": lambda *_: 1e3,
        "nvrtc": SimpleNamespace(getVersion=lambda: (0, 0)),
        "cublas": cublas,
        "runtime": SimpleNamespace(**runtime),
    }.items():
        monkeypatch.setattr(cp.cuda, name, value, raising=False)
    rng = SimpleNamespace(standard_normal=normal)
    monkeypatch.setattr(cp, "random", SimpleNamespace(default_rng=lambda _: rng), raising=False)
    monkeypatch.setattr(sys.modules["cupy.cuda.device"], "get_cublas_handle", lambda: 7, raising=False)
    return cp


def test_it_runs_to_its_end(card: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a size that the emulation bears; every contestant that needs no other package, and the ceilings, are there."""
    for name in ("harness", "gpu", "gpu_grid"):
        # Under the names by which benchmarks know each other, one of which is also a package of the tests.
        monkeypatch.setitem(sys.modules, name, loaded(name))
    bench = loaded("gpu_search")
    written: dict[str, Any] = {}
    monkeypatch.setattr(bench.harness, "write", lambda name, result: written.update({name: result}))
    for name, value in {"BITS": (2, 8), "BATCHES": (1, 5), "CEILING": (8, 16), "ENCODED": 100, "JUDGED": 5}.items():
        monkeypatch.setattr(bench, name, value)
    bench.main(["--rows", "150", "--dim", "32", "--rounds", "1"])
    result = written["gpu_search"]
    assert result["int8_products_per_s"]["median"] == 8 * 16 * 32
    assert [entry["bits"] for entry in result["encodings"]] == [2, 8]
    narrow, wide = result["encodings"]
    assert set(narrow["rows_per_s"]) == set(narrow["overlap_of_10"]) == {"turboquant", "grid_with_search"}
    assert set(wide["rows_per_s"]) == {"turboquant"}
    assert wide["overlap_of_10"]["turboquant"] > 0.9
    assert [(entry["bits"], entry["queries"]) for entry in result["searches"]] == [(2, 1), (2, 5), (8, 1), (8, 5)]
    assert set(result["searches"][0]["queries_per_s"]) == {"turboquant", "cublas_float16", "grid_with_search"}
    assert result["searches"][1]["int8_products_queries_per_s"] == 8 * 16 / 150


def test_the_grid_is_searched_for(card: ModuleType) -> None:
    """It finds more the more bits there are, and more than one step for all rows does; on any array library."""
    grid = loaded("gpu_grid")
    products = grid.products_of(card)
    assert products is not None
    rng = np.random.default_rng(0)
    x, queries = (rng.standard_normal((n, 64)).astype(np.float32) for n in (300, 40))
    true = np.argsort(-(queries @ x.T), axis=1)[:, :10]
    shares = []
    for bits in (1, 3, 7):
        made = grid.Grid(card, 64, bits)
        codes, scales = made.encode(card.asarray(x))
        assert codes.get().max() <= 2**bits - 1
        assert (codes.get() % 2 != 0).all()
        found = made.search(products, codes, scales, card.asarray(queries), 10).get()
        shares.append(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, true, strict=True)]))
        decoded = scales.get()[:, None] * codes.get() @ made.rotation.get().T
        assert np.allclose((decoded * x).sum(axis=1), (x * x).sum(axis=1), rtol=1e-3), "the scale is the unbiased one"
        cosine = (decoded * x).sum(axis=1) / np.linalg.norm(decoded, axis=1) / np.linalg.norm(x, axis=1)
        assert cosine.mean() > {1: 0.79, 3: 0.975, 7: 0.9998}[bits]
    assert shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.95
