"""The NumPy reference: the specification of the Rust core and of the GPU kernels, written to be read beside the paper.

It imports NumPy and the standard library only and favours plainness over speed. The modules mirror the core's:
``rng``, ``rows`` and ``sums``, ``rotation``, ``codebook`` (with ``lloyd_max``, its solver), ``units``, ``mse``,
``codes``, ``scan``, ``topk``, ``index``.
"""

from .codes import Codes
from .index import Index
from .mse import TurboQuant
from .scan import score

__all__ = ["Codes", "Index", "TurboQuant", "score"]
