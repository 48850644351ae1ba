"""Compiles a kernel's source for the CPU, once; the result is kept in memory and, by content, on disk."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from turboquant_rs.gpu import sources
from turboquant_rs.gpu.kernels import Kernel

HERE = Path(__file__).parent
#: Correctly rounded float32, one operation after another, as --fmad=false has it.
FLAGS = ("-std=c++17", "-O2", "-ffp-contract=off", "-fPIC", "-shared", "-fno-strict-aliasing", "-Wno-unknown-pragmas")

#: Parameters that bound arrays: the largest value, where the others are read while the kernel runs.
BOUNDS = {"TQ_SLOTS": 64, "TQ_PLANE_WORDS": 2}

#: What a test does to a source text before it is compiled.
Mutation = Callable[[str], str]


def missing() -> str | None:
    """Return why kernels cannot run here, or None."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return f"the CUDA emulation switches fibers in x86-64 assembly, this is {platform.machine()}"
    if shutil.which("g++") is None:
        return "the CUDA emulation needs g++, which is not installed"
    return None


@dataclass
class Compiled:
    """One kernel as machine code."""

    library: ctypes.CDLL
    launch: Callable[..., bytes | None] = field(repr=False)
    #: Names of the parameters that are variables of the library.
    variables: tuple[str, ...]

    def set_parameters(self, kernel: Kernel) -> None:
        """Give the variables a kernel's values."""
        values = dict(kernel.parameters)
        for name in self.variables:
            ctypes.c_int.in_dll(self.library, f"shim_{name}").value = values[name]


def compile_kernel(
    kernel: Kernel, *, specialised: bool, mutation: Mutation | None = None, flags: tuple[str, ...] = ()
) -> Compiled:
    """Compile a kernel: ``specialised`` with its parameters as constants, as a GPU has it, else with variables."""
    text = sources.source(kernel.name, (HERE / "device.h").read_text())
    if mutation is not None:
        changed = mutation(text)
        assert changed != text, "the mutation changed nothing"
        text = changed
    names = tuple(name for name, _ in kernel.parameters)
    variables = () if specialised else tuple(name for name in names if name not in BOUNDS)
    lines = ['#include "shim.h"']
    lines += [f'extern "C" {{ int shim_{name}; }}\n#define {name} shim_{name}' for name in variables]
    values = dict(kernel.parameters) if specialised else BOUNDS
    lines += [f"#define {name} {values[name]}" for name in names if name not in variables]
    lines += ['#line 1 "kernel"', text]
    lines += [
        'extern "C" const char* shim_launch(unsigned blocks, unsigned threads, unsigned shared, void** arguments,',
        "                                   unsigned long long order, int flush) {",
        f"    return shim::launch({kernel.name}, blocks, threads, shared, arguments, order, flush);",
        "}",
    ]
    return _library("\n".join(lines) + "\n", flags, variables)


@cache
def _library(text: str, flags: tuple[str, ...], variables: tuple[str, ...]) -> Compiled:
    key = hashlib.sha256("\0".join([text, (HERE / "shim.h").read_text(), *FLAGS, *flags]).encode()).hexdigest()[:24]
    folder = Path(os.environ.get("TURBOQUANT_SHIM_CACHE") or Path(tempfile.gettempdir()) / f"tq-shim-{os.getuid()}")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    library = folder / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=folder) as work:
            source, built = Path(work) / "kernel.cpp", Path(work) / "kernel.so"
            source.write_text(text)
            command = ["g++", *FLAGS, *flags, f"-I{HERE}", "-o", str(built), str(source)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"g++ refuses a kernel:\n{done.stderr}"
            built.rename(library)
    loaded = ctypes.CDLL(str(library))
    loaded.shim_launch.restype = ctypes.c_char_p
    return Compiled(loaded, loaded.shim_launch, variables)
