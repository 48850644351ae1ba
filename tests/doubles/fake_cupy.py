"""A test double of CuPy: arrays in host memory that behave as if they were on GPUs, and kernels run by the emulator.

It keeps CuPy's manners where a mistake could hide in them: no conversion to NumPy but by ``get``, reductions give 0-d
arrays, arrays of another GPU or of the host are refused by every operation, creation takes no ``device``, memory is
filled with rubbish, and free memory has an end. Everything that happens is logged with its device and stream.

`installed` puts it in the place of ``cupy`` for a test; `CUDA` holds the log and the limits.
"""

from __future__ import annotations

import contextlib
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
from gpu.shim.backend import ShimBackend, missing
from turboquant_rs.gpu import sources
from turboquant_rs.gpu.kernels import Kernel

from .fake_cuda import (
    CUDA,
    LARGEST_SHARED,
    RUBBISH,
    CUDARuntimeError,
    Device,
    OutOfMemoryError,
    Stream,
    current,
    device_count,
    stream_of,
)


class Capsule(NamedTuple):
    """What ``__dlpack__`` gives: an array, and the stream that its consumer named."""

    array: ndarray
    stream: int | None


class ndarray:  # noqa: N801
    """As cupy.ndarray: host memory with the number of a GPU."""

    __array_priority__ = 100

    def __init__(self, host: Any, device: int) -> None:
        self._host: np.ndarray[Any, Any] = host
        self._device = device

    @property
    def device(self) -> Device:
        return Device(self._device)

    shape = property(lambda self: self._host.shape)
    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    nbytes = property(lambda self: self._host.nbytes)
    itemsize = property(lambda self: self._host.itemsize)
    strides = property(lambda self: self._host.strides)
    flags = property(lambda self: self._host.flags)
    T = property(lambda self: ndarray(self._host.T, self._device))

    @property
    def data(self) -> Any:
        return types.SimpleNamespace(ptr=self._host.__array_interface__["data"][0], device=self.device)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        host = self._host.__array_interface__
        stream = {0: 1}.get(stream_of(self._device), stream_of(self._device))
        return {
            **{k: host[k] for k in ("shape", "typestr", "descr", "data", "strides")},
            "version": 3,
            "stream": stream,
        }

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Capsule:
        return Capsule(self, stream)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self._device

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array "
            "explicitly."
        )

    def get(self) -> Any:
        CUDA.note("sync", self._device)
        return self._host.copy()

    def set(self, array: Any, stream: Stream | None = None) -> None:
        """As cupy.ndarray.set: on a stream, from pinned memory, it has happened once something waits for it."""
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        if stream is None:
            CUDA.note("upload")
            self._host[...] = array
        else:
            assert pinned(array), "a copy from pageable memory waits for the processor"
            stream.queue(lambda: self._host.__setitem__(..., array))

    def item(self) -> Any:
        return self.get().item()

    def tolist(self) -> Any:
        return self.get().tolist()

    __int__ = lambda self: int(self.get())  # noqa: E731
    __float__ = lambda self: float(self.get())  # noqa: E731
    __bool__ = lambda self: bool(self.get())  # noqa: E731
    __index__ = lambda self: self.get().__index__()  # noqa: E731

    def __len__(self) -> int:
        return len(self._host)

    def __getitem__(self, key: Any) -> Any:
        return _call(lambda host, at: host[at], self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _call(lambda host, at, new: host.__setitem__(at, new), self, key, value)

    def copy(self, order: str = "C") -> ndarray:
        """Return a copy on the current GPU."""
        CUDA.note("operation")
        return allocated(np.array(self._host, order="C"))

    def astype(self, dtype: Any, copy: bool = True) -> ndarray:
        if not copy and self.dtype == np.dtype(dtype):
            return self
        return _call(lambda host: host.astype(dtype), self)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"fake.ndarray({self._host!r}, device={self._device})"


def _method(name: str) -> Callable[..., Any]:
    def method(self: ndarray, *args: Any, **options: Any) -> Any:
        return _call(lambda host, *rest: getattr(host, name)(*rest, **options), self, *args)

    return method


_OPERATORS = [
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]
for _name in (
    *(f"__{prefix}{name}__" for name in _OPERATORS for prefix in ("", "r", "i")),
    *(f"__{name}__" for name in ("lt", "le", "gt", "ge", "eq", "ne", "invert", "neg", "pos", "abs")),
    *(
        "all",
        "any",
        "argmax",
        "argmin",
        "max",
        "min",
        "sum",
        "mean",
        "nonzero",
        "ravel",
        "reshape",
        "sort",
        "take",
        "view",
    ),
    "transpose",
):
    setattr(ndarray, _name, _method(_name))
ndarray.__hash__ = None  # type: ignore[assignment]
ndarray.__module__ = "cupy"


def allocated(host: Any) -> ndarray:
    """Return an array on the current GPU with a copy of ``host``."""
    result = empty(host.shape, host.dtype)
    result._host[...] = host
    return result


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    """As cupy.empty: aligned to 512 bytes, full of rubbish."""
    assert order == "C"
    shape = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    kind, device = np.dtype(dtype), current()
    size = int(np.prod(shape, dtype=object)) * kind.itemsize
    taken = -(-size // 512) * 512
    CUDA.take(taken, device)
    CUDA.note("alloc")
    buffer = np.full(taken + 1024, RUBBISH, np.uint8)
    weakref.finalize(buffer, CUDA.release, taken, device)
    start = 512 - buffer.__array_interface__["data"][0] % 512
    CUDA.buffers.append((weakref.ref(buffer), start, start + size))
    return ndarray(buffer[start : start + size].view(kind).reshape(shape), device)


def _plain(value: Any, device: int) -> Any:
    """Return arguments of an operation with their host arrays; refuses what CuPy refuses."""
    if isinstance(value, ndarray):
        if value._device != device:
            raise ValueError(f"Array device must be same as the current device: array device = {value._device}")
        return value._host
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(part, device) for part in value)
    if isinstance(value, dict):
        return {name: _plain(part, device) for name, part in value.items()}
    return value


def _fake(value: Any, device: int, owners: list[Any]) -> Any:
    """Return results of an operation as arrays of the GPU: views of operands stay views, the rest takes memory."""
    if isinstance(value, np.ndarray) and (not value.size or any(np.may_share_memory(value, o) for o in owners)):
        return ndarray(value, device)
    if isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, np.dtype):
        return allocated(np.asarray(value))
    if isinstance(value, (list, tuple)):
        return type(value)(_fake(part, device, owners) for part in value)
    return value


