"""Where Linux gives large pages on request, an index asks for them."""

import re
from pathlib import Path

import numpy as np
import pytest
from turboquant_rs import Index

SMAPS = Path("/proc/self/smaps")
SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def advised() -> int:
    """Bytes of this process that large pages are asked for."""
    mappings = re.findall(r"^Size: +(\d+) kB$.*?^VmFlags:([^\n]*)$", SMAPS.read_text(), re.MULTILINE | re.DOTALL)
    return sum(1024 * int(size) for size, flags in mappings if "hg" in flags.split())


def test_large_arrays_ask_for_them() -> None:
    if not (SMAPS.exists() and SETTING.exists()) or "[never]" in SETTING.read_text():
        pytest.skip("no large pages here")
    before = advised()
    x = np.ones((10_000, 1024), np.float32)  # NumPy asks for them, too
    if advised() < before + x.nbytes // 2:
        pytest.skip("this system does not say what is asked for")
    index = Index(1024, 4)
    before = advised()
    for _ in range(4):
        index.add(x)
    # Planes of one, one and two bits.
    assert advised() >= before + 40_000 * 512
