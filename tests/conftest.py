"""What every Python test shares: how deep property tests go, and the SIMD levels.

``TURBOQUANT_TEST_DEPTH`` = ``quick``, ``full`` (the default: the same examples on every run) or ``deep`` (many others
on every run); the Rust tests read the same variable. ``TURBOQUANT_REQUIRE_SIMD=name,…`` turns the skip of a level that
this machine lacks into a failure.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from strategies import KNOWN_LEVELS, required_levels
from turboquant_rs import simd

_EXAMPLES = {"quick": 4, "full": 12, "deep": 2000}

for _name, _count in _EXAMPLES.items():
    settings.register_profile(
        _name,
        max_examples=_count,
        deadline=None,
        derandomize=_name != "deep",
        print_blob=True,
        # The fixture `level` holds for all examples of a test, which is what is meant.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
settings.load_profile(os.environ.get("TURBOQUANT_TEST_DEPTH") or "full")

# A shell's background job ignores Ctrl-C, and so would the processes that tests start in order to interrupt them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure() -> None:
    """Refuse a required level that nobody knows: it would never be tested."""
    unknown = required_levels() - set(KNOWN_LEVELS)
    if unknown:
        raise pytest.UsageError(f"TURBOQUANT_REQUIRE_SIMD names unknown levels: {', '.join(sorted(unknown))}")


def levels_to_run() -> list[str]:
    """Return the levels of this machine, and those that are required whether it has them or not."""
    return [name for name in KNOWN_LEVELS if name in simd.available() or name in required_levels()]


@pytest.fixture(params=levels_to_run())
def level(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test once at every SIMD level of this machine; a required level that is missing fails.

    Levels that are missing and not required are skipped once each, by parity/test_levels.py, instead of once a test.
    """
    name = request.param
    if name not in simd.available():
        pytest.fail(f"SIMD level {name} is required by TURBOQUANT_REQUIRE_SIMD, but not available: {simd.available()}")
    before = simd.level()
    simd.set_level(name)
    try:
        yield name
    finally:
        simd.set_level(before)
