"""The NumPy reference: the specification of the Rust core and of the GPU kernels, written to be read beside the paper.

It imports NumPy and the standard library only and favours plainness over speed. The modules mirror the core's:
``rng``, ``rows`` and ``sums``, ``rotation``, ``dense``, ``codebook`` (with ``lloyd_max``, its solver), ``units``,
``fitted``, ``mse``, ``fitted_codec``, ``codes``, ``scan``, ``topk``, ``index``; for the other papers ``normals``,
``haar``, ``projection``, ``qjl``, ``prod``, ``polar`` (with ``polar_angles``), ``paper_codes``, ``paper_index``.
"""

from .codes import Codes
from .fitted_codec import FittedTurboQuant
from .index import Index
from .mse import TurboQuant
from .paper_codes import PaperCodes
from .paper_index import PaperIndex
from .polar import PolarQuant
from .prod import TurboQuantProd
from .qjl import QJL
from .scan import score

__all__ = [
    "QJL",
    "Codes",
    "FittedTurboQuant",
    "Index",
    "PaperCodes",
    "PaperIndex",
    "PolarQuant",
    "TurboQuant",
    "TurboQuantProd",
    "score",
]
