"""How far vectors are from what a codec was fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_rows, as_threads, blocks
from .distortion import distortion
from .held_out import center_of, errors
from .sample import Floats, Rows

if TYPE_CHECKING:
    from ..codec import TurboQuant

#: Up to this ratio of measured to promised distortion vectors count as those of the sample: held-out rows of real
#: embeddings are within 1.1, half the topics of a text collection that the fit has not seen above it.
AS_FITTED = 1.15


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
    center = center_of(codec)
    plain = plain_distortion(float(codec.bits))
    lost, worse, count = 0.0, 0, 0
    for first, block in blocks(rows, "x"):
        decoded = codec.decode(codec._encode(block, threads, first_row=first)[0], threads=threads)
        error, whole = errors(block, decoded, center)
        size = _from_center(block, center)
        kept = size > 0
        lost += float(np.sum(error[kept] / size[kept]))
        worse += int(np.sum(error > whole * plain))
        count += int(kept.sum())
    if count == 0:
        raise ValueError("x must have rows that differ from the codec's center, got none")
    promised = promise(codec)
    return Drift(lost / count / promised, lost / count, promised, plain, worse / count, count)


def promise(codec: TurboQuant) -> float:
    """Return the mean share of a unit row that the codes of a codec lose on rows like its sample's."""
    parts = codec._core.parts()
    if parts is None:
        return plain_distortion(float(codec.bits))
    kept = 0.0
    for sigma, (axes, bits) in zip(parts[2].tolist(), parts[3], strict=True):
        kept += axes * sigma * sigma * (1.0 - distortion(bits))
    return max(1.0 - kept, 1e-9)


def plain_distortion(bits: float) -> float:
    """Return what a plain code loses; between whole widths, codes of both on shares of the axes.

    >>> round(plain_distortion(1.5), 4)
    0.2404
    """
    low = int(bits)
    share = bits - low
    return distortion(low) if share == 0 else (1.0 - share) * distortion(low) + share * distortion(low + 1)


def _from_center(block: Rows, center: Rows | None) -> Floats:
    rest = block.astype(np.float64) - (0.0 if center is None else center)
    return np.asarray(np.einsum("ij,ij->i", rest, rest))
