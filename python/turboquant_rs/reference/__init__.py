"""The NumPy reference: the specification of the Rust core and of the GPU kernels, written to be read beside the paper.

It imports NumPy and the standard library only and favours plainness over speed. The modules mirror the core's:
``rng``, ``rows`` and ``sums``, ``rotation``, ``dense``, ``codebook`` (with ``lloyd_max``, its solver), ``units``,
``fitted``, ``mse``, ``fitted_codec``, ``codes``, ``scan``, ``topk``, ``index``.
"""

from .codes import Codes
from .fitted_codec import FittedTurboQuant
from .index import Index
from .mse import TurboQuant
from .scan import score

__all__ = ["Codes", "FittedTurboQuant", "Index", "TurboQuant", "score"]
