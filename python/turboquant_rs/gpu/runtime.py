"""The CuPy backend: modules compiled once per device and parameters, launched on the current stream."""

from __future__ import annotations

from typing import Any

from numpy.typing import DTypeLike, NDArray

from .kernels import Kernel


class CupyBackend:
    """One CUDA device through CuPy; the current device where it is made. Cheap to make: modules are shared."""

    key: tuple[Any, ...]
    processors: int
    shared_limit: int
    capability: int

    def __init__(self) -> None:
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Any:
        """See Backend."""
        raise NotImplementedError

    def asarray(self, host: NDArray[Any]) -> Any:
        """See Backend."""
        raise NotImplementedError

    def to_host(self, array: Any) -> NDArray[Any]:
        """See Backend."""
        raise NotImplementedError

    def launch(self, kernel: Kernel, grid: int, block: int, args: tuple[Any, ...], shared: int) -> None:
        """See Backend."""
        raise NotImplementedError
