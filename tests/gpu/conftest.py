"""Backends of the GPU tests: the emulation everywhere, CuPy where there is a card."""

from __future__ import annotations

from typing import Any

import pytest
from gpu import shim
from turboquant_rs.gpu import runtime


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every test that asks for ``device`` each kind of backend that this machine has."""
    if "device" in metafunc.fixturenames:
        kinds: list[Any] = [] if shim.missing() else ["shim"]
        if runtime.missing_device() is None:
            kinds.append(pytest.param("cupy", marks=pytest.mark.gpu))
        metafunc.parametrize("device", kinds)
