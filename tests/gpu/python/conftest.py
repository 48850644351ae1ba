"""The doubles of CuPy and PyTorch as fixtures. Kernels run from their CUDA source, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from doubles import fake_cupy, fake_torch


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    """Put the double of CuPy in the place of ``cupy``: two GPUs of 1 GiB."""
    pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")
    with fake_cupy.installed() as module:
        yield module


@pytest.fixture
def torch(cp: ModuleType) -> Iterator[ModuleType]:
    """Put the double of PyTorch in the place of ``torch``."""
    with fake_torch.installed() as module:
        yield module


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """TEMPORARY until the kernels land: drivers that compute on the host."""
    import numpy as np
    from turboquant_rs import TurboQuant
    from turboquant_rs.gpu import codec as glue
    from turboquant_rs.gpu.faults import Fault

    class Backend:
        def empty(self, shape, dtype):
            return fake_cupy.empty(shape, dtype)

    def made(key):
        return TurboQuant(key.dim, key.bits, seed=key.seed, scale=key.scale, refine=key.refine or False)

    def fault_of(call):
        import re

        try:
            call()
        except ValueError as e:
            m = re.search(r"at row (\d+)(?:, column (\d+))?", str(e))
            return Fault("norm" if "norms" in str(e) else "nonfinite", int(m[1]), int(m[2] or 0))

    def launched(*arrays):
        for a in arrays:
            assert a._device == fake_cupy.current() and a.flags.c_contiguous
        fake_cupy.CUDA.note("launch")

    def encode(backend, key, x, packed, scales, squares=None, *, unit_norm=False, validate=True):
        launched(x, packed, scales)
        assert x.dtype == np.float32
        assert packed.data.ptr % 4 == 0

        def work():
            c = made(key).encode(x._host)
            packed._host[...] = c.packed
            scales._host[...] = c.scales

        fault = fault_of(work)
        if validate:
            fake_cupy.CUDA.note("sync")
            return fault

    def decode(backend, key, keep, packed, scales, out):
        launched(packed, scales, out)
        q = made(key)
        from turboquant_rs import Codes

        out._host[...] = q.decode(Codes(packed._host, scales._host, q, keep))

    def score(backend, key, keep, queries, packed, scales, out, *, cosine=False, validate=True):
        launched(queries, packed, scales, out)
        q = made(key)
        from turboquant_rs import Codes

        def work():
            out._host[...] = q.score(queries._host, Codes(packed._host, scales._host, q, keep))

        fault = fault_of(work)
        if validate:
            fake_cupy.CUDA.note("sync")
            return fault

    monkeypatch.setattr(glue, "CupyBackend", Backend)
    monkeypatch.setattr(glue, "launch_encode", encode)
    monkeypatch.setattr(glue, "launch_decode", decode)
    monkeypatch.setattr(glue, "launch_score", score)
