"""Arguments to arrays: what is converted, what is refused, and how results go back to the caller's namespace."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._device import describe, on_cuda

#: Bytes of float32 rows that are converted or encoded at a time: bounds temporaries and the time between interrupts.
BLOCK_BYTES = 8 << 20

#: How arrays leave a GPU, for messages.
TO_HOST = "{0}.get() in CuPy, {0}.cpu() in PyTorch"

_REAL_KINDS = "fiub"
_FLOAT32 = np.dtype(np.float32)


def as_rows(value: Any, name: str, dim: int, owner: str) -> NDArray[Any]:
    """Return ``value`` as a 2-D real array (n, dim) of whatever real dtype it has, uncopied where NumPy can view it."""
    array = as_array(value, name)
    check_rows(array, name, dim, owner)
    return array


def check_rows(array: Any, name: str, dim: int, owner: str) -> None:
    """Refuse an array of any namespace that is not (n, dim)."""
    if array.ndim != 2:
        raise ValueError(f"{name} must be a 2-D array (n, {dim}), got {array.ndim}-D with shape {array.shape}")
    if array.shape[1] != dim:
        raise ValueError(f"{name} must have {dim} columns (the {owner}'s dim), got {array.shape[1]}")


def as_queries(array: Any, dim: int, owner: str) -> tuple[Any, bool]:
    """Return an array of any namespace as (nq, dim), a view, and whether it was a single 1-D query."""
    single = array.ndim == 1
    if single:
        if array.shape[0] != dim:
            raise ValueError(f"queries must have {dim} columns (the {owner}'s dim), got {array.shape[0]}")
        array = array[None, :]
    check_rows(array, "queries", dim, owner)
    return array, single


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return ``value`` as a NumPy array of a real dtype; refuses masked, complex, object and text arrays."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; fill it first")
    if type(value).__module__ in ("turboquant_rs.codes", "turboquant_rs.paper_codes"):
        raise TypeError(f"{name} must be vectors, got Codes; decode them first")
    if on_cuda(value, name):
        text = f"{name} must be in host memory, got a CUDA array ({describe(value)})"
        raise TypeError(f"{text}; copy it to the host: {TO_HOST.format(name)}")
    if isinstance(value, np.ndarray):
        array = value
    elif not hasattr(value, "__array__") and hasattr(value, "__dlpack__"):
        array = np.from_dlpack(value)
    else:
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    check_real(array, name)
    return array


def encodes_on_gpu(x: Any, cpu_only: str) -> bool:
    """Return whether rows are in a GPU's memory; refused where a codec, ``cpu_only`` in words, has no kernels there."""
    if not on_cuda(x, "x"):
        return False
    if cpu_only:
        text = f"x must be on the CPU, where {cpu_only} encodes in this version, got {describe(x)}"
        raise ValueError(f"{text}; copy it to the host: {TO_HOST.format('x')}")
    return True


def refuse_cuda_queries(queries: Any, cpu_only: str) -> None:
    """Refuse queries in a GPU's memory for codes on the CPU, which can move unless the codec is ``cpu_only``."""
    if on_cuda(queries, "queries"):
        text = f"queries must be on the CPU, where the codes are, got a CUDA array ({describe(queries)})"
        advice = "copy them to the host:" if cpu_only else 'move one: codes.to("cuda"), or'
        raise ValueError(f"{text}; {advice} {TO_HOST.format('queries')}")


def check_real(array: Any, name: str) -> None:
    """Refuse an array of NumPy or CuPy whose dtype holds no real numbers."""
    # ml_dtypes' types (bfloat16, float8 …) are of NumPy kind "V" or "f" and convert by astype.
    extension = array.dtype.kind == "V" and array.dtype.names is None and type(array.dtype).__module__ != "numpy.dtypes"
    if array.dtype.kind not in _REAL_KINDS and not extension:
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")


