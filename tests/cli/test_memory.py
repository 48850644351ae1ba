"""Peak anonymous memory of `turboquant encode`: what the contract allows is the output and 64 MB."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

DIM = 256
ROWS = 1 << 18  # 256 MiB in float32
ALLOWED = 64_000_000


def _anonymous(process: int) -> int:
    """Bytes of anonymous memory of a process, 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    line = next((line for line in status.splitlines() if line.startswith("RssAnon:")), "RssAnon: 0 kB")
    return 1024 * int(line.split()[1])


def _interpreter() -> int:
    """Anonymous bytes of an interpreter that does nothing."""
    line = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = _anonymous(process.pid)
        process.communicate(b"\n")
    return found


def _peak(*args: str) -> int:
    """Most anonymous bytes seen while a command runs."""
    with subprocess.Popen([sys.executable, "-m", "turboquant_rs.cli", *args]) as process:
        peak = 0
        # A block takes tens of milliseconds.
        while process.poll() is None:
            peak = max(peak, _anonymous(process.pid))
            time.sleep(0.002)
    assert process.returncode == 0
    return peak


def _fill(path: Path, form: str) -> None:
    """Write the vectors without holding them."""
    part = np.random.default_rng(0).standard_normal((ROWS // 64, DIM), dtype=np.float32)
    if form == "npz":
        np.savez(path, np.tile(part, (64, 1)))
        return
    order = form == "Fortran"
    array = np.lib.format.open_memmap(path, "w+", np.float32, (ROWS, DIM), fortran_order=order)
    for first in range(0, ROWS, len(part)):
        array[first : first + len(part)] = part
    array.flush()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see anonymous memory")
@pytest.mark.parametrize("form", ["npy", "Fortran", "npz"])
def test_encoding_holds_no_copy_of_the_input(form: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"x.{'npz' if form == 'npz' else 'npy'}", tmp_path / "x.tq"
    _fill(source, form)
    own, peak = _interpreter(), _peak("encode", str(source), str(target), "--quiet")
    above, output = peak - own, target.stat().st_size
    print(f"{form}: {above / 1e6:.1f} MB above the interpreter's {own / 1e6:.1f} MB, output {output / 1e6:.1f} MB")
    assert own > 0
    assert above <= output + ALLOWED, f"{above / 1e6:.1f} MB above the interpreter's {own / 1e6:.1f} MB"
    # The contract counts the output, which goes to the file and not to memory.
    assert above <= ALLOWED