def _call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    device = current()
    hosts, named = _plain(args, device), _plain(options, device)
    CUDA.note("operation")
    with np.errstate(all="ignore"):
        result = function(*hosts, **named)
    owners = [part for part in hosts if isinstance(part, np.ndarray)]
    return _fake(result, device, owners)


def asarray(value: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """As cupy.asarray: CUDA arrays are viewed, host data is copied to the current GPU."""
    if isinstance(value, ndarray):
        return value if dtype is None else value.astype(dtype, copy=False)
    if hasattr(value, "__cuda_array_interface__"):
        interface = dict(value.__cuda_array_interface__)
        interface.pop("stream", None)
        holder = types.SimpleNamespace(__array_interface__=interface, owner=value)
        host = np.asarray(holder)
        result = ndarray(host, current())
        return result if dtype is None else result.astype(dtype, copy=False)
    host = np.array(value, dtype)
    CUDA.note("upload")
    return allocated(host)


def array(value: Any, dtype: Any = None, copy: bool = True, **_: Any) -> ndarray:
    """As cupy.array."""
    result = asarray(value, dtype)
    return result.copy() if copy and result is value else result


def from_dlpack(value: Any, **_: Any) -> ndarray:
    """As cupy.from_dlpack: a view; the producer hears of the consumer's stream."""
    kind, device = value.__dlpack_device__()
    assert kind == 2
    pointer = stream_of(device)
    capsule = value.__dlpack__(stream=pointer or 1)
    return ndarray(capsule.array._host, device)


def ascontiguousarray(value: ndarray, dtype: Any = None) -> ndarray:
    """As cupy.ascontiguousarray."""
    kind = value.dtype if dtype is None else np.dtype(dtype)
    if value.flags.c_contiguous and value.dtype == kind:
        return value
    return _call(lambda host: host.astype(kind, order="C"), value)  # type: ignore[no-any-return]


class RawModule:
    """As cupy.RawModule: keeps a source and options, from which the emulator makes a kernel when one is asked for."""

    #: Modules that were made, newest last: (device, kernel) of each.
    made: list[tuple[int, Kernel]] = []  # noqa: RUF012

    def __init__(self, *, code: str, options: tuple[str, ...] = (), backend: str = "nvrtc", **others: Any) -> None:
        assert backend == "nvrtc"
        assert not {name for name, value in others.items() if value}, f"the double knows nothing of {others}"
        assert isinstance(options, tuple)
        self._code, self._options, self._device = code, options, current()

    def get_function(self, name: str) -> RawKernel:
        """Return a kernel; its source must be the package's, whole, and rounding as the contract has it."""
        defined = [option[2:].partition("=") for option in self._options if option.startswith("-D")]
        kernel = Kernel(name, tuple(sorted((key, int(value)) for key, _, value in defined)))
        assert self._code == sources.source(name)
        assert set(sources.OPTIONS) <= set(self._options)
        RawModule.made.append((self._device, kernel))
        return RawKernel(kernel, self._device)


class RawKernel:
    """As cupy.RawKernel: checks what CUDA would, then runs the kernel to its end on fibers."""

    def __init__(self, kernel: Kernel, device: int) -> None:
        self._kernel, self._device = kernel, device
        self.max_dynamic_shared_size_bytes = 48 << 10

    def __call__(
        self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...], *, shared_mem: int = 0
    ) -> None:
        assert current() == self._device, "a kernel belongs to the GPU that its module was loaded on"
        assert shared_mem <= self.max_dynamic_shared_size_bytes <= LARGEST_SHARED
        if reason := missing():
            pytest.skip(reason)
        CUDA.note("launch")
        (blocks,), (threads,) = grid, block
        shim = ShimBackend(order=CUDA.count("launch"), flush=True, shared_limit=LARGEST_SHARED)
        values = []
        for argument, value in zip(self._kernel.arguments, args, strict=True):
            # A scalar of a pointer's size, where a pointer is wanted, is an address.
            null = argument.array and isinstance(value, np.uint64) and value == 0
            values.append(None if null else _plain(value, self._device))
        with CUDA.lock:  # the emulator keeps a kernel's parameters in variables of its library
            shim.launch(self._kernel, blocks, threads, tuple(values), shared_mem)


