"""The doubles of CuPy and PyTorch as fixtures. Kernels run from their CUDA source, on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest
from doubles import fake_cupy, fake_torch
from doubles.fake_cuda import CUDA
from turboquant_rs.gpu import constants, runtime


@pytest.fixture
def cp() -> Iterator[ModuleType]:
    """Put the double of CuPy in the place of ``cupy``: two GPUs of 1 GiB, in which nothing is written out of bounds."""
    pytest.importorskip("array_api_compat", reason="array-api-compat is not installed")
    with fake_cupy.installed() as module:
        forget()
        yield module
        CUDA.check_surroundings()
        forget()


def forget() -> None:
    """Let go of kernels and tables, so that those of the double and of a real card never meet."""
    runtime._function.cache_clear()
    constants._uploaded.clear()


@pytest.fixture
def torch(cp: ModuleType) -> Iterator[ModuleType]:
    """Put the double of PyTorch in the place of ``torch``."""
    with fake_torch.installed() as module:
        yield module
