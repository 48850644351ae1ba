"""Kernels compiled for a GPU on a machine without one: NVRTC and nvdisasm from their wheels, no driver, no toolkit."""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from turboquant_rs.gpu import sources
from turboquant_rs.gpu.kernels import Kernel

#: Compute capabilities that kernels are built for: A100, H100 and H200, consumer Blackwell.
ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
#: What CuPy adds after a module's own options; NVRTC takes the last word.
CUPY_OPTIONS = ("-ftz=true",)


def _wheel_file(distribution: str, pattern: str) -> Path | None:
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    found = [file for file in files if re.search(pattern, str(file))]
    return Path(str(found[0].locate())) if found else None


def missing() -> str | None:
    """Return why kernels cannot be compiled here, or None."""
    if _wheel_file("nvidia-cuda-nvrtc", r"libnvrtc\.so\.\d+$") is None:
        return "compiling CUDA kernels needs the package nvidia-cuda-nvrtc, which is not installed"
    if _wheel_file("nvidia-cuda-nvdisasm", r"bin/nvdisasm$") is None:
        return "reading compiled CUDA kernels needs the package nvidia-cuda-nvdisasm, which is not installed"
    return None


@cache
def _nvrtc() -> ctypes.CDLL:
    library = _wheel_file("nvidia-cuda-nvrtc", r"libnvrtc\.so\.\d+$")
    assert library is not None
    return ctypes.CDLL(str(library))


def version() -> str:
    """Return the compiler's version, which register counts depend on."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _nvrtc().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    return f"{major.value}.{minor.value}"


@dataclass(frozen=True)
class Cubin:
    """A compiled kernel: what it takes of a multiprocessor, and its instructions."""

    registers: int
    #: Bytes stored to and loaded from local memory because registers ran out.
    spills: int
    #: Bytes of local memory a thread: arrays that are indexed by what is not known at compile time.
    stack: int
    #: How often each instruction occurs, without its modifiers.
    instructions: Counter[str]


@cache
def compile_kernel(kernel: Kernel, architecture: str, extra: tuple[str, ...] = CUPY_OPTIONS) -> Cubin:
    """Compile a kernel with the package's options and ``extra`` ones after them."""
    nvrtc, program, size = _nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    text = sources.source(kernel.name).encode()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, f"{kernel.name}.cu".encode(), 0, None, None)
    options = [*sources.options(kernel), *extra, f"--gpu-architecture={architecture}", "--ptxas-options=-v"]
    values = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), values)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log_bytes = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log_bytes)
    log = log_bytes.value.decode()
    assert not failed, f"{kernel} for {architecture}:\n{log}"
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, image)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        assert found is not None, f"ptxas reports otherwise than expected:\n{log}"
        return int(found[1])

    return Cubin(
        registers=number(r"Used (\d+) registers"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        stack=number(r"(\d+) bytes stack frame"),
        instructions=_instructions(image.raw),
    )


def _instructions(image: bytes) -> Counter[str]:
    nvdisasm = _wheel_file("nvidia-cuda-nvdisasm", r"bin/nvdisasm$")
    assert nvdisasm is not None
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(image)
        file.flush()
        done = subprocess.run([str(nvdisasm), "-c", file.name], capture_output=True, text=True, check=True)
    # "        /*0130*/                   @!P0 FADD.FTZ R3, R2, R5 ;"
    names = re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", done.stdout)
    return Counter(names)
