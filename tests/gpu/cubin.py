"""Kernels compiled for a GPU on a machine without one: NVRTC and nvdisasm from their wheels, no driver, no toolkit."""

from __future__ import annotations

import ctypes
import re
import struct
import subprocess
import tempfile
from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from itertools import accumulate
from pathlib import Path

from turboquant_rs.gpu import sources
from turboquant_rs.gpu.kernels import Kernel

#: Compute capabilities that kernels are built for: A100, H100 and H200, consumer Blackwell.
ARCHITECTURES = ("sm_80", "sm_90", "sm_120")
#: What CuPy adds after a module's own options; NVRTC takes the last word.
CUPY_OPTIONS = ("-ftz=true",)
#: Every instruction of these architectures has one length.
INSTRUCTION_BYTES = 16


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


@dataclass(frozen=True)
class Job:
    """A kernel to compile for an architecture, with options after the package's own."""

    kernel: Kernel
    architecture: str
    extra: tuple[str, ...] = CUPY_OPTIONS


def compile_kernels(jobs: Sequence[Job]) -> list[Cubin]:
    """Compile kernels, two at a time, and read the code of each architecture in one run of the disassembler.

    The disassembler takes longer to start than to read the longest kernel.
    """
    with ThreadPoolExecutor(2) as pool:
        images = list(pool.map(_compile, jobs))
    counts: dict[int, Counter[str]] = {}
    for architecture in dict.fromkeys(job.architecture for job in jobs):
        places = [i for i, job in enumerate(jobs) if job.architecture == architecture]
        found = _instructions([_code(images[i][1]) for i in places], architecture)
        counts.update(zip(places, found, strict=True))
    return [_cubin(log, counts[i]) for i, (log, _) in enumerate(images)]


@cache
def _compile(job: Job) -> tuple[str, bytes]:
    """Return what the assembler says of a kernel, and the cubin."""
    nvrtc, program, size = _nvrtc(), ctypes.c_void_p(), ctypes.c_size_t()
    kernel = job.kernel
    text = sources.source(kernel.name).encode()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), text, f"{kernel.name}.cu".encode(), 0, None, None)
    options = [*sources.options(kernel), *job.extra, f"--gpu-architecture={job.architecture}", "--ptxas-options=-v"]
    values = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
    failed = nvrtc.nvrtcCompileProgram(program, len(options), values)
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log_bytes = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log_bytes)
    log = log_bytes.value.decode()
    assert not failed, f"{kernel} for {job.architecture}:\n{log}"
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    image = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, image)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    return log, image.raw


def _cubin(log: str, instructions: Counter[str]) -> Cubin:
    def number(pattern: str) -> int:
        found = re.search(pattern, log)
        assert found is not None, f"ptxas reports otherwise than expected:\n{log}"
        return int(found[1])

    return Cubin(
        registers=number(r"Used (\d+) registers"),
        spills=number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
        stack=number(r"(\d+) bytes stack frame"),
        instructions=instructions,
    )


def _code(image: bytes) -> bytes:
    """Return the machine code of a cubin, which is an ELF file: its sections named ``.text`` and the kernel's name."""
    (table,) = struct.unpack_from("<Q", image, 0x28)
    size, count, names = struct.unpack_from("<HHH", image, 0x3A)
    #: Of each section: where its name is, type, flags, address, offset, size.
    sections = [struct.unpack_from("<IIQQQQ", image, table + i * size) for i in range(count)]
    strings = sections[names][4]
    code = b"".join(
        image[offset : offset + length]
        for name, _, _, _, offset, length in sections
        if image.startswith(b".text.", strings + name)
    )
    assert code, "a cubin without code"
    return code


def _instructions(codes: list[bytes], architecture: str) -> list[Counter[str]]:
    """Count the instructions of each piece of machine code."""
    nvdisasm = _wheel_file("nvidia-cuda-nvdisasm", r"bin/nvdisasm$")
    assert nvdisasm is not None
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(b"".join(codes))
        file.flush()
        command = [str(nvdisasm), "--binary", architecture.replace("sm_", "SM"), file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    # "        /*0130*/                   @!P0 FADD.FTZ R3, R2, R5 ;"
    lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*)", done.stdout)
    ends = list(accumulate(len(code) for code in codes))
    assert len(lines) * INSTRUCTION_BYTES == ends[-1], "instructions that are not understood"
    counts: list[Counter[str]] = [Counter() for _ in codes]
    for address, name in lines:
        counts[bisect(ends, int(address, 16))][name] += 1
    return counts
