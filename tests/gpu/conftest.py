"""Backends of the GPU tests: the emulation everywhere, CuPy where there is a card.

``TURBOQUANT_GPU_POOL=0`` gives every array on a card an allocation of its own, whose end compute-sanitizer sees.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import pytest
from gpu import shim
from turboquant_rs.gpu import runtime


def pytest_configure() -> None:
    """Turn CuPy's memory pool off where that is asked for."""
    if os.environ.get("TURBOQUANT_GPU_POOL") == "0" and runtime.missing_device() is None:
        import_module("cupy").cuda.set_allocator(None)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for ``device`` each kind of backend that this machine has."""
    if "device" in metafunc.fixturenames:
        kinds: list[Any] = [] if shim.missing() else ["shim"]
        if runtime.missing_device() is None:
            kinds.append(pytest.param("cupy", marks=pytest.mark.gpu))
        metafunc.parametrize("device", kinds)
