"""How far vectors are from what a codec was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_rows, as_threads, blocks
from .distortion import distortion
from .held_out import residual, squares
from .sample import Floats, Rows

if TYPE_CHECKING:
    from ..codec import TurboQuant

#: Up to this ratio of measured to promised distortion vectors count as those of the sample: held-out rows of real
#: embeddings are within 1.1, half the topics of a text collection that the fit has not seen above it.
AS_FITTED = 1.15
#: Least promise: below, rounding is what is left.
_LEAST = 1e-9


@dataclass(frozen=True)
class Drift:
    """What :meth:`TurboQuant.drift` returns.

    Attributes
    ----------
    ratio : float
        Measured over promised distortion: 1 for vectors like those of the sample, larger the less they are.
    measured : float
        Mean share of the squared length (from the center) that codes of these vectors lose, each at its best length.
    promised : float
        The same by the codec's description: what the bits of its axes leave of their variances.
    plain : float
        What a plain code of as many bits loses of any vector, from its own origin.
    worse : float
        Share of the vectors that a plain code would keep better.
    rows : int
        Vectors measured; zero vectors have no share.
    """

    ratio: float
    measured: float
    promised: float
    plain: float
    worse: float
    rows: int

    @property
    def reading(self) -> str:
        """The ratio in words: "as fitted", "drifted", or "refit": a plain codec would do better for most vectors."""
        if self.worse > 0.5:
            return "refit"
        return "as fitted" if self.ratio <= AS_FITTED else "drifted"

    def __str__(self) -> str:
        return (
            f"{self.reading}: distortion {self.measured:.4g}, {self.ratio:.2f} times the promised {self.promised:.4g}; "
            f"a plain code would keep {self.worse:.1%} of {self.rows:,} vectors better"
        )


def drift(codec: TurboQuant, x: ArrayLike, threads: int | None = None) -> Drift:
    """Encode and decode vectors (n, dim), a block at a time, and compare what is lost with what was promised."""
    rows = as_rows(x, "x", codec.dim, "codec")
    threads = as_threads(threads)
    view = View(codec)
    plain = plain_distortion(codec._core.row_bits(codec._core.full) / codec.dim)
    lost, all_of_it, worse, count = 0.0, 0.0, 0, 0
    for first, block in blocks(rows, "x"):
        decoded = codec.decode(codec._encode(block, threads, first_row=first)[0], threads=threads)
        error, size, length = view.errors(block, decoded)
        kept = length > 0
        # A codec knows rows by their directions.
        lost += float(np.sum(error[kept] / length[kept]))
        all_of_it += float(np.sum(size[kept] / length[kept]))
        worse += int(np.sum(error > plain * view.size(block)))
        count += int(kept.sum())
    if all_of_it == 0:
        raise ValueError("x must have rows that differ from the codec's center, got none")
    measured = lost / all_of_it
    return Drift(measured / view.promise, measured, view.promise, plain, worse / count, count)


class View:
    """What of a row counts: all that is left without the center, or for a codec of queries what they can see of it.

    Attributes
    ----------
    promise : float
        Mean share of that, squared, that codes lose of rows like the sample's: what the bits leave of each variance.
    """

    def __init__(self, codec: TurboQuant) -> None:
        parts = codec._core.parts()
        self.promise = plain_distortion(codec._core.row_bits(codec._core.full) / codec.dim)
        self._center: Rows | None = None
        self._seen: Floats | None = None
        if parts is None:
            return
        center, transform, sigmas, segments, _, dual = parts
        self._center = center
        variance = np.square(sigmas, dtype=np.float64) * [axes for axes, _ in segments]
        kept = float(variance @ [1.0 - distortion(bits) for _, bits in segments])
        # Unit rows have a second moment of trace 1, of which axes without bits keep nothing; a codec of queries knows
        # its own axes alone.
        self.promise = max(1.0 - kept, _LEAST) if dual is None else max(1.0 - kept / float(variance.sum()), _LEAST)
        if dual is not None:
            from ..reference.dense import REACH  # not with the package: see `distortion`

            along = np.repeat(sigmas.astype(np.float64), [axes for axes, _ in segments])
            self._seen = transform * (dual[1] * along / REACH)[:, None]

    def errors(self, rows: Rows, decoded: Rows) -> tuple[Floats, Floats, Floats]:
        """Return |s|²·(1 − cos²(s, ŝ)), |s|² and |r|²: r are rows without the center, s what counts of them."""
        mean = np.zeros(1) if self._center is None else self._center.astype(np.float64)
        rest, back = rows - mean, decoded - mean
        length = squares(rest)
        if self._seen is not None:
            rest, back = rest @ self._seen.T, back @ self._seen.T
        return residual(rest, back), squares(rest), length

    def size(self, rows: Rows) -> Floats:
        """Return what a plain code's share of error is of, (n,): |x|², times what queries see of an even error."""
        even = 1.0 if self._seen is None else float(np.sum(self._seen**2)) / rows.shape[1]
        return even * squares(rows.astype(np.float64))


def plain_distortion(bits: float) -> float:
    """Return what a plain code loses; between whole widths, codes of both on shares of the axes.

    >>> round(plain_distortion(1.5), 4)
    0.2404
    """
    low = int(bits)
    share = bits - low
    return distortion(low) if share == 0 else (1.0 - share) * distortion(low) + share * distortion(low + 1)
