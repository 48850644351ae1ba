"""PaperCodes: vectors encoded by QJL, TurboQuantProd or PolarQuant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._arrays import as_bytes
from .codec import TurboQuant
from .codes import Codes, check_arrays

if TYPE_CHECKING:
    from .papers import PaperCodec


class PaperCodes(Codes):
    """n vectors encoded by one of the papers' codecs: :class:`Codes` without stages, so they cannot be truncated.

    Made by their ``encode`` or by :meth:`from_bytes` and :meth:`load`; ``PaperCodes(packed, scales, codec)`` takes both
    arrays as they are, uncopied, and refuses other dtypes and shapes, scales that are not finite, radii that are not
    finite or negative. Immutable in length; safe to read from any thread.

    Attributes
    ----------
    packed : array of uint8, shape (n, bytes)
        Packed codes, row-major; a PolarQuant row holds its radii, too. The layout is docs/format.md. NumPy on the CPU,
        CuPy on a GPU.
    scales : array of float32, shape (n, norms)
        QJL: the norm. TurboQuantProd: the factor of the levels and the norm of the residual; with one bit the norm.
        PolarQuant: none, (n, 0).
    codec : QJL, TurboQuantProd or PolarQuant
        The codec that made them.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import PolarQuant
    >>> codes = PolarQuant(64).encode(np.ones((10, 64)))
    >>> codes
    PaperCodes(n=10, codec=PolarQuant(dim=64), 31.0 bytes per vector)
    >>> len(codes[2:5]), codes.bits_per_dim
    (3, 3.875)
    """

    __slots__ = ()

    def __init__(self, packed: NDArray[np.uint8], scales: NDArray[np.float32], codec: PaperCodec) -> None:
        from .papers import PaperCodec

        if not isinstance(codec, PaperCodec):
            raise TypeError(f"codec must be a QJL, TurboQuantProd or PolarQuant, got {type(codec).__name__}")
        check_arrays(packed, scales, codec._core.row_bytes, codec._core.norms)
        self.packed = packed
        self.scales = scales
        self.codec = cast("TurboQuant", codec)
        self.bits = 0
        if self.device != "cpu":
            from .gpu.papers import are_whole

            if are_whole(codec, packed, scales):
                return
        # The CPU words the error.
        codec._core.check(*self.to("cpu")._contiguous())

    @classmethod
    def _of(cls, packed: NDArray[np.uint8], scales: NDArray[np.float32], codec: PaperCodec) -> PaperCodes:
        """Return codes of arrays that this package made, unchecked."""
        return cast("PaperCodes", cls._made(packed, scales, cast("TurboQuant", codec), 0))

    @property
    def _paper(self) -> PaperCodec:
        return cast("PaperCodec", self.codec)

    def __getitem__(self, rows: slice | Sequence[int] | NDArray[Any] | int) -> PaperCodes:
        """Return the selected rows: a view for slices and integers (one row), a copy for integer and boolean arrays."""
        return cast("PaperCodes", super().__getitem__(rows))

    def truncate(self, bits: object) -> NoReturn:
        """Refuse: only codes of TurboQuant have stages (ValueError)."""
        raise ValueError(f"codes must have stages to be truncated, got codes of {self.codec!r}; encode anew instead")

    def to(self, device: str) -> PaperCodes:
        """Return the codes on ``device``, as :meth:`Codes.to` does."""
        return cast("PaperCodes", super().to(device))

    @staticmethod
    def concatenate(parts: Sequence[Codes]) -> PaperCodes:
        """Return the rows of all ``parts`` in order (a copy). They must come from one codec."""
        return cast("PaperCodes", PaperCodes._joined(parts))

    def to_bytes(self) -> bytes:
        """Return the codes with a description of their codec and checksums as bytes: docs/format.md, version 1.

        Codes on a GPU are copied to the host; the bytes do not tell where they were.
        """
        return self._paper._core.to_bytes(*self.to("cpu")._contiguous())

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> PaperCodes:
        """Return the codes in :meth:`to_bytes`'s bytes (a copy).

        Raises
        ------
        CorruptError
            If a bit is flipped or a byte missing anywhere; the message names section and offset. Also for a newer
            format version.
        """
        from .papers import codec_of

        parameters, packed, scales = _core.paper_codes_from_bytes(as_bytes(data))
        return PaperCodes._of(packed, scales, codec_of(parameters))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_bytes` to ``path`` through a temporary file, so that a crash leaves an old file whole."""
        from ._files import replacing

        data = self.to_bytes()
        with replacing(path) as file:
            file.write(data)

    @staticmethod
    def load(path: str | os.PathLike[str], *, mmap: bool = False, verify: bool = True) -> PaperCodes:
        """Read codes from a file that :meth:`save` wrote; they are always read whole and checked.

        Raises
        ------
        CorruptError
            As for :meth:`from_bytes`.
        ValueError
            For ``mmap=True`` or ``verify=False``, which only codes of TurboQuant have.
        """
        if mmap or not verify:
            raise ValueError("mmap and verify must be left at their defaults for codes of the papers' codecs")
        return PaperCodes.from_bytes(Path(path).read_bytes())

    def __repr__(self) -> str:
        where = "" if self.device == "cpu" else f", on {self.device}"
        size = self._paper.bytes_per_vector()
        return f"PaperCodes(n={len(self)}, codec={self.codec!r}, {size:.1f} bytes per vector{where})"
