"""How far vectors are from what a codec was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_rows, as_threads, blocks
from .distortion import distortion
from .held_out import residual, squares, standard_error
from .sample import Floats, Rows

if TYPE_CHECKING:
    from ..codec import TurboQuant

#: Vectors of a ratio up to this count as those of the sample, which shows a fit its own rows better than others. Such
#: others have ratios up to 1.03 where it saw 20 rows a dimension, and 1.13 at 8, on real and synthetic sets; half the
#: topics of a text collection that it has not seen has 1.25 to 1.42.
AS_FITTED = 1.15
#: Standard errors by which a ratio must be above: chance does that to one sample in 370 of 30 vectors (Student's t with
#: 29 degrees of freedom), in 740 of many.
SURE = 3.0
#: Fewer vectors do not show how they scatter.
LEAST_ROWS = 30
#: Least promise: below, rounding is what is left.
_LEAST = 1e-9


@dataclass(frozen=True)
class Drift:
    """What :meth:`TurboQuant.drift` returns.

    Attributes
    ----------
    ratio : float
        Expected over promised distortion: 1 for vectors like those of the sample, larger the less they are.
    error : float
        Standard error of the ratio over vectors.
    expected : float
        Mean share of the squared length (from the center) that codes lose of these vectors by the codec's description:
        what the bits of its axes leave of the squares along them.
    promised : float
        The same of vectors like the sample's: what is left of their variances. It is the mean of what is expected of
        them, whatever their distribution.
    measured : float
        What codes of these vectors did lose, each at its best length; above the expected where coordinates are far from
        Gaussian, for the sample's vectors, too.
    plain : float
        What a plain code of as many bits loses of any vector, from its own origin.
    worse : float
        Share of the vectors that a plain code would keep better; 0 for a plain codec.
    rows : int
        Vectors measured; zero vectors have no share.
    """

    ratio: float
    error: float
    expected: float
    promised: float
    measured: float
    plain: float
    worse: float
    rows: int

    @property
    def reading(self) -> str:
        """The ratio in words: "as fitted", "drifted", or "refit": a plain codec would do better for most vectors.

        "drifted" is a ratio that is above 1.15 by more than three standard errors, of 30 vectors or more. Of vectors
        from a distribution whose ratio is at most 1.15, one sample in 370 or fewer reads so.
        """
        if self.worse > 0.5:
            return "refit"
        above = self.ratio - SURE * self.error > AS_FITTED
        return "drifted" if above and self.rows >= LEAST_ROWS else "as fitted"

    def __str__(self) -> str:
        return (
            f"{self.reading}: expected distortion {self.expected:.4g}, {self.ratio:.2f} ± {self.error:.2f} times the "
            f"promised {self.promised:.4g}, measured {self.measured:.4g}; "
            f"a plain code would keep {self.worse:.1%} of {self.rows:,} vectors better"
        )


def drift(codec: TurboQuant, x: ArrayLike, threads: int | None = None) -> Drift:
    """Compare what is lost of vectors (n, dim), a block at a time, with what was promised."""
    rows = as_rows(x, "x", codec.dim, "codec")
    threads = as_threads(threads)
    view = View(codec)
    plain = plain_distortion(codec._core.row_bits(codec._core.full) / codec.dim)
    measured, worse = 0.0, 0
    shares: list[Floats] = []
    for first, block in blocks(rows, "x"):
        decoded = codec.decode(codec._encode(block, threads, first_row=first)[0], threads=threads)
        error, size, length = view.errors(block, decoded)
        kept = length > 0
        # A codec knows rows by their directions.
        measured += float(np.sum(error[kept] / length[kept]))
        shares.append(np.stack([view.expected(block)[kept], size[kept]]) / length[kept])
        # A plain code keeps no vector better than it does itself.
        worse += int(np.sum(error > plain * view.size(block))) if codec.fitted else 0
    lost, whole = np.concatenate(shares, axis=1) if shares else np.zeros((2, 0))
    count, total = len(lost), float(whole.sum())
    if total == 0:
        raise ValueError("x must have rows that differ from the codec's center, got none")
    expected = float(lost.sum()) / total
    # Of a ratio of two sums over the same vectors.
    deviation = standard_error(lost - expected * whole) * count / total / view.promise
    return Drift(
        ratio=expected / view.promise,
        error=deviation,
        expected=expected,
        promised=view.promise,
        measured=measured / total,
        plain=plain,
        worse=worse / count,
        rows=count,
    )


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
        self._axes: Floats | None = None
        self._seen: Floats | None = None
        if parts is None:
            return
        from ..reference.dense import REACH  # not with the package: see `distortion`

        center, transform, sigmas, segments, _, dual = parts
        self._center = center
        variance = np.square(sigmas, dtype=np.float64) * [axes for axes, _ in segments]
        kept = float(variance @ [1.0 - distortion(bits) for _, bits in segments])
        # Unit rows have a second moment of trace 1, of which axes without bits keep nothing; a codec of queries knows
        # its own axes alone.
        self.promise = max(1.0 - kept, _LEAST) if dual is None else max(1.0 - kept / float(variance.sum()), _LEAST)
        self._axes = transform.astype(np.float64) / REACH
        self._kept = np.repeat([1.0 - distortion(bits) for _, bits in segments], [axes for axes, _ in segments])
        if dual is not None:
            along = np.repeat(sigmas.astype(np.float64), [axes for axes, _ in segments])
            self._axes = self._seen = self._axes * (dual[1] * along)[:, None]

    def expected(self, rows: Rows) -> Floats:
        """Return |s|² less what the bits of each axis keep of the square along it, (n,); s as in :meth:`errors`."""
        rest = self._rest(rows)
        if self._axes is None:
            return self.promise * squares(rest)
        along = np.square(rest @ self._axes.T)
        whole = squares(rest) if self._seen is None else along.sum(axis=1)
        return np.asarray(whole - along @ self._kept)

    def errors(self, rows: Rows, decoded: Rows) -> tuple[Floats, Floats, Floats]:
        """Return |s|²·(1 − cos²(s, ŝ)), |s|² and |r|²: r are rows without the center, s what counts of them."""
        rest, back = self._rest(rows), self._rest(decoded)
        length = squares(rest)
        if self._seen is not None:
            rest, back = rest @ self._seen.T, back @ self._seen.T
        return residual(rest, back), squares(rest), length

    def _rest(self, rows: Rows) -> Floats:
        """Rows without the center."""
        return np.asarray(rows - (np.zeros(1) if self._center is None else self._center.astype(np.float64)))

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
