"""Where Linux gives large pages on request, an index asks for them."""

import subprocess
import sys

import pytest

# A process of its own: memory that others have left would count before and after.
CHILD = """
import re
from pathlib import Path

import numpy as np

from turboquant_rs import Index

smaps, setting = Path("/proc/self/smaps"), Path("/sys/kernel/mm/transparent_hugepage/enabled")
if not (smaps.exists() and setting.exists()) or "[never]" in setting.read_text():
    raise SystemExit("no large pages here")


def advised():
    mappings = re.findall(r"^Size: +(\\d+) kB$.*?^VmFlags:([^\\n]*)$", smaps.read_text(), re.MULTILINE | re.DOTALL)
    return sum(1024 * int(size) for size, flags in mappings if "hg" in flags.split())


before = advised()
x = np.ones((10_000, 1024), np.float32)  # NumPy asks for them, too
if advised() < before + x.nbytes // 2:
    raise SystemExit("this system does not say what is asked for")
index = Index(1024, 4)
before = advised()
for _ in range(4):
    index.add(x)
print(advised() - before)
"""


def test_large_arrays_ask_for_them() -> None:
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=120)
    if done.returncode == 1 and "Traceback" not in done.stderr:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    # Planes of one, one and two bits.
    assert int(done.stdout) >= 40_000 * 512
