"""The fit: candidates on one part of the sample, the best of them on the other, plain where none is better."""

from __future__ import annotations

import math
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from .held_out import HeldOut, Measured, standard_error
from .parts import parts_of
from .report import FitWarning, Report
from .sample import Moments, Rows, Sample
from .spectrum import Spectrum, dual, even, orthonormal, weighted

if TYPE_CHECKING:
    from ..codec import Refine, Scale, TurboQuant

#: Queries to fit to: fewer say too little of where they point.
LEAST_QUERIES = 64
#: Share of an even spread in the second moment from which a sample counts as small for its dimensions.
_MUCH_SHRINKAGE = 0.25
#: And from which it shows no axes at all.
_NO_FIT = 0.9
#: Standard errors by which a fit must beat plain: the best of several candidates is one or so ahead by chance.
_SURE = 2.0
#: Weights of an axis, as powers of its variance: errors of vectors alone (1) to those of scores (2). 1.5 finds most on
#: text at 1 to 4 bits (0.954 against 0.939 by 1 at 3 bits of 384 dimensions), 1 to 1.25 at half a bit and on SIFT.
_POWERS = (1.25, 1.5, 1.0)
#: Scales to choose from, the usual best first. "mse" finds as much with fitted codes, but an index gives its scale to
#: the rows that it keeps as plain codes too, and those rank worse by it (by 0.03 on clusters at 1 bit).
_SCALES: tuple[Scale, ...] = ("matched", "unbiased")
#: Trial scales a row, and the recall on held-out rows that they must gain to be worth encoding at down to half of the
#: speed: 0.006 to 0.026 on SIFT (128 dimensions, 1 to 4 bits, by the seed), at most 0.004 on text (384).
_REFINE: Refine = 16
_WORTH = 0.005


@dataclass(frozen=True)
class Options:
    """What a fit is told: arguments of :meth:`turboquant_rs.TurboQuant.fit`, checked."""

    bits: float
    center: bool | None
    """None: to be chosen."""
    metric: str
    scale: Scale | None
    """None: to be chosen."""
    refine: Refine | None
    """None: to be chosen."""
    seed: int
    threads: int | None


@dataclass(frozen=True)
class Candidate:
    """A way to fit, and what it kept of the held-out rows."""

    center: Rows | None
    power: float
    queries: bool
    scale: Scale
    refine: Refine = False
    measured: Measured | None = None

    @property
    def weighting(self) -> str:
        """What the bits minimise the error of."""
        return "queries" if self.queries else "vectors" if self.power == 1.0 else "scores"


