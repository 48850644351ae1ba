"""SIMD levels: which kernels run. Codes and scores are the same at every level; only speed differs.

The environment variable ``TURBOQUANT_SIMD`` forces a level by name; a level that the machine lacks is refused.
Where the processor has AMX, the first look for levels asks Linux to let this process use it, unless the variable
forces another level. The level ``amx`` is absent where that is refused, or where a small product comes out wrong.

>>> from turboquant_rs import simd
>>> simd.available()[0]
'scalar'
>>> simd.level() in simd.available()
True
"""

from ._core import available, level, set_level

__all__ = ["available", "level", "set_level"]
