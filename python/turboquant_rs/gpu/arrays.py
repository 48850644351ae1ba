"""The caller's GPU arrays: taken without a copy, worked on where they are and on the caller's stream, answered in kind.

A CuPy array's stream is CuPy's current one of its device; a PyTorch tensor's is PyTorch's. Producers of DLPack make
CuPy's current stream wait for what they queued; so does ``__cuda_array_interface__`` where it names a stream.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from .._arrays import check_real
from .._device import cupy_for, describe

#: Bytes of float32 rows that are converted at a time where the caller's array cannot be read in place. Large enough to
#: fill a GPU, small beside its memory.
BLOCK_BYTES = 256 << 20

#: Rows of a block are a multiple of this, so that the block's packed rows start at a multiple of 128 bytes.
BLOCK_ROWS = 128


class _ForeignStream:
    """A stream of another library as CuPy takes it: the CUDA stream protocol."""

    def __init__(self, pointer: int) -> None:
        self._pointer = pointer

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self._pointer


def is_torch(value: Any) -> bool:
    """Return whether ``value`` is a PyTorch tensor."""
    return any(kind.__module__.partition(".")[0] == "torch" for kind in type(value).__mro__)


def device_number(value: Any, name: str) -> int:
    """Return the number of the GPU that a CUDA array lives on."""
    cupy = cupy_for(name)
    if isinstance(value, cupy.ndarray):
        return int(value.device.id)
    if hasattr(type(value), "__dlpack_device__"):
        return int(value.__dlpack_device__()[1])
    pointer = value.__cuda_array_interface__["data"][0]
    # An empty array has no address.
    return int(cupy.cuda.runtime.pointerGetAttributes(pointer).device if pointer else cupy.cuda.Device().id)


@contextlib.contextmanager
def working_beside(value: Any, name: str) -> Iterator[str]:
    """Make the GPU of a CUDA array current, with the stream that its library works on; yield the device's name.

    CuPy and PyTorch reuse an array's memory in the order of streams. Of other libraries nothing is known: they might do
    so as soon as nobody holds the array any more, so the end of the block waits for the work on it.
    """
    cupy = cupy_for(name)
    number = device_number(value, name)
    with cupy.cuda.Device(number), contextlib.ExitStack() as stack:
        if is_torch(value):
            pointer = sys.modules["torch"].cuda.current_stream(number).cuda_stream
            stack.enter_context(_stream(cupy, pointer, number))
        elif not isinstance(value, cupy.ndarray):
            stack.callback(cupy.cuda.get_current_stream().synchronize)
        yield f"cuda:{number}"


def _stream(cupy: Any, pointer: int, number: int) -> Any:
    if hasattr(cupy.cuda.Stream, "from_external"):
        return cupy.cuda.Stream.from_external(_ForeignStream(pointer))
    return cupy.cuda.ExternalStream(pointer, number)  # CuPy 13


def as_cupy(value: Any, name: str, device: str, there: str = "the codes are") -> Any:
    """Return a CUDA array as CuPy's, viewing the same memory; one on another GPU than ``device`` is refused."""
    cupy = cupy_for(name)
    number = device_number(value, name)
    if device != f"cuda:{number}":
        raise ValueError(f"{name} must be on {device}, where {there}, got {describe(value)} on cuda:{number}")
    if isinstance(value, cupy.ndarray):
        return value
    if not hasattr(type(value), "__dlpack__"):
        return cupy.asarray(value)
    try:
        return cupy.from_dlpack(value)
    except BufferError as error:  # such as a tensor that requires gradients
        raise TypeError(f"{name} must be an array that DLPack can pass on, got {describe(value)}: {error}") from None


def as_real(value: Any, name: str, device: str, there: str = "the codes are") -> Any:
    """Return a CUDA array as CuPy's, of whatever real dtype it has; others are refused as on the CPU."""
    array = as_cupy(value, name, device, there)
    check_real(array, name)
    return array


def in_place(array: Any) -> bool:
    """Return whether the kernels can read an array as it lies: float32, C-contiguous, this machine's byte order."""
    return bool(array.dtype == np.float32 and array.flags.c_contiguous)


def block_rows(dim: int) -> int:
    """Return how many rows are converted at a time."""
    return max(BLOCK_ROWS, BLOCK_BYTES // (4 * dim) // BLOCK_ROWS * BLOCK_ROWS)


def as_float32(array: Any) -> Any:
    """Return a C-contiguous float32 array on the device, copied only if it is not one; values beyond become ±inf."""
    return cupy_for("x").ascontiguousarray(array, np.float32)


def back(result: Any, like: Any) -> Any:
    """Return a CuPy array in the namespace of the caller's array, viewing the same memory."""
    if is_torch(like):
        return sys.modules["torch"].from_dlpack(result)
    if hasattr(like, "__array_namespace__") and not isinstance(like, cupy_for("queries").ndarray):
        return like.__array_namespace__().from_dlpack(result)
    return result


@contextlib.contextmanager
def memory_for(what: str, size: int, device: str, advice: str) -> Iterator[None]:
    """Turn a device's refusal of memory into an error that says how much was wanted, what is free and what to do."""
    cupy = cupy_for("codes")
    try:
        yield
    except MemoryError as error:
        free = cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()
        text = f"{what} needs {size:,} bytes on {device}, where {free:,} are free; {advice}"
        raise MemoryError(text) from error


def moved(arrays: tuple[Any, ...], source: str, target: str) -> list[Any]:
    """Return copies of arrays of the device ``source`` on ``target``, where at least one is a GPU."""
    cupy = cupy_for("codes")
    if target == "cpu":
        with cupy.cuda.Device(int(source[5:])):
            return [array.get() for array in arrays]
    if source != "cpu":
        # The target's stream knows nothing of what the source's stream still has to write.
        with cupy.cuda.Device(int(source[5:])):
            cupy.cuda.get_current_stream().synchronize()
    size = sum(int(array.nbytes) for array in arrays)
    advice = "move fewer rows (codes[first:last]) or free memory there"
    with cupy.cuda.Device(int(target[5:])), memory_for(f"moving codes from {source}", size, target, advice):
        # asarray leaves an array of another GPU where it is, copy() brings it here.
        return [array.copy() if source != "cpu" else cupy.asarray(np.ascontiguousarray(array)) for array in arrays]
