"""Eigenvectors on one thread: OpenBLAS has its threads back afterwards, whatever happens."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from turboquant_rs.fit import lapack


def symmetric(dim: int) -> np.ndarray:  # type: ignore[type-arg]
    """A matrix with eigenvalues far apart."""
    half = np.random.default_rng(0).standard_normal((dim, dim))
    return half + half.T


def test_eigenvectors_are_numpys() -> None:
    matrix = symmetric(40)
    values, vectors = lapack.eigh(matrix)
    # 40 products of eigenvectors and values up to 20, each good to 2^-52.
    assert np.abs((vectors * values) @ vectors.T - matrix).max() < 1e-11
    assert np.all(np.diff(values) > 0)


def test_threads_come_back() -> None:
    control = lapack._control()
    if control is None:
        pytest.skip("NumPy is not linked with OpenBLAS here")
    set_threads, get_threads = control
    before = get_threads()
    set_threads(2)
    inside: list[int] = []

    def once() -> None:
        with lapack.one_thread():
            inside.append(get_threads())

    try:
        several = [threading.Thread(target=once) for _ in range(4)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()
        assert inside == [1, 1, 1, 1]
        assert get_threads() == 2
        with pytest.raises(np.linalg.LinAlgError):
            lapack.eigh(np.ones((2, 3)))
        assert get_threads() == 2
    finally:
        set_threads(before)


def test_large_matrices_keep_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lapack, "ONE_THREAD_UP_TO", 4)
    monkeypatch.setattr(lapack, "one_thread", lambda: pytest.fail("one thread for a large matrix"))
    assert len(lapack.eigh(symmetric(5))[0]) == 5
