"""What drivers need of a device: memory, uploads, launches. CuPy has one (runtime.py), the tests' emulator another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import DTypeLike, NDArray

from .kernels import Kernel


class Copies(Protocol):
    """Copies from the host's memory that go on beside launched kernels: a stream of their own."""

    def start(self, arrays: Sequence[tuple[Any, NDArray[Any]]]) -> None:
        """Copy into device arrays from pinned host arrays, after all that was launched and beside what is next."""

    def wait(self) -> None:
        """Let later launches wait for what was started; the host does not wait."""


class Backend(Protocol):
    """One device and the array type that lives on it.

    An array has ``shape``, ``dtype``, ``nbytes``, slicing and ``view`` as NumPy's have; drivers ask no more of it.
    """

    #: Changes with everything that uploaded tables depend on; equal keys may share them.
    key: tuple[Any, ...]
    #: Multiprocessors: how many blocks are worth launching.
    processors: int
    #: Bytes of shared memory that a block may have.
    shared_limit: int
    #: Compute capability, 10·major + minor; 80 and above have the int8 matrix instruction that is used here.
    capability: int

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """Return an uninitialised C-contiguous device array. Raises MemoryError where the device has no room."""

    def asarray(self, host: NDArray[Any]) -> Any:
        """Return a device copy of a host array."""

    def copies(self) -> Copies:
        """Return a way to copy beside launched kernels."""

    def to_host(self, array: Any) -> NDArray[Any]:
        """Return a host copy of a device array, after everything launched before: this waits for the device."""

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        """Check the arguments (gate.py) and launch ``grid`` blocks of ``block`` threads on the current stream.

        ``args`` holds device arrays, None where a pointer may be null, and NumPy scalars; ``shared`` is the dynamic
        shared memory in bytes.
        """
