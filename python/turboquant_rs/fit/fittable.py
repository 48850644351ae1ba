"""The methods of a codec that have to do with fits."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import as_int, as_refine, as_threads, one_of
from .report import Report

if TYPE_CHECKING:
    from ..codec import Metric, Refine, Scale, TurboQuant
    from .drift import Drift


class Fittable:
    """What :class:`turboquant_rs.TurboQuant` can do with a sample of vectors."""

    __slots__ = ("_report",)

    _report: Report

    @staticmethod
    def fit(
        sample: ArrayLike,
        bits: float = 2,
        *,
        queries: ArrayLike | None = None,
        center: bool | Literal["auto"] = "auto",
        metric: Metric = "ip",
        scale: Scale | Literal["auto"] = "auto",
        refine: Refine | Literal["auto"] = "auto",
        seed: int = 0,
        threads: int | None = None,
    ) -> TurboQuant:
        """Return a codec that spends its bits where vectors like the sample's vary: the recall of twice the bytes.

        The second moment of the sample gives axes; the bits go where an error costs most (docs/fitted.md), and axes
        without any are never computed. A quarter of the sample is held out to choose the center, the weighting and
        the scale, and to compare with a plain codec, which is returned where it does as well. The idea: SAQ (arXiv
        2509.12086); optimized product quantization (Ge et al., 2013) for the fitted rotation.

        Parameters
        ----------
        sample : array_like, shape (n, dim)
            At least 256 vectors like those to be encoded, better 20·dim; up to 8,192 dimensions. Read a block of 8 MiB
            at a time, a few times over, so it may be a memory-mapped file larger than memory.
        bits : float, default 2
            Bits a coordinate on average, up to 8 and at least one byte a vector: any number, 0.25 or 1.5 too. The
            codes of a vector take ⌈dim·bits/8⌉ bytes exactly.
        queries : array_like, shape (nq, dim), optional
            At least 64 queries, where they are distributed unlike the vectors (questions and documents): then the
            error of their scores is minimised. Decoded vectors may be worse in directions that no query looks in.
        center : "auto" (default), True or False
            Whether the mean of the sample is taken off each vector.
        metric : "ip" (default), "cosine" or "l2"
            How held-out neighbours are found; with "cosine" vectors count by their direction.
        scale : "auto" (default), "unbiased", "mse" or "matched"
            As for :class:`TurboQuant`; "auto" chooses. "mse" also makes the bits minimise the error of vectors alone.
        refine : "auto" (default), False, 8, 16 or 32
            As for :class:`TurboQuant`; "auto" is 16 where that finds at least 0.005 more of the held-out neighbours
            (as with few dimensions), since encoding then takes up to twice as long, else False.
        seed
            As for :class:`TurboQuant`; it also draws the rows that are held out.
        threads : int, optional
            Of the measurements; NumPy's linear algebra has its own, for eigenvectors one up to 1,536 dimensions.

        Returns
        -------
        TurboQuant
            With :meth:`report`. It is deterministic for one machine and NumPy; the codes of a codec are on all.

        Raises
        ------
        ValueError
            For a sample or queries of too few rows, NaN or ±inf (row and column are named), other numbers of columns,
            and bits, center, metric, scale, refine or seed out of range.
        TypeError
            As for :meth:`encode`.

        Warns
        -----
        FitWarning
            If a plain codec is returned, or the sample is small for its dimensions.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> x = np.random.default_rng(0).standard_normal((4000, 64)) * np.arange(1, 65) ** -0.5
        >>> q = TurboQuant.fit(x, bits=1.5)
        >>> q.fitted, q.bits, q.bytes_per_vector()
        (True, 1.5, 16)
        >>> report = q.report()
        >>> report.recall > report.recall_plain
        True
        """
        from .fitting import Fit, Options

        if isinstance(bits, (bool, np.bool_)) or not isinstance(bits, (int, float, Fraction, np.integer, np.floating)):
            raise TypeError(f"bits must be a number, got {bits!r}")
        if not 0 < bits <= 8:
            raise ValueError(f"bits must be above 0 and at most 8, got {bits}")
        if not isinstance(center, bool) and center != "auto":
            raise ValueError(f'center must be "auto", True or False, got {center!r}')
        options = Options(
            bits=float(bits),
            center=None if center == "auto" else center,
            metric=one_of(metric, "metric", ("ip", "cosine", "l2")),
            scale=None if scale == "auto" else one_of(scale, "scale", ("unbiased", "mse", "matched")),
            refine=None if refine == "auto" else as_refine(refine),
            seed=as_int(seed, "seed", 0, (1 << 64) - 1),
            threads=as_threads(threads),
        )
        return Fit(sample, queries, options).run()

    def report(self) -> Report:
        """Return what :meth:`fit` found on held-out rows: recall and distortion beside plain, choices, seconds.

        Raises
        ------
        ValueError
            If this codec was not made by :meth:`fit` in this process: bytes and files keep the codec alone.
        """
        report: Report | None = getattr(self, "_report", None)
        if report is None:
            raise ValueError(
                "report is there for codecs that TurboQuant.fit returned in this process; this one was made otherwise"
            )
        return report

    def drift(self, x: ArrayLike, *, threads: int | None = None) -> Drift:
        """Return how much more of the vectors ``x`` is lost than of the sample's: whether it is time to fit again.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            As for :meth:`encode`; a few hundred are enough. For a codec that was fitted to queries the shares are of
            what they can see.

        Returns
        -------
        Drift
            ``ratio`` is 1 for vectors like the sample's, and for every vector if the codec is plain; ``reading`` says
            it in a word.

        Examples
        --------
        >>> import numpy as np
        >>> from turboquant_rs import TurboQuant
        >>> rng, size = np.random.default_rng(0), np.arange(1, 65) ** -0.5
        >>> q = TurboQuant.fit(rng.standard_normal((4000, 64)) * size, bits=2)
        >>> q.drift(rng.standard_normal((500, 64)) * size).reading
        'as fitted'
        >>> q.drift(rng.standard_normal((500, 64))).reading
        'refit'
        """
        from .drift import drift

        return drift(self, x, threads)  # type: ignore[arg-type]


# Python names a method by its qualified name where a call has a wrong argument: the name that users know.
for _method in (Fittable.fit, Fittable.report, Fittable.drift):
    _method.__qualname__ = f"TurboQuant.{_method.__name__}"