class Fit:
    """One fit, from the sample to the codec."""

    def __init__(self, sample: ArrayLike, queries: ArrayLike | None, options: Options) -> None:
        self._started = time.perf_counter()
        self._options = options
        self._sample = Sample(sample, "sample", options.seed, unit=options.metric == "cosine")
        # A query's length scales all of its scores alike, so its direction is what counts.
        self._queries = None
        if queries is not None:
            self._queries = Sample(queries, "queries", options.seed, unit=True, least=LEAST_QUERIES)
            if self._queries.dim != self._sample.dim:
                raise ValueError(
                    f"queries must have {self._sample.dim} columns (the sample's), got {self._queries.dim}"
                )
        if not options.bits * self._sample.dim >= 8:
            if self._sample.dim < 8:
                raise ValueError(
                    f"sample must have at least {math.ceil(8 / options.bits)} columns to fit at {options.bits:g} bits "
                    f"(one byte a vector), got {self._sample.dim}, too few; a plain codec takes any"
                )
            raise ValueError(
                f"bits must be at least 8/dim = {8 / self._sample.dim:g}, one byte a vector, got {options.bits:g}"
            )
        asked = None if self._queries is None else self._queries.held_out
        self._held = HeldOut(self._sample.held_out, asked, options.metric)
        self._plain = self._plain_codec()
        self._base = self._held.measure(self._plain, options.threads)
        self._moments: dict[tuple[bool, bool], Moments] = {}
        self._spectra: dict[bool, Spectrum] = {}

    def run(self) -> TurboQuant:
        """Return the fitted codec, or the plain one, with its report."""
        center = None if self._options.center is False else self._sample.mean()
        if center is not None and not center.any():
            center = None
        if not self._varies(center):
            return self._finish(self._plain, None, 1.0, "the rows of the sample do not differ")
        # The error of reconstructed vectors is what "mse" asks for; else errors of scores count too.
        first, *others = (1.0,) if self._options.scale == "mse" else _POWERS
        refine = self._options.refine or False
        best = self._better(None, Candidate(center, first, False, self._options.scale or _SCALES[0], refine))
        if center is not None and self._options.center is None:
            best = self._better(best, replace(best, center=None))
        for power in others:
            best = self._better(best, replace(best, power=power))
        if self._queries is not None:
            for power in (1.0, 0.5):
                best = self._better(best, replace(best, power=power, queries=True))
        if self._options.scale is None:
            for scale in _SCALES[1:]:
                best = self._better(best, replace(best, scale=scale), clearly=True)
        assert best.measured is not None
        if not best.measured.beats(self._base, _SURE):
            return self._finish(self._plain, best, 1.0, "it does as well on the rows held out")
        spectrum = self._spectrum(best, whole=True)
        if spectrum.shrinkage > _NO_FIT and best.center is None and not best.queries:
            return self._finish(self._plain, best, 1.0, "its rows vary alike in every direction")
        if self._options.refine is None:
            refined = self._better(None, replace(best, refine=_REFINE))
            assert refined.measured is not None
            if refined.measured.beats(best.measured, least=_WORTH):
                best = refined
        if spectrum.shrinkage > _MUCH_SHRINKAGE:
            _warn(
                f"sample has {len(self._sample):,} rows, few for {self._sample.dim:,} dimensions: "
                f"{spectrum.shrinkage:.0%} of the fit is an even spread; more rows would save more",
                2,
            )
        return self._finish(self._codec(spectrum, best), best, spectrum.shrinkage, "")

    def _better(self, best: Candidate | None, candidate: Candidate, *, clearly: bool = False) -> Candidate:
        """Measure a candidate; the earlier one stays unless the later finds more, ``clearly`` by a standard error."""
        codec = self._codec(self._spectrum(candidate, whole=False), candidate)
        measured = replace(candidate, measured=self._held.measure(codec, self._options.threads))
        if best is None or best.measured is None or measured.measured is None:
            return measured
        if clearly:
            return measured if measured.measured.beats(best.measured) else best
        return measured if measured.measured.recall.mean() > best.measured.recall.mean() else best

    def _spectrum(self, candidate: Candidate, *, whole: bool) -> Spectrum:
        centered = candidate.center is not None
        if not candidate.queries and not whole and centered in self._spectra:
            return weighted(self._spectra[centered], candidate.power)
        moments = self._moments_of(self._sample, candidate.center, whole=whole)
        if not candidate.queries:
            spectrum = orthonormal(moments)
            if not whole:
                self._spectra[centered] = spectrum
            return weighted(spectrum, candidate.power)
        assert self._queries is not None
        return dual(moments, self._moments_of(self._queries, None, whole=whole), candidate.power)

    def _moments_of(self, sample: Sample, center: Rows | None, *, whole: bool) -> Moments:
        key = (sample is self._sample, center is not None)
        if key not in self._moments:
            self._moments[key] = sample.moments(center, held_out=False)
        return self._moments[key] + sample.moments(center, held_out=True) if whole else self._moments[key]

    def _varies(self, center: Rows | None) -> bool:
        moments = self._moments_of(self._sample, center, whole=False)
        return moments.rows >= max(2, len(self._sample) // 100)

    def _codec(self, spectrum: Spectrum, candidate: Candidate) -> TurboQuant:
        from ..codec import TurboQuant

        parts = parts_of(spectrum, self._options.bits, candidate.center)
        options = self._options
        return TurboQuant._from_parts(**parts, seed=options.seed, scale=candidate.scale, refine=candidate.refine)

    def _plain_codec(self) -> TurboQuant:
        """What does without a fit: for a whole number of bits a plain codec, else axes of one variance."""
        from ..codec import TurboQuant

        options = self._options
        scale, refine = options.scale or "unbiased", options.refine or False
        if options.bits == int(options.bits):
            dim, bits = self._sample.dim, int(options.bits)
            return TurboQuant(dim, bits, seed=options.seed, scale=scale, refine=refine)
        return self._codec(even(self._sample.dim, options.seed), Candidate(None, 1.0, False, scale, refine))

    def _finish(self, codec: TurboQuant, best: Candidate | None, shrinkage: float, reason: str) -> TurboQuant:
        if reason:
            _warn(f"fit returns a plain codec: {reason}", 3)
        measured = self._base if best is None or best.measured is None else best.measured
        parts = codec._core.parts()
        segments = [(codec.dim, codec.bits)] if parts is None else parts[3]
        plain = self._held.distortion(self._plain, self._options.threads)
        distortion = plain
        if best is not None:
            trial = self._codec(self._spectrum(best, whole=False), best)
            distortion = self._held.distortion(trial, self._options.threads)
        report = Report(
            fitted=not reason,
            reason=reason,
            recall=float(measured.recall.mean()),
            recall_plain=float(self._base.recall.mean()),
            recall_error=standard_error(measured.recall - self._base.recall),
            distortion=distortion,
            distortion_plain=plain,
            center=parts is not None and parts[0] is not None,
            scale=codec.scale,
            refine=int(codec.refine),
            weighting="vectors" if reason or best is None else best.weighting,
            axes=sum(axes for axes, _ in segments),
            dim=codec.dim,
            segments=len(segments),
            bits=self._options.bits,
            bytes_per_vector=codec.bytes_per_vector(),
            codec_bytes=codec.nbytes,
            shrinkage=shrinkage,
            rows=len(self._sample),
            held_out=len(self._sample.held_out),
            queries=len(self._held.queries),
            seconds=time.perf_counter() - self._started,
        )
        codec._set(_report=report)
        return codec


def _warn(message: str, frames: int) -> None:
    """Warn about the call of TurboQuant.fit, which is so many frames above the function that warns."""
    warnings.warn(message, FitWarning, stacklevel=frames + 2)
