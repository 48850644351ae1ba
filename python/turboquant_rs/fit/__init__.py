"""Fitting a codec to a sample: which axes, how many bits on each, which center and scale; NumPy and LAPACK only.

The result is a description (center, matrix, deviations, segments, order of units) that is stored whole: codes depend on
it and on nothing here, so a fit may use any linear algebra, and codes stay the same bytes on every machine.
"""

from .drift import Drift
from .report import FitWarning, Report

__all__ = ["Drift", "FitWarning", "Report"]
