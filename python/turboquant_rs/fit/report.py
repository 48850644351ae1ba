"""What a fit has found, measured on rows that were held out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


class FitWarning(UserWarning):
    """A fit is less than was asked for: too few rows for the dimensions, or no better than a plain codec."""


@dataclass(frozen=True)
class Report:
    """What :meth:`TurboQuant.report` returns.

    Recall is 10@10 (of fewer neighbours where few rows are held out) of held-out queries among held-out rows, by codecs
    fitted on the rest of the sample; the codec that ``fit`` returns is then fitted on all of it. On a larger base all
    recalls are lower; their order is what this measurement is for.

    Attributes
    ----------
    fitted : bool
        False: a plain codec was as good on the held-out rows, or nothing could be fitted, and is what ``fit``
        returned.
    reason : str
        Why plain; empty for a fitted codec.
    recall, recall_plain : float
        Of the best fitted and of a plain codec with as many bytes.
    recall_error : float
        Standard error of their difference over queries.
    distortion, distortion_plain : float
        Mean |x − x̂|²/|x|² on held-out rows, each x̂ at its best length.
    center, scale, refine, weighting : bool, str, int, str
        What was chosen: whether the mean is taken off; the scale; trial scales a vector, 0 for none; whether bits
        minimise the error of "vectors", of "scores" among vectors of the sample, or of scores with given "queries".
    axes, dim, segments : int
        Axes that have bits, of dim; runs of them with a rotation and a width of their own.
    bits : float
    bytes_per_vector, codec_bytes : int
        Of one code with its scale; of the codec itself.
    shrinkage : float
        Share of an even spread in the second moment, 0 to 1; large: the sample is small for its dimensions.
    rows, held_out, queries : int
        Rows of the sample, those held out to measure on, and queries that measured.
    seconds : float
    """

    fitted: bool
    reason: str
    recall: float
    recall_plain: float
    recall_error: float
    distortion: float
    distortion_plain: float
    center: bool
    scale: str
    refine: int
    weighting: str
    axes: int
    dim: int
    segments: int
    bits: float
    bytes_per_vector: int
    codec_bytes: int
    shrinkage: float
    rows: int
    held_out: int
    queries: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return the attributes as a dictionary of plain Python values."""
        return asdict(self)

    def __str__(self) -> str:
        what = "fitted" if self.fitted else f"plain, because {self.reason}"
        center = "taken off" if self.center else "none"
        lines = [
            f"{self.bits:g} bits, {self.bytes_per_vector:,} bytes a vector: {what}",
            f"on {self.held_out:,} rows held out of {self.rows:,}, {self.queries:,} queries:",
            f"  recall      {self.recall:.3f} fitted, {self.recall_plain:.3f} plain (± {self.recall_error:.3f})",
            f"  distortion  {self.distortion:.4g} fitted, {self.distortion_plain:.4g} plain",
            f"axes {self.axes} of {self.dim} in {self.segments} segments, center {center}, scale {self.scale}, "
            f"refine {self.refine or 'off'}, bits by the error of {self.weighting}",
            f"codec {self.codec_bytes:,} bytes, fitted in {self.seconds:.2f} s",
        ]
        return "\n".join(lines)
