"""Arrays of other libraries: taken through the protocols they offer, and answered in their own namespace."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import same
from turboquant_rs import Codes, Index, TurboQuant

X = np.random.default_rng(0).standard_normal((30, 20), np.float32)


@pytest.fixture(scope="module")
def q() -> TurboQuant:
    return TurboQuant(20, 4)


@pytest.fixture(scope="module")
def index() -> Index:
    made = Index(20)
    made.add(X)
    return made


class WithArray:
    """An object that NumPy converts by ``__array__``."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.array, dtype) if copy else np.asarray(self.array, dtype)


class WithDlpack:
    """An object that offers DLPack and nothing else."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


class WithInterface:
    """An object that offers NumPy's array interface."""

    def __init__(self, array: Any) -> None:
        self.__array_interface__ = array.__array_interface__
        self.array = array


@pytest.mark.parametrize("wrap", [WithArray, WithDlpack, WithInterface, memoryview])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
def test_protocols(q: TurboQuant, index: Index, wrap: Callable[[Any], Any], dtype: str) -> None:
    x = np.abs(X * 10).astype(dtype)
    codes = q.encode(wrap(x))
    assert codes == q.encode(x)
    for queries in (x, x[0]):
        scores = q.score(wrap(queries), codes)
        assert type(scores) is np.ndarray
        assert same(scores, q.score(queries, codes))
        for found, expected in zip(index.search(wrap(queries), 3), index.search(queries, 3), strict=True):
            assert type(found) is np.ndarray
            assert same(found, expected)
    other = Index(20)
    assert other.add(wrap(x)).tolist() == list(range(30))


def test_a_read_only_dlpack_array(q: TurboQuant) -> None:
    x = X.copy()
    x.setflags(write=False)
    assert q.encode(WithDlpack(x)) == q.encode(x)  # type: ignore[arg-type]


def test_arrays_of_the_array_api(q: TurboQuant, index: Index) -> None:
    """Results come back in the namespace of the queries, which can be computed with like any array of it."""
    xp = pytest.importorskip("array_api_strict")
    for dtype in (xp.float32, xp.float64, xp.int32):
        x = np.round(X * 100).astype(np.int32) if dtype == xp.int32 else X
        foreign = xp.asarray(x, dtype=dtype)
        codes = q.encode(foreign)
        assert isinstance(codes, Codes)
        assert type(codes.packed) is np.ndarray
        assert codes == q.encode(x)
        for queries, local in ((foreign, x), (foreign[0, :], x[0])):
            scores = q.score(queries, codes)
            assert type(scores) is type(foreign)
            assert scores.dtype == xp.float32
            assert same(np.asarray(scores), q.score(local, codes))
            assert xp.max(scores).shape == ()
            found = index.search(queries, 3)
            for got, expected, kind in zip(found, index.search(local, 3), (xp.float32, xp.int64), strict=True):
                assert type(got) is type(foreign)
                assert got.dtype == kind
                assert same(np.asarray(got), expected)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed")
def test_torch(q: TurboQuant, index: Index) -> None:
    import torch

    for dtype in (torch.float32, torch.float64, torch.int16):
        tensor = torch.from_numpy(X * 10).to(dtype)
        local = tensor.numpy()
        codes = q.encode(tensor)
        assert codes == q.encode(local)
        scores = q.score(tensor, codes)
        assert isinstance(scores, torch.Tensor)
        assert same(scores.numpy(), q.score(local, codes))
        for got, expected in zip(index.search(tensor[0], 3), index.search(local[0], 3), strict=True):
            assert isinstance(got, torch.Tensor)
            assert same(got.numpy(), expected)


def test_subclasses_of_arrays(q: TurboQuant, index: Index, tmp_path: Any) -> None:
    """A matrix, a memory map and a record array's field are arrays; a 1-D slice of a matrix stays 2-D there."""
    path = tmp_path / "x.npy"
    np.save(path, X)
    mapped = np.load(path, mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    records = np.zeros(30, [("x", np.float32, 20), ("label", int)])
    records["x"] = X
    for x in (X.view(np.matrix), mapped, records["x"], records.view(np.recarray).x):
        codes = q.encode(x)
        assert codes == q.encode(X)
        assert type(codes.packed) is np.ndarray
        assert same(np.asarray(q.score(x, codes)), q.score(X, codes))
        assert same(np.asarray(index.search(x[:2], 3)[1]), index.search(X[:2], 3)[1])


def test_lists_and_scalars(q: TurboQuant, index: Index) -> None:
    assert q.encode(X.tolist()) == q.encode(X)
    assert q.encode([[1] * 20, [2.5] * 20]) == q.encode(np.array([[1.0] * 20, [2.5] * 20]))
    assert q.encode([[True] * 20]) == q.encode(np.ones((1, 20)))
    assert same(index.search(X[0].tolist(), 3)[1], index.search(X[0], 3)[1])
    assert q.encode([range(20)]) == q.encode(np.arange(20)[None])


def test_inputs_are_never_written_to(q: TurboQuant, index: Index) -> None:
    for dtype in (np.float32, np.float64, np.float16):
        x = X.astype(dtype)
        before = x.copy()
        codes = q.encode(x)
        q.score(x, codes)
        index.search(x, 3)
        Index(20, metric="l2").add(x)
        assert same(x, before)


def test_c_contiguous_float32_is_read_in_place(q: TurboQuant, monkeypatch: pytest.MonkeyPatch) -> None:
    from turboquant_rs import _arrays

    first, block = next(_arrays.blocks(X, "x"))
    assert first == 0
    assert np.shares_memory(block, X)
    assert same(block, X)
