"""The launch gate: a raw kernel reads what it is given as what it expects, so everything is checked here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from .kernels import Argument, Kernel

#: Limits of CUDA: blocks of a grid's first dimension, threads of a block.
MOST_BLOCKS, MOST_THREADS = (1 << 31) - 1, 1024


def address(array: Any) -> int:
    """Return the address of an array's first element: of a CuPy or a NumPy array."""
    pointer = getattr(getattr(array, "data", None), "ptr", None)
    return int(array.ctypes.data if pointer is None else pointer)


def require(array: Any, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Check an array that a driver was given. An (n,) array may come as (n, 1).

    Raises
    ------
    TypeError
        For another dtype.
    ValueError
        For another shape, or where rows are not contiguous.
    """
    if array.dtype != np.dtype(dtype):
        raise TypeError(f"{name} must be {np.dtype(dtype)}, got {array.dtype}")
    if tuple(array.shape) not in ((shape,) if len(shape) > 1 else (shape, (*shape, 1))):
        raise ValueError(f"{name} must have shape {shape}, got {tuple(array.shape)}")
    if not array.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {tuple(array.strides)}")


def check_launch(
    kernel: Kernel,
    grid: int,
    block: int,
    args: tuple[Any, ...],
    shared: int,
    shared_limit: int,
    device: int | None = None,
) -> None:
    """Check everything that a launch hands over: the number, kind, dtype and layout of arguments, and the sizes.

    ``device`` is the number of the device that arrays must live on, where they tell.

    Raises
    ------
    TypeError
        For another number of arguments, another dtype, or a plain number where a NumPy scalar fixes the width.
    ValueError
        For arrays that are not contiguous, not aligned or on another device, and sizes beyond CUDA's limits.
    """
    where = f"kernel {kernel.name}"
    if len(args) != len(kernel.arguments):
        raise TypeError(f"{where} takes {len(kernel.arguments)} arguments, got {len(args)}")
    for argument, value in zip(kernel.arguments, args, strict=True):
        if argument.array:
            _check_array(where, argument, value, device)
        elif not isinstance(value, np.generic) or value.dtype != argument.dtype:
            got = value.dtype if isinstance(value, np.generic) else type(value).__name__
            raise TypeError(f"{where}: {argument.name} must be a NumPy {argument.dtype} scalar, got {got}")
    if not 1 <= grid <= MOST_BLOCKS:
        raise ValueError(f"{where}: a grid must have 1 to {MOST_BLOCKS} blocks, got {grid}")
    if not 32 <= block <= MOST_THREADS or block % 32:
        raise ValueError(f"{where}: a block must have 32 to {MOST_THREADS} threads in whole warps, got {block}")
    if not 0 <= shared <= shared_limit:
        raise ValueError(f"{where}: a block may have {shared_limit} bytes of shared memory, got {shared}")


def _check_array(where: str, argument: Argument, value: Any, device: int | None) -> None:
    name = f"{where}: {argument.name}"
    if value is None:
        if not argument.optional:
            raise TypeError(f"{name} must be an array, got None")
        return
    if not hasattr(value, "flags") or not hasattr(value, "dtype") or isinstance(value, np.generic):
        raise TypeError(f"{name} must be a device array, got {type(value).__name__}")
    if value.dtype != argument.dtype:
        raise TypeError(f"{name} must be {argument.dtype}, got {value.dtype}")
    if not value.flags.c_contiguous:
        raise ValueError(f"{name} must be C-contiguous, got strides {tuple(value.strides)}")
    if value.size and address(value) % argument.align:
        raise ValueError(f"{name} must be aligned to {argument.align} bytes, got address {address(value):#x}")
    found = getattr(getattr(value, "device", None), "id", None)
    if device is not None and found != device:
        raise ValueError(f"{name} must be on device {device}, got {found}")
