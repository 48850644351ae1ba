"""The CuPy backend: modules compiled once per device and parameters, launched on the current stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import sources
from .gate import check_launch
from .kernels import Kernel

#: Shared memory that a block has without asking for more.
_PLAIN_SHARED = 48 << 10


def missing_device() -> str | None:
    """Return why no kernel can run on a GPU here, or None."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return "CuPy is not installed: pip install 'turboquant-rs[cuda12]' or 'turboquant-rs[cuda13]'"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CUDARuntimeError, a class of CuPy's own
        return f"CuPy finds no usable CUDA driver: {error}"
    return None if count else "CuPy finds no CUDA device"


class CupyBackend:
    """One CUDA device through CuPy.

    Cheap to make: compiled modules are shared. Launches go to the caller's current stream and do not wait.

    Parameters
    ----------
    device : int, optional
        Number of the device; by default the current one. It must be current whenever the backend is used.

    Raises
    ------
    RuntimeError
        Without CuPy or a CUDA device; says which, and what to install.
    """

    def __init__(self, device: int | None = None) -> None:
        reason = missing_device()
        if reason is not None:
            raise RuntimeError(reason)
        self._cupy = import_module("cupy")
        self.device = int(self._cupy.cuda.runtime.getDevice()) if device is None else device
        # A table is copied to the device, read and let go in the order of one stream: nothing else orders two of them.
        self.key = ("cupy", self.device, int(self._cupy.cuda.get_current_stream().ptr))
        attributes = self._cupy.cuda.Device(self.device).attributes
        self.processors = int(attributes["MultiProcessorCount"])
        self.shared_limit = int(attributes["MaxSharedMemoryPerBlockOptin"])
        self.capability = 10 * int(attributes["ComputeCapabilityMajor"]) + int(attributes["ComputeCapabilityMinor"])

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return an uninitialised device array; MemoryError says how much was asked for."""
        try:
            return self._cupy.empty(shape, dtype)
        except self._cupy.cuda.memory.OutOfMemoryError as error:
            size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
            raise MemoryError(f"device {self.device} has no room for {size} bytes of scratch: {error}") from None

    def asarray(self, host: NDArray[Any]) -> Any:
        """Return a device copy of a host array."""
        return self._cupy.asarray(host)

    def copies(self) -> CupyCopies:
        """Return a stream for copies beside those of the caller's current one."""
        return CupyCopies(self._cupy)

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return a host copy; waits for the current stream."""
        result: NDArray[Any] = self._cupy.asnumpy(array)
        return result

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        """Check the arguments and launch on the current stream."""
        check_launch(kernel, grid, block, args, shared, self.shared_limit, self.device)
        function = _function(self.device, kernel)
        if shared > _PLAIN_SHARED and function.max_dynamic_shared_size_bytes < shared:
            function.max_dynamic_shared_size_bytes = shared
        # None becomes a null pointer: CuPy takes a NumPy scalar of pointer size for one.
        values = tuple(np.uint64(0) if value is None else value for value in args)
        function((grid,), (block,), values, shared_mem=shared)


class CupyCopies:
    """A stream for copies; "launched" is what the caller's current stream has when a method is called."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        # CUDA's default stream would otherwise wait for it, and it for that.
        self._stream = cupy.cuda.Stream(non_blocking=True)

    def start(self, arrays: Sequence[tuple[Any, NDArray[Any]]]) -> None:
        """Copy from pinned memory, after what is launched."""
        self._stream.wait_event(self._cupy.cuda.get_current_stream().record())
        for array, host in arrays:
            array.set(host, stream=self._stream)

    def wait(self) -> None:
        """Let later launches wait for the copies."""
        self._cupy.cuda.get_current_stream().wait_event(self._stream.record())


@cache
def _function(device: int, kernel: Kernel) -> Any:
    """Return a compiled kernel of a device; CuPy keeps the code on disk, this the loaded module."""
    cupy = import_module("cupy")
    with cupy.cuda.Device(device):
        module = cupy.RawModule(code=sources.source(kernel.name), options=sources.options(kernel), backend="nvrtc")
        return module.get_function(kernel.name)