class Pinned(bytearray):
    """As cupy.cuda.PinnedMemoryPointer: a buffer of pinned memory."""


def pinned(array: Any) -> bool:
    """Return whether a host array is in pinned memory."""
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(array.obj if isinstance(array, memoryview) else array, Pinned)


def asnumpy(value: Any) -> Any:
    """As cupy.asnumpy."""
    return value.get()


def _function(function: Any) -> Any:
    def wrapper(*args: Any, **options: Any) -> Any:
        if "device" in options:
            raise TypeError(f"{function.__name__}() got an unexpected keyword argument 'device'")
        return _call(function, *args, **options)

    wrapper.__name__ = function.__name__
    return wrapper


def _module() -> types.ModuleType:
    """Build the module: NumPy's functions on the double's arrays, and what is CuPy's own."""
    module = types.ModuleType("cupy")
    for name in np.__all__:
        value = getattr(np, name)
        if not hasattr(value, "__name__") and callable(value):
            continue
        if isinstance(value, type) or not callable(value):
            if not isinstance(value, types.ModuleType):
                setattr(module, name, value)
        else:
            setattr(module, name, _function(value))
    for own in (ndarray, empty, asarray, array, from_dlpack, ascontiguousarray, asnumpy, RawModule):
        setattr(module, own.__name__, own)
    module.__version__ = "14.2.0"  # type: ignore[attr-defined]
    cuda = types.ModuleType("cupy.cuda")
    cuda.Device, cuda.Stream = Device, Stream  # type: ignore[attr-defined]
    cuda.get_current_stream = lambda device_id=-1: Stream(  # type: ignore[attr-defined]
        stream_of(current() if device_id == -1 else device_id)
    )
    cuda.alloc_pinned_memory = Pinned  # type: ignore[attr-defined]
    cuda.is_available = lambda: CUDA.devices > 0  # type: ignore[attr-defined]
    cuda.runtime = types.SimpleNamespace(  # type: ignore[attr-defined]
        CUDARuntimeError=CUDARuntimeError,
        getDevice=current,
        getDeviceCount=device_count,
        memGetInfo=lambda: (CUDA.memory - CUDA.used.get(current(), 0), CUDA.memory),
        pointerGetAttributes=lambda pointer: types.SimpleNamespace(device=0),
        deviceSynchronize=lambda: CUDA.note("sync"),
    )
    cuda.memory = types.SimpleNamespace(OutOfMemoryError=OutOfMemoryError)  # type: ignore[attr-defined]
    module.cuda = cuda  # type: ignore[attr-defined]
    module.get_default_memory_pool = lambda: types.SimpleNamespace(  # type: ignore[attr-defined]
        free_bytes=lambda: 0, used_bytes=lambda: CUDA.used.get(current(), 0), free_all_blocks=lambda: None
    )
    linalg, fft = types.ModuleType("cupy.linalg"), types.ModuleType("cupy.fft")
    for part, source in ((linalg, np.linalg), (fft, np.fft)):
        for name in source.__all__:
            value = getattr(source, name)
            if callable(value):
                setattr(part, name, value if isinstance(value, type) else _function(value))
    module.linalg, module.fft = linalg, fft  # type: ignore[attr-defined]
    return module


MODULE = _module()


@contextlib.contextmanager
def installed() -> Iterator[types.ModuleType]:
    """Put the double in the place of ``cupy``, with a fresh log and limits."""
    device = types.ModuleType("cupy.cuda.device")
    device.Device = Device  # type: ignore[attr-defined]
    parts = {"cuda": MODULE.cuda, "cuda.device": device, "linalg": MODULE.linalg, "fft": MODULE.fft}
    before = _taken_out()
    sys.modules.update({"cupy": MODULE, **{f"cupy.{name}": part for name, part in parts.items()}})
    CUDA.reset()
    try:
        yield MODULE
    finally:
        _taken_out()
        sys.modules.update(before)


def _taken_out() -> dict[str, types.ModuleType]:
    """Forget every module of CuPy and array-api-compat's wrapper of it, which an attribute of its package holds too."""
    ours = ("cupy", "array_api_compat.cupy")
    names = [name for name in sys.modules if any(f"{name}.".startswith(f"{part}.") for part in ours)]
    package = sys.modules.get("array_api_compat")
    if package is not None:
        package.__dict__.pop("cupy", None)
    return {name: sys.modules.pop(name) for name in names}
