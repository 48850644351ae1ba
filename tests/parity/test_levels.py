"""SIMD levels: every one that the project knows runs here, or says loudly that it did not."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from strategies import KNOWN_LEVELS, required_levels
from turboquant_rs import TurboQuant, simd

SCRIPT = """
from turboquant_rs import TurboQuant, simd
print(simd.level(), TurboQuant(8).encode([[1.0] * 8]).packed.tobytes().hex())
"""


def run(name: str) -> subprocess.CompletedProcess[str]:
    environment: dict[str, Any] = {**os.environ, "TURBOQUANT_SIMD": name}
    return subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", KNOWN_LEVELS)
def test_level(name: str) -> None:
    """A level that exists can be chosen by name and by the environment, with the same codes; others are refused."""
    if name in simd.available():
        done = run(name)
        expected = TurboQuant(8).encode([[1.0] * 8]).packed.tobytes().hex()
        assert done.stdout.split() == [name, expected], done.stderr
        return
    before = simd.level()
    text = f'SIMD level "{name}" is not available on this machine and build; available: scalar'
    with pytest.raises(ValueError, match=text):
        simd.set_level(name)
    assert simd.level() == before
    done = run(name)
    assert done.returncode != 0
    assert text in done.stderr
    if name in required_levels():
        pytest.fail(f"SIMD level {name} is required by TURBOQUANT_REQUIRE_SIMD, but not available")
    pytest.skip(f"SIMD LEVEL {name} IS NOT AVAILABLE HERE: no test ran at it")


def test_every_available_level_is_known() -> None:
    assert set(simd.available()) <= set(KNOWN_LEVELS)
    assert simd.available()[0] == "scalar"
    assert simd.level() in simd.available()


def test_the_fixture_sets_the_level(level: str) -> None:
    assert simd.level() == level


@pytest.mark.parametrize("name", ["mmx", "", "AVX2", "scalar "])
def test_unknown_levels_are_refused(name: str) -> None:
    before = simd.level()
    with pytest.raises(ValueError, match=rf'SIMD level "{name}" is unknown; available: scalar'):
        simd.set_level(name)
    assert simd.level() == before


def test_an_empty_variable_forces_nothing() -> None:
    assert run("").stdout.split()[0] == simd.available()[-1]
