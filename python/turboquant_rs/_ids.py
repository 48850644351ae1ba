"""Ids from callers: integers or strings, never both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arrays import as_ids

RowIds: TypeAlias = NDArray[np.int64] | list[str]


def is_single(value: Any) -> bool:
    """Return whether ``value`` is one id."""
    return isinstance(value, str) or (isinstance(value, (int, np.integer)) and not isinstance(value, bool))


def as_row_ids(value: Any, name: str = "ids") -> RowIds:
    """Return ids as (n,) int64 or as a list of n strings."""
    if isinstance(value, str):
        raise TypeError(f"{name} must be one a row, a sequence of integers or strings, got the string {value!r}")
    if isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray) and value.dtype.kind in "OTU":
        if value.ndim != 1:
            raise ValueError(f"{name} must be a 1-D array, got {value.ndim}-D with shape {value.shape}")
        value = value.tolist()
    elif not isinstance(value, (list, tuple)):
        return as_ids(value, name, "integers or strings")
    if any(isinstance(id_, str) for id_ in value[:1]) or any(isinstance(id_, str) for id_ in value):
        return _as_strings(value, name)
    return as_ids(value, name, "integers or strings")


def as_names(names: Sequence[str | None]) -> NDArray[Any]:
    """Return strings as an (n,) array of objects."""
    return np.array(names, object)


def _as_strings(value: Any, name: str) -> list[str]:
    for other in value:
        if not isinstance(other, str):
            raise TypeError(f"{name} must be all integers or all strings, got {other!r} among strings")
    for text in value:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(f"{name} must be text that UTF-8 can hold, got {text!r}") from None
    return [str(text) for text in value]