def blocks(array: NDArray[Any], name: str, first_row: int = 0) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (first row, C-contiguous float32 block) over the rows of a 2-D array.

    Blocks of a C-contiguous float32 array are views; any other dtype, byte order or stride is converted one block at
    a time.
    """
    n, step = len(array), max(1, BLOCK_BYTES // (4 * max(1, array.shape[1])))
    if 0 < n <= step:
        yield 0, as_float32(array, name, first_row)
        return
    for first in range(0, n, step):
        yield first, as_float32(array[first : first + step], name, first_row + first)


def as_float32(array: NDArray[Any], name: str, first_row: int = 0) -> NDArray[np.float32]:
    """Return a C-contiguous, aligned float32 array, copied only if it is not one; values beyond float32 are refused."""
    if array.dtype == _FLOAT32:  # of this machine's byte order
        flags = array.flags
        if flags.c_contiguous and flags.aligned:
            return array
        return np.require(array, np.float32, ["C", "A"])
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.kind == "f" and array.dtype.itemsize > 4:
        grown = np.isinf(result) & np.isfinite(array)
        if grown.any():
            row, column = np.argwhere(np.atleast_2d(grown))[0]
            value = np.atleast_2d(array)[row, column]
            raise ValueError(f"{name} must fit float32, got {value} at row {first_row + row}, column {column}")
    return result


def as_bytes(data: Any) -> bytes:
    """Return bytes or an object with a buffer as bytes."""
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise TypeError(f"data must be bytes or an object with a buffer, got {type(data).__name__}") from None


def as_ids(value: Any, name: str, kinds: str = "integers") -> NDArray[np.int64]:
    """Return ``value`` as (n,) int64; integers of any dtype that fit. ``kinds`` is what else it might have been."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} must be a plain array, got a masked array; fill it first")
    array = np.asarray(value)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must be {kinds}, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must be a 1-D array, got {array.ndim}-D with shape {array.shape}")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise ValueError(f"{name} must be below 2**63, got {int(array.max())}")
    return np.ascontiguousarray(array, dtype=np.int64)


def as_int(value: Any, name: str, low: int, high: int) -> int:
    """Return ``value`` as an int in [low, high]; booleans and floats are refused."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        shape = getattr(value, "shape", ())
        shown = f"an array of shape {shape}" if shape else repr(value)
        raise TypeError(f"{name} must be an integer, got {shown} ({type(value).__name__})") from None
    if not low <= number <= high:
        limits = f"between {low} and {high}"
        if high >= sys.maxsize:  # an upper limit that large says nothing about a number below the lower one
            limits = f"at least {low}" if number < low else f"at most {high}"
        raise ValueError(f"{name} must be {limits}, got {number}")
    return number


def as_flag(value: Any, name: str) -> bool:
    """Return ``value`` as a bool; anything else is refused."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def as_threshold(value: Any) -> float:
    """Return a threshold as the nearest float32; anything but a real number is refused, and NaN."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"threshold must be a number, got {value!r} ({type(value).__name__})")
    with np.errstate(over="ignore"):
        number = np.float32(value)
    if np.isnan(number):
        raise ValueError(f"threshold must be a number, got {value!r}")
    return float(number)


def as_deviations(value: Any) -> float:
    """Return standard deviations, 0 to 1000, as the nearest float32."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"deviations must be a number, got {value!r} ({type(value).__name__})")
    if not 0 <= value <= 1000:
        raise ValueError(f"deviations must be 0 to 1000, got {value!r}")
    return float(np.float32(value))


def as_threads(value: Any) -> int | None:
    """Return a thread count of at least 1, or None for one a core."""
    return None if value is None else as_int(value, "threads", 1, 4096)


def as_refine(value: Any) -> Literal[False, 8, 16, 32]:
    """Return the number of trial scales, or False for none."""
    if value is not False and (type(value) is not int or value not in (8, 16, 32)):
        raise ValueError(f"refine must be False, 8, 16 or 32, got {value!r}")
    return value  # type: ignore[return-value]


def one_of(value: Any, name: str, allowed: tuple[str, ...]) -> Any:
    """Return ``value`` if it is one of the names that are allowed."""
    if value not in allowed:
        names = ", ".join(f'"{a}"' for a in allowed)
        raise ValueError(f"{name} must be {names}{' in this version' if len(allowed) == 1 else ''}, got {value!r}")
    return value


def back(result: NDArray[Any], like: Any) -> Any:
    """Return ``result`` in the array namespace of ``like``: NumPy, or another library's on the host."""
    if isinstance(like, np.ndarray) or not hasattr(like, "__dlpack__"):
        return result
    if hasattr(like, "__array_namespace__"):
        return like.__array_namespace__().asarray(result)
    if type(like).__module__.partition(".")[0] == "torch":
        return sys.modules["torch"].from_numpy(result)
    return result
