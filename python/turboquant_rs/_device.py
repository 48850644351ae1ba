"""Where an array lives, and the namespace of functions that work on it: decided here and nowhere else.

NumPy arrays and whatever NumPy converts are on "cpu"; arrays that say so by DLPack or ``__cuda_array_interface__`` are
on "cuda:0", "cuda:1" … Nothing here needs CuPy, and array-api-compat is imported for arrays that are not NumPy's only.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

#: DLPack's numbers of device types (dlpack.h). Pinned memory is host memory; managed memory is the GPU's to read.
_DLPACK_HOST = {1: "kDLCPU", 3: "kDLCUDAHost"}
_DLPACK_CUDA = {2: "kDLCUDA", 13: "kDLCUDAManaged"}

INSTALL = "pip install 'turboquant-rs[cuda12]' or 'turboquant-rs[cuda13]', by the version of CUDA"


def on_cuda(value: Any, name: str) -> bool:
    """Return whether ``value`` is an array in the memory of a CUDA GPU; memory of other accelerators is refused."""
    if isinstance(value, np.ndarray):
        return False
    # DLPack first: a PyTorch tensor that requires gradients raises when asked for its CUDA interface.
    if hasattr(type(value), "__dlpack_device__"):
        kind = int(value.__dlpack_device__()[0])
        if kind in _DLPACK_CUDA:
            return True
        if kind not in _DLPACK_HOST:
            raise TypeError(
                f"{name} must be in host memory or on a CUDA GPU, got {describe(value)} on DLPack device type {kind}"
            )
        return False
    return hasattr(value, "__cuda_array_interface__")


def device_of(array: Any) -> str:
    """Return where one of the two arrays of codes lives: "cpu", or "cuda:0" and so on.

    >>> device_of(np.empty(3))
    'cpu'
    """
    return f"cuda:{array.device.id}" if on_cuda(array, "array") else "cpu"


def as_device(device: Any, what: str = "codes") -> str:
    """Return a device's name in full, "cpu" or "cuda:n"; "cuda" is the GPU that is current. It must be there.

    ``what`` would be on it, for an error where CuPy is missing.

    >>> as_device("cpu")
    'cpu'
    """
    kind, _, number = device.partition(":") if isinstance(device, str) else ("", "", "")
    if device == "cpu":
        return "cpu"
    if kind != "cuda" or (device != "cuda" and not number.isdecimal()):
        raise ValueError(f'device must be "cpu", "cuda" or "cuda:0", "cuda:1" …, got {device!r}')
    cupy = cupy_for(what)
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise RuntimeError(f"device {device!r} takes a GPU and its driver; CUDA said: {error}") from error
    chosen = int(number) if number else int(cupy.cuda.Device().id)
    if chosen >= count:
        raise ValueError(f"device must be one of this machine's {count} GPUs, from cuda:0, got {device!r}")
    return f"cuda:{chosen}"


def scope(device: str) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which ``device`` is the current one; for "cpu" it does nothing."""
    if device == "cpu":
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = cupy_for("codes").cuda.Device(int(device[5:]))
    return context


def namespace_of(array: Any) -> Any:
    """Return the array API's functions for ``array``: NumPy itself, or array-api-compat's choice for anything else.

    NumPy 1.26 lacks some names of the standard; what works on codes uses names that both have.
    """
    if isinstance(array, np.ndarray):
        return np
    try:
        from array_api_compat import array_namespace
    except ImportError:
        text = f"arrays of {describe(array)} need array-api-compat, which comes with CuPy: {INSTALL}"
        raise ImportError(text, name="array_api_compat") from None
    return array_namespace(array)


def cupy_for(name: str) -> Any:
    """Import CuPy, or say how to install it; ``name`` is the argument that needs it."""
    try:
        import cupy
    except ImportError as error:
        text = f"working with {name} on a GPU takes CuPy: {INSTALL} (importing it said: {error})"
        raise ImportError(text, name="cupy") from error
    return cupy


def describe(value: Any) -> str:
    """Return the type of ``value`` as a user writes it: ``cupy.ndarray``.

    >>> describe(np.empty(3))
    'numpy.ndarray'
    """
    kind = type(value)
    module = kind.__module__.partition(".")[0]
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"
