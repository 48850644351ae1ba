"""The doubles of CuPy and PyTorch as fixtures. Kernels run from their CUDA source, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from doubles import fake_cupy, fake_torch
from doubles.fake_cuda import CUDA


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    """Put the double of CuPy in the place of ``cupy``: two GPUs of 1 GiB, in which nothing is written out of bounds."""
    pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")
    with fake_cupy.installed() as module:
        yield module
        CUDA.check_surroundings()


@pytest.fixture
def torch(cp: ModuleType) -> Iterator[ModuleType]:
    """Put the double of PyTorch in the place of ``torch``."""
    with fake_torch.installed() as module:
        yield module


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """TEMPORARY until runtime.py lands."""
    from turboquant_rs.gpu import codec as glue
    from turboquant_rs.gpu import sources
    from turboquant_rs.gpu.gate import check_launch

    cache = {}

    class Backend:
        def __init__(self):
            import cupy

            self.cp = cupy
            d = cupy.cuda.Device()
            self.device = d.id
            self.key = ("cuda", d.id, cupy.cuda.get_current_stream().ptr)
            self.processors = d.attributes["MultiProcessorCount"]
            self.shared_limit = d.attributes["MaxSharedMemoryPerBlockOptin"]
            self.capability = 90

        def empty(self, shape, dtype):
            return self.cp.empty(shape, dtype)

        def asarray(self, host):
            return self.cp.asarray(host)

        def to_host(self, array):
            return array.get()

        def launch(self, kernel, grid, block, args, shared):
            check_launch(kernel, grid, block, args, shared, self.shared_limit, self.device)
            f = cache.get((self.device, kernel))
            if f is None:
                f = self.cp.RawModule(code=sources.source(kernel.name), options=sources.options(kernel)).get_function(
                    kernel.name
                )
                cache[self.device, kernel] = f
            if shared > 48 << 10:
                f.max_dynamic_shared_size_bytes = shared
            f((grid,), (block,), args, shared_mem=shared)

    monkeypatch.setattr(glue, "CupyBackend", Backend)
