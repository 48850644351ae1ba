"""A test double of PyTorch's CUDA tensors: as much as DLPack and streams need, over the double of CuPy."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from . import fake_cupy


class Tensor:
    """As torch.Tensor on a GPU."""

    def __init__(self, array: fake_cupy.ndarray, requires_grad: bool = False) -> None:
        self._array = array
        self.requires_grad = requires_grad
        #: Streams that consumers named, in order.
        self.consumers: list[int | None] = []

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)

    def __len__(self) -> int:
        return len(self._array)

    def data_ptr(self) -> int:
        return int(self._array.data.ptr)

    def cpu(self) -> Any:
        return self._array.get()

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor first.")

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if self.requires_grad:
            raise RuntimeError("Can't get __cuda_array_interface__ on Variable that requires grad.")
        return self._array.__cuda_array_interface__

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        if self.requires_grad:
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        self.consumers.append(stream)
        return fake_cupy.Capsule(self._array, stream)


Tensor.__module__ = "torch"


def from_dlpack(value: Any) -> Tensor:
    """As torch.from_dlpack: the producer hears of PyTorch's current stream."""
    _, device = value.__dlpack_device__()
    capsule = value.__dlpack__(stream=_streams.get(device, 0) or 1)
    tensor = Tensor(capsule.array)
    tensor.consumers.append(capsule.stream)
    return tensor


_streams: dict[int, int] = {}


class _Stream:
    def __init__(self, pointer: int) -> None:
        self.cuda_stream = pointer


@contextlib.contextmanager
def stream(pointer: int, device: int = 0) -> Iterator[None]:
    """Make a stream PyTorch's current one of a GPU; CuPy does not hear of it."""
    before = _streams.get(device, 0)
    _streams[device] = pointer
    try:
        yield
    finally:
        _streams[device] = before


@contextlib.contextmanager
def installed() -> Iterator[types.ModuleType]:
    """Put the double in the place of ``torch``."""
    module = types.ModuleType("torch")
    module.Tensor, module.from_dlpack = Tensor, from_dlpack  # type: ignore[attr-defined]
    module.cuda = types.SimpleNamespace(  # type: ignore[attr-defined]
        current_stream=lambda device: _Stream(_streams.get(device, 0))
    )
    before = sys.modules.get("torch")
    sys.modules["torch"] = module
    _streams.clear()
    try:
        yield module
    finally:
        del sys.modules["torch"]
        if before is not None:
            sys.modules["torch"] = before
