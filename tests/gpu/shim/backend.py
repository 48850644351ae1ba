"""The drivers' backend on a CPU: arrays in guarded memory, kernels on fibers."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from turboquant_rs.gpu.gate import check_launch
from turboquant_rs.gpu.kernels import Kernel

from .build import Mutation, compile_kernel, missing

__all__ = ["LaunchError", "ShimBackend", "missing"]

_libc = ctypes.CDLL(None, use_errno=True)


class LaunchError(RuntimeError):
    """What the shim found wrong in a launch."""


def guarded(nbytes: int, align: int) -> NDArray[np.uint8]:
    """Return bytes, filled with 0xCD, before a page that may not be touched; at most ``align`` − 1 lie between."""
    page = mmap.PAGESIZE
    used = -(-max(nbytes, 1) // align) * align
    size = -(-used // page) * page
    memory = mmap.mmap(-1, size + page)
    whole = np.frombuffer(memory, np.uint8)
    whole[:size] = 0xCD
    end = whole.ctypes.data + size
    if _libc.mprotect(ctypes.c_void_p(end), ctypes.c_size_t(page), 0) != 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return whole[size - used : size - used + nbytes]


class LateCopies:
    """Copies that are made when something waits for them."""

    def __init__(self) -> None:
        self._started: list[tuple[NDArray[Any], NDArray[Any]]] = []

    def start(self, arrays: Sequence[tuple[NDArray[Any], NDArray[Any]]]) -> None:
        """Note what is to be copied."""
        self._started += arrays

    def wait(self) -> None:
        """Copy."""
        for array, host in self._started:
            array[...] = host
        self._started.clear()


class ShimBackend:
    """Runs kernels on the CPU.

    Parameters
    ----------
    order : int
        In which order the threads of a block get their turns: 0 ascending, 1 descending, else a seed. With an odd
        number a warp goes on for as long as it can before the next one starts, with an even one all advance together.
    flush : bool
        Flush subnormal floats to zero, as kernels that CuPy compiles do.
    specialised : bool
        Compile a kernel for its parameters, as for a GPU, instead of once for all.
    processors, shared_limit, capability : int
        The device that drivers see.
    mutation, flags
        Changes to the source text and to the compiler's options: what a test breaks on purpose.
    """

    def __init__(
        self,
        order: int = 0,
        *,
        flush: bool = False,
        specialised: bool = False,
        processors: int = 2,
        shared_limit: int = 99 << 10,
        capability: int = 80,
        mutation: Mutation | None = None,
        flags: tuple[str, ...] = (),
    ) -> None:
        reason = missing()
        if reason is not None:
            raise RuntimeError(reason)
        self.key = ("shim",)
        self.order, self.flush, self.specialised = order, flush, specialised
        self.processors, self.shared_limit, self.capability = processors, shared_limit, capability
        self.mutation, self.flags = mutation, flags
        #: Every launch: kernel, blocks, threads, bytes of shared memory.
        self.launches: list[tuple[Kernel, int, int, int]] = []
        #: Called before every copy to the host, the one thing that waits for a device.
        self.on_synchronise: Callable[[], None] = lambda: None

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array of nonsense that ends at a guard page."""
        kind = np.dtype(dtype)
        count = int(np.prod(shape))
        return guarded(count * kind.itemsize, 4 if kind.itemsize < 4 else kind.itemsize).view(kind).reshape(shape)

    def asarray(self, host: NDArray[Any]) -> NDArray[Any]:
        """Return a guarded copy."""
        array = self.empty(host.shape, host.dtype)
        array[...] = host
        return array

    def copies(self) -> LateCopies:
        """Return copies that are made as late as they may be."""
        return LateCopies()

    def to_host(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a plain copy."""
        self.on_synchronise()
        return np.array(array)

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        """Check, then run the kernel to its end."""
        check_launch(kernel, grid, block, args, shared, self.shared_limit)
        self.launches.append((kernel, grid, block, shared))
        compiled = compile_kernel(kernel, specialised=self.specialised, mutation=self.mutation, flags=self.flags)
        compiled.set_parameters(kernel)
        cells: list[Any] = []
        for argument, value in zip(kernel.arguments, args, strict=True):
            if argument.array:
                cells.append(ctypes.c_void_p(None if value is None else value.ctypes.data))
            else:
                cells.append((ctypes.c_char * value.nbytes).from_buffer_copy(value.tobytes()))
        pointers = (ctypes.c_void_p * len(cells))(*(ctypes.addressof(cell) for cell in cells))
        error = compiled.launch(grid, block, shared, pointers, ctypes.c_ulonglong(self.order), int(self.flush))
        if error is not None:
            raise LaunchError(f"{kernel.name}: {error.decode()}")
