"""Memory: what is converted is converted in blocks, so that temporaries stay small beside any input."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

#: What a call may take beside its input and its result. A block of 8 MiB of float32, its float64 source twice and masks
#: of the check for values beyond float32 make about 30 MiB; the pools' own stacks and allocators the rest.
TEMPORARIES = 64 << 20

#: Starts a script that measures work: by how many bytes the process's anonymous memory passed the start's, looked at
#: every 2 ms by a thread, which the work lets run. Scripts make a small call first, which loads what loads once.
MEASURE = """
import os, sys, threading
import numpy as np
from turboquant_rs import Codes, Index, TurboQuant


def anonymous():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("RssAnon"))


def measured(work):
    peak, stop = anonymous(), threading.Event()
    start = peak

    def watch():
        nonlocal peak
        while not stop.wait(0.002):
            peak = max(peak, anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    result = work()
    peak = max(peak, anonymous())
    stop.set()
    thread.join()
    return peak - start, result
"""

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/status")


def peak(script: str, *arguments: str) -> int:
    """Return the number that a script prints last."""
    command = [sys.executable, "-c", MEASURE + textwrap.dedent(script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.split()[-1])


@linux
def test_the_measure_sees_a_copy() -> None:
    """The control: a whole float32 copy of a float64 input is seen."""
    extra = peak("""
        x = np.broadcast_to(np.ones(1024), (1 << 16, 1024))
        print(measured(lambda: x.astype(np.float32))[0])
    """)
    assert extra > 0.9 * (1 << 28)


@linux
@pytest.mark.parametrize("kind", ["float64", "float16", "int64", "float32"])
def test_encoding_takes_blocks(kind: str) -> None:
    """Half a gigabyte of numbers (as float64), strided so that none can be read in place, becomes 8 MiB of codes."""
    extra = peak(
        """
        x = np.broadcast_to(np.ones(1024, sys.argv[1]), (1 << 16, 1024))
        q = TurboQuant(1024, 1)
        q.encode(x[:4096])
        extra, codes = measured(lambda: q.encode(x))
        print(extra - codes.nbytes)
        """,
        kind,
    )
    assert extra < TEMPORARIES


@linux
def test_a_memory_map_is_not_materialised(tmp_path: Path) -> None:
    path = tmp_path / "rows.npy"
    extra = peak(
        """
        made = np.lib.format.open_memmap(sys.argv[1], "w+", np.float64, (20_000, 1024))
        for first in range(0, 20_000, 1000):
            made[first : first + 1000] = first
        del made
        x = np.load(sys.argv[1], mmap_mode="r")
        q = TurboQuant(1024, 1)
        q.encode(x[:4096])
        extra, codes = measured(lambda: q.encode(x))
        print(extra - codes.nbytes)
        """,
        str(path),
    )
    assert extra < TEMPORARIES


@linux
def test_adding_holds_no_second_copy() -> None:
    """Beside the index itself (which may over-allocate by half) an add holds the new codes once and blocks of rows."""
    extra = peak("""
        x = np.broadcast_to(np.ones(512), (1 << 17, 512))
        index = Index(512, 4)
        index.add(x[:4096])
        extra, ids = measured(lambda: index.add(x))
        new = (1 << 17) * (256 + 4 + 8)
        print(int(extra - ids.nbytes - 2.5 * new))
    """)
    assert extra < TEMPORARIES


@linux
def test_decoding_takes_blocks() -> None:
    extra = peak("""
        q = TurboQuant(1024, 1)
        codes = q.encode(np.ones((1, 1024)))[np.zeros(50_000, int)]
        q.decode(codes[:4096])
        extra, out = measured(lambda: q.decode(codes))
        print(extra - out.nbytes)
    """)
    assert extra < TEMPORARIES


@linux
def test_searching_takes_blocks() -> None:
    """A large batch over a large index: temporaries depend on neither."""
    extra = peak("""
        index = Index(64, 4)
        index.add(np.random.default_rng(0).standard_normal((200_000, 64), np.float32))
        queries = np.random.default_rng(1).standard_normal((3_000, 64), np.float32)
        index.search(queries[:100], 10)
        extra, (scores, ids) = measured(lambda: index.search(queries, 10))
        print(extra - scores.nbytes - ids.nbytes)
    """)
    assert extra < TEMPORARIES


@linux
def test_a_mapped_file_stays_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "codes.tq"
    extra = peak(
        """
        q = TurboQuant(1024, 8)
        codes = q.encode(np.ones((1, 1024)))[np.zeros(200_000, int)]
        codes.save(sys.argv[1])
        del codes
        extra, codes = measured(lambda: Codes.load(sys.argv[1], mmap=True))
        assert isinstance(codes.packed, np.memmap) and codes.packed.nbytes > 200_000_000
        more, _ = measured(lambda: q.decode(codes[-10:]))
        print(extra + more)
        """,
        str(path),
    )
    assert extra < 16 << 20


@linux
def test_saving_holds_no_second_copy(tmp_path: Path) -> None:
    path = tmp_path / "codes.tq"
    extra = peak(
        """
        q = TurboQuant(1024, 8)
        codes = q.encode(np.ones((1, 1024)))[np.zeros(150_000, int)]
        print(measured(lambda: codes.save(sys.argv[1]))[0])
        """,
        str(path),
    )
    assert extra < 16 << 20
