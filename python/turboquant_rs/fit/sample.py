"""The sample: what is refused, which rows are held out, and its moments, a block of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array, blocks

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]

#: Fewer rows hold out too few to tell a good fit from a bad one.
LEAST_ROWS = 256
#: Rows held out: a quarter, and never more than this.
MOST_HELD_OUT = 4_608
#: A fit keeps up to dim² int16 numbers and finds the eigenvectors of a dim × dim matrix in time dim³.
MOST_DIM = 8_192
#: Coordinates of a center below this share of its largest are stored as 0, so that no difference is subnormal.
_LEAST_CENTER = 2.0**-40
#: A mean of up to this many times the square that chance gives it counts as none.
_CHANCE = 4.0


@dataclass(frozen=True)
class Moments:
    """Sums over rows that add up: those of two parts of a sample give those of the whole.

    Attributes
    ----------
    rows : int
        Rows that are not zero.
    second : ndarray of float64, shape (d, d)
        Σ uuᵀ over unit rows u = (x − center)/|x − center|. A row is coded by its direction, so all rows weigh alike.
    """

    rows: int
    second: Floats

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.rows + other.rows, self.second + other.second)


class Sample:
    """Rows to fit on, split by the seed into a part to fit on and a part held out.

    Parameters
    ----------
    values : array_like, shape (n, d)
        Any real dtype; memory-mapped files are read a block of 8 MiB at a time and never whole.
    name : str
        For messages.
    seed : int
    unit : bool
        Whether rows count by their direction alone (the cosine metric).

    Attributes
    ----------
    held_out : ndarray of float32, shape (m, d)
        A copy.
    """

    def __init__(self, values: ArrayLike, name: str, seed: int, *, unit: bool, least: int = LEAST_ROWS) -> None:
        array = as_array(values, name)
        if array.ndim != 2:
            raise ValueError(f"{name} must be a 2-D array (n, dim), got {array.ndim}-D with shape {array.shape}")
        if not 1 <= array.shape[1] <= MOST_DIM:
            raise ValueError(f"{name} must have 1 to {MOST_DIM:,} columns to fit, got {array.shape[1]:,}")
        if len(array) < least:
            advice = "a plain codec, TurboQuant(dim, bits), needs none" if name == "sample" else f"or leave {name} out"
            text = f"{name} must have at least {least} rows, so that a part can be held out, got {len(array)}; {advice}"
            raise ValueError(text)
        self.name, self.unit = name, unit
        self._array: NDArray[Any] = array
        count = min(len(array) // 4, MOST_HELD_OUT)
        order = np.random.default_rng([seed, len(array)]).permutation(len(array))
        self._out = np.zeros(len(array), np.bool_)
        self._out[order[:count]] = True
        self.held_out = np.concatenate([block[out] for block, out in self._blocks()])

    @property
    def dim(self) -> int:
        """Coordinates of a row."""
        return int(self._array.shape[1])

    def __len__(self) -> int:
        return len(self._array)

    def mean(self) -> Rows:
        """Return the mean of the rows that are not held out, (d,) float32, in the form of a center.

        It is 0 where it may be chance: the mean of n rows of mean 0 has |mean|² = E|x|²/n.
        """
        total, squares, count = np.zeros(self.dim), 0.0, 0
        for block, out in self._blocks():
            rows = block[~out].astype(np.float64)
            total += rows.sum(axis=0)
            squares += float(np.sum(rows * rows))
            count += len(rows)
        mean = total / max(1, count)
        by_chance = float(mean @ mean) * count**2 <= _CHANCE * squares
        return as_center(np.zeros(self.dim) if by_chance else mean)

    def moments(self, center: Rows | None, *, held_out: bool) -> Moments:
        """Return the moments of the rows that are held out, or of the others."""
        second, count = np.zeros((self.dim, self.dim)), 0
        for block, out in self._blocks():
            unit = directions(block[out == held_out], center)
            # A block's float32 products are good to 1e-6 of the largest; their float64 sum adds nothing to that.
            second += unit.T @ unit
            count += len(unit)
        return Moments(count, second)

    def _blocks(self) -> Iterator[tuple[Rows, NDArray[np.bool_]]]:
        for first, block in blocks(self._array, self.name):
            if not np.isfinite(block.sum(axis=1, dtype=np.float64)).all():
                row, column = np.argwhere(~np.isfinite(block))[0]
                raise ValueError(
                    f"{self.name} must be finite, got {block[row, column]} at row {first + row}, column {column}"
                )
            out = self._out[first : first + len(block)]
            if self.unit:
                # A zero row has no direction; it stays a zero row, so that rows keep their numbers.
                some: NDArray[np.bool_] = np.asarray(block.any(axis=1))
                block = np.where(some[:, None], block, 0)
                block[some] = directions(block[some])
            yield block, out


def directions(rows: Rows, center: Rows | None = None) -> Rows:
    """Return (x − center)/|x − center| of the rows where that is not 0, (m, d) float32."""
    rest = rows if center is None else rows - center
    # By the largest coordinate first, so that no square is beyond float32.
    size = np.abs(rest).max(axis=1, initial=0.0)
    kept = size > 0
    if not kept.all():
        rest, size = rest[kept], size[kept]
    rest = np.asarray(rest / size[:, None], np.float32)
    rest /= np.sqrt(np.einsum("ij,ij->i", rest, rest))[:, None]
    return rest


def as_center(mean: Floats) -> Rows:
    """Return a mean as a center: float32, and 0 where it is negligible."""
    top = float(np.abs(mean).max(initial=0.0))
    return np.where(np.abs(mean) >= top * _LEAST_CENTER, mean, 0.0).astype(np.float32)
