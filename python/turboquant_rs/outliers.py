"""Outlier channels: which coordinates of a split codec get the wider segment."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_array, as_int, blocks


def outlier_channels(sample: ArrayLike, count: int) -> NDArray[np.int64]:
    """Return the ``count`` channels of most energy in a sample, for :class:`TurboQuant`'s ``outliers=``.

    The energy of a channel is the mean of its squares; of equal ones the lower index is taken. TurboQuant (arXiv
    2504.19874, section 4.3) and QJL (arXiv 2406.03482) choose channels of a KV cache by their norms alike.

    Parameters
    ----------
    sample : array_like, shape (n, dim)
        Rows like those to be encoded; any real dtype, in host memory, read in blocks of 8 MiB.
    count : int
        Channels to return, 1 to dim − 1.

    Returns
    -------
    ndarray of int64, shape (count,)
        The channels, ascending.

    Raises
    ------
    ValueError, TypeError
        For a sample that is not 2-D with at least one row and two columns, holds NaN or ±inf (row and column are
        named), and for another ``count``.

    Notes
    -----
    Sums are taken in float64, row by row: the same channels on every machine. Safe from any thread.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import TurboQuant, outlier_channels
    >>> x = np.random.default_rng(0).standard_normal((100, 8))
    >>> x[:, [2, 5]] *= 10
    >>> channels = outlier_channels(x, 2)
    >>> channels
    array([2, 5])
    >>> TurboQuant(8, bits=(3, 2), outliers=channels)
    TurboQuant(dim=8, bits=(3, 2), outliers=2 channels)
    """
    rows = as_array(sample, "sample")
    if rows.ndim != 2 or rows.shape[0] < 1 or rows.shape[1] < 2:
        raise ValueError(f"sample must be a 2-D array of at least 1 row and 2 columns, got shape {rows.shape}")
    count = as_int(count, "count", 1, rows.shape[1] - 1)
    energy = np.zeros(rows.shape[1])
    for first, block in blocks(rows, "sample"):
        finite = np.isfinite(block)
        if not finite.all():
            row, column = np.argwhere(~finite)[0]
            value = float(block[row, column])
            raise ValueError(f"sample must be finite, got {value} at row {first + row}, column {column}")
        for row in block.astype(np.float64):
            energy += row * row
    order = np.argsort(-energy, kind="stable")
    return np.sort(order[:count])


def as_outliers(value: Any, dim: int) -> NDArray[np.uint32]:
    """Return channels given as integers, or as a mask of ``dim`` bools, as a list of them; the core checks the rest."""
    array = np.asarray(value)
    if array.ndim != 1 or array.dtype.kind not in "iub" or array.size == 0:
        if array.size == 0 and array.ndim == 1:
            raise ValueError(f"outliers must be some of the {dim} channels, neither none nor all, got 0")
        text = f"{array.ndim}-D of {array.dtype}" if array.dtype.kind != "O" else repr(value)
        raise TypeError(f"outliers must be a 1-D array of integers or a mask of {dim} bools, got {text}")
    if array.dtype.kind == "b":
        if len(array) != dim:
            raise ValueError(f"outliers must be a mask with one bool for each of {dim} channels, got {len(array)}")
        array = np.flatnonzero(array)
        if not array.size:
            raise ValueError(f"outliers must be some of the {dim} channels, neither none nor all, got 0")
    outside = (array < 0) | (array >= dim)
    if outside.any():
        raise ValueError(f"outliers must be channels from 0 to {dim - 1}, got {array[outside][0]}")
    return array.astype(np.uint32)
