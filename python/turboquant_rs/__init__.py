"""TurboQuant vector quantization (arXiv 2504.19874): compress vectors to 1–8 bits a coordinate, compute on the codes.

>>> import numpy as np
>>> from turboquant_rs import Index, TurboQuant
>>> x = np.random.default_rng(0).standard_normal((1000, 128))
>>> codes = TurboQuant(128, bits=4).encode(x)
>>> codes.nbytes / len(codes)                     # bytes a vector, scale included
68.0
>>> index = Index(128, bits=4, metric="cosine")
>>> ids = index.add(x)
>>> scores, ids = index.search(x[:3], k=1)
>>> ids.ravel().tolist()
[0, 1, 2]
"""

from importlib.metadata import version as _version

from . import simd
from ._core import CorruptError
from ._results import SearchStats
from .codec import TurboQuant
from .codes import Codes
from .filters import Filter
from .fit import Drift, Report
from .index import Index
from .outliers import outlier_channels
from .paper_codes import PaperCodes
from .paper_index import PaperIndex
from .papers import QJL, PolarQuant, TurboQuantProd

__version__ = _version("turboquant-rs")
__all__ = [
    "QJL",
    "Codes",
    "CorruptError",
    "Drift",
    "Filter",
    "Index",
    "PaperCodes",
    "PaperIndex",
    "PolarQuant",
    "Report",
    "SearchStats",
    "TurboQuant",
    "TurboQuantProd",
    "outlier_channels",
    "simd",
]
