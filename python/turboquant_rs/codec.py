"""TurboQuant: the codec."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import (
    as_array,
    as_flag,
    as_float32,
    as_int,
    as_queries,
    as_refine,
    as_rows,
    as_threads,
    back,
    blocks,
    encodes_on_gpu,
    one_of,
    refuse_cuda_queries,
)
from ._rates import Bits, bits_of, cut, keep_of, pair_of, shown
from .codes import Codes, check_codec, read_header
from .fit.fittable import Fittable
from .outliers import as_outliers

Rotation: TypeAlias = Literal["hadamard", "dense"]
Scale: TypeAlias = Literal["unbiased", "mse", "matched", "paper"]
Refine: TypeAlias = Literal[False, 8, 16, 32]
Metric: TypeAlias = Literal["ip", "cosine", "l2"]

_Core: TypeAlias = _core.Codec
_SCALES = ("unbiased", "mse", "matched", "paper")


class TurboQuant(Fittable):
    """Encode vectors to 1–8 bits a coordinate without training, decode them, score queries against the codes.

    TurboQuant_mse (arXiv 2504.19874, Algorithm 1): a random rotation makes every coordinate nearly Gaussian, each is
    rounded to the levels that are optimal for that law (equation 4), and one number a vector scales the result.

    Parameters
    ----------
    dim : int
        Coordinates of a vector, 1 to 65,536 (4,096 with a dense rotation). Nothing is padded but a unit's last byte.
    bits : int, default 4
        Bits a coordinate, 1 to 8. With ``outliers`` two numbers: theirs, and the other channels', not larger.
    outliers : array_like of int, or of bool of shape (dim,), optional
        Channels that get a segment of their own, with its rotation, codebook and scale: the paper's 2.5- and 3.5-bit
        scheme (section 4.3; :func:`outlier_channels` chooses). Costs 4 bytes a vector more; pays only where a few
        channels hold much of the energy (docs/numerics.md section 13). On the CPU only.
    seed : int, default 0
        Seed of the rotation, 0 to 2**64 − 1. The same seed gives the same bytes on every machine.
    rotation : "hadamard" (default) or "dense"
        Three or four rounds of random signs and Walsh–Hadamard transforms, O(dim log dim); or the paper's own dense
        Haar-random matrix, O(dim²) a row, whose making takes O(dim³), on the first use (3 s at 2,048).
    scale : "unbiased" (default), "mse", "matched" or "paper"
        What the scale makes of the same codes. With n the norm, y the rotated unit vector times √dim and c its
        levels: "unbiased" n·√dim/⟨y,c⟩, inner products with decoded vectors are unbiased (search, keys); "mse"
        n·⟨y,c⟩/(√dim·|c|²), least error (reconstruction, values); "matched" n/|c|, keeps norms; "paper" n/√dim, the
        norm alone. (DRIVE and EDEN, and RaBitQ's rescale.)
    refine : False (default), 8, 16 or 32
        Scales to try before rounding; the code of largest cosine wins. Lowers distortion most at few dimensions and
        many bits (15 % at 128 dimensions, 4 bits), costs encoding time, changes nothing for decoding.

    Attributes
    ----------
    dim, bits, seed, rotation, scale, refine
        As given. ``bits`` of a fitted codec is the average over all coordinates, a float; with outliers a tuple.

    Notes
    -----
    Instances are immutable, cheap to pickle, compare by value, and safe to use from any thread; the GIL is released
    while Rust works.

    An array in a GPU's memory is encoded there, by CUDA kernels that give the same bytes and scores (docs/gpu.md); the
    codes stay on that GPU. It takes CuPy: the extras ``cuda12`` and ``cuda13``. Nothing moves between devices unasked.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import TurboQuant
    >>> q = TurboQuant(768, bits=4, scale="mse")
    >>> x = np.random.default_rng(0).standard_normal((100, 768), dtype=np.float32)
    >>> codes = q.encode(x)
    >>> codes.packed.shape, codes.scales.shape
    ((100, 384), (100, 1))
    >>> error = np.sum((q.decode(codes) - x) ** 2) / np.sum(x**2)
    >>> bool(0.008 < error < 0.011)                      # theory: 0.0095
    True
    """

    __slots__ = ("_core", "bits", "dim", "refine", "rotation", "scale", "seed")

    dim: int
    bits: Bits
    seed: int
    rotation: Rotation
    scale: Scale
    refine: Refine
    _core: _core.Codec

    def __init__(
        self,
        dim: int,
        bits: int | tuple[int, int] = 4,
        *,
        outliers: ArrayLike | None = None,
        seed: int = 0,
        rotation: Rotation = "hadamard",
        scale: Scale = "unbiased",
        refine: Refine = False,
    ) -> None:
        rotation = one_of(rotation, "rotation", ("hadamard", "dense"))
        fields = {
            "dim": as_int(dim, "dim", 1, 65_536),
            "seed": as_int(seed, "seed", 0, (1 << 64) - 1),
            "rotation": rotation,
            "scale": one_of(scale, "scale", _SCALES),
            "refine": as_refine(refine),
        }
        self._set(**fields)
        if outliers is None:
            if isinstance(bits, tuple):
                raise ValueError(f"outliers must be given with two numbers of bits, got bits={bits!r} alone")
            if isinstance(bits, float) and not bits.is_integer():
                text = f"bits must be an integer, got {bits!r} (float)"
                raise TypeError(f"{text}; a fit to a sample takes any average: TurboQuant.fit(sample, {bits!r})")
            self._set(bits=as_int(bits, "bits", 1, 8))
            self._set(_core=_core.Codec(*self._parameters()))
            return
        if not isinstance(bits, (tuple, list)):
            raise ValueError(f"bits must be two numbers with outliers, theirs and the other channels', got {bits!r}")
        first, second = pair_of(bits)
        self._set(bits=(first, second))
        channels = as_outliers(outliers, self.dim)
        self._set(_core=_core.Codec.split(self.dim, (first, second), channels, *self._parameters()[2:]))

    def _set(self, **fields: object) -> None:
        # Codes refer to their codec, so nobody may change one: __setattr__ refuses.
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @classmethod
    def _from_core(cls, core: _Core) -> TurboQuant:
        codec = object.__new__(cls)
        seed, rotation, scale, refine = core.choices
        bits = bits_of(core, core.full)
        fields = {"seed": seed, "rotation": rotation, "scale": scale, "refine": refine or False}
        codec._set(dim=core.dim, bits=bits, _core=core, **fields)
        return codec

    @classmethod
    def _from_parts(
        cls,
        center: NDArray[np.float32] | None,
        transform: NDArray[np.int16],
        sigmas: NDArray[np.float32],
        segments: Sequence[tuple[int, int]],
        order: Sequence[int],
        *,
        seed: int = 0,
        scale: Scale = "unbiased",
        refine: Refine = False,
        dual: NDArray[np.int16] | None = None,
        row_gains: NDArray[np.float32] | None = None,
        query_gains: NDArray[np.float32] | None = None,
    ) -> TurboQuant:
        """Return a fitted codec from the parts of docs/numerics.md section 11; ValueError names a faulty one.

        ``center`` (dim,) float32 or None, ``transform`` (axes, dim) int16, ``sigmas`` (segments,) float32,
        ``segments`` (axes, bits) each, ``order`` the segment of every unit of one bit; ``dual`` (axes, dim) int16 with
        ``row_gains`` and ``query_gains`` (axes,) float32, all or none, of a codec that was fitted to queries.
        """
        if len(order) and (min(order) < 0 or max(order) > 255):
            raise ValueError(f"order must name segments, 0 to 255, got {min(order)} to {max(order)}")
        pair = None
        if dual is not None and row_gains is not None and query_gains is not None:
            gains = [np.ascontiguousarray(gain, np.float32) for gain in (row_gains, query_gains)]
            pair = (np.ascontiguousarray(dual, np.int16), gains[0], gains[1])
        elif dual is not None or row_gains is not None or query_gains is not None:
            raise ValueError("dual, row_gains and query_gains must be given together, got some of them")
        core = _core.Codec.from_parts(
            None if center is None else np.ascontiguousarray(center, np.float32),
            np.ascontiguousarray(transform, np.int16),
            np.ascontiguousarray(sigmas, np.float32),
            [(int(dim), int(bits)) for dim, bits in segments],
            bytes(int(segment) for segment in order),
            pair,
            seed,
            scale,
            int(refine),
        )
        return cls._from_core(core)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a TurboQuant is immutable; make a new one to change {name}")

    @property
    def fitted(self) -> bool:
        """Whether the codec was fitted to a sample; a plain one depends on nothing but its parameters."""
        return self._core.fitted

    @property
    def split(self) -> bool:
        """Whether outlier channels have a segment of their own."""
        return not self.fitted and len(self._core.full) == 2

    @property
    def outliers(self) -> NDArray[np.int64] | None:
        """The channels of the wider segment, ascending, (count,) int64, a copy; None without any."""
        return self._core.outliers()

    @property
    def _cpu_only(self) -> str:
        """What this codec is that GPUs have no kernels for, in words for an error; nothing if they have."""
        return "a codec with outliers" if self.split else ""

    @property
    def fingerprint(self) -> int:
        """64-bit identity that codes carry; ``refine`` does not enter: it chooses codes, not their meaning."""
        return self._core.fingerprint

    @property
    def nbytes(self) -> int:
        """Bytes that the codec itself holds (rotation and tables, and what a fit has found)."""
        return self._core.nbytes

    def bytes_per_vector(self, bits: Bits | None = None) -> int:
        """Return the bytes of one encoded vector, scales included; of codes truncated to ``bits`` if given.

        >>> from turboquant_rs import TurboQuant
        >>> TurboQuant(768, bits=4).bytes_per_vector(), TurboQuant(768, bits=4).bytes_per_vector(1)
        (388, 100)
        """
        keep = self._core.full
        if bits is not None:
            keep = cut(self, bits, keep) if self.fitted else keep_of(self, bits)
        return self._core.row_bytes(keep) + 4 * self._core.norms

    def _keep(self, bits: Any) -> list[int]:
        return keep_of(self, bits)

    def encode(self, x: ArrayLike, *, threads: int | None = None, validate: bool = True) -> Codes:
        """Return the codes of the rows of ``x``, on the device of ``x``.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            Any real dtype (bfloat16 by ml_dtypes too), byte order and stride; lists, DLPack and ``__array__``
            objects; CUDA arrays of CuPy, PyTorch and whatever else offers DLPack or ``__cuda_array_interface__``.
            C-contiguous float32 is read in place; anything else is converted to float32 a block of 8 MiB (on a GPU
            256 MiB) at a time.
        threads : int, optional
            Threads to use; by default one a core. The codes do not depend on it. On a GPU it has no meaning.
        validate : bool, default True
            On a GPU, wait for the kernels and refuse faulty rows. False does not wait (for CuPy and PyTorch), and ``x``
            may be anything; what a row with NaN, ±inf or a norm beyond float32 is encoded to is then undefined
            (other rows are not touched by it). On the CPU the check costs nothing and is always made.

        Returns
        -------
        Codes
            ``packed`` (n, bytes) uint8 and ``scales`` (n, norms) float32, the same bytes on every machine: NumPy
            arrays, or CuPy arrays for whatever CUDA array came.

        Raises
        ------
        ValueError
            For another number of dimensions or columns, NaN or ±inf (row and column are named), values or norms
            beyond float32.
        TypeError
            For complex, object, text and masked arrays.
        MemoryError
            Where a GPU has too little memory; the message has the bytes wanted and free.
        ImportError
            For a CUDA array where CuPy is missing; the message says how to install it.

        Notes
        -----
        A GPU works on its array's library's current stream: CuPy's, or for a tensor PyTorch's.
        """
        validate = as_flag(validate, "validate")
        threads = as_threads(threads)
        if encodes_on_gpu(x, self._cpu_only):
            from .gpu.codec import encode

            return encode(self, x, validate=validate)
        return self._encode(as_rows(x, "x", self.dim, "codec"), threads)[0]

    def _encode(
        self,
        rows: NDArray[Any],
        threads: int | None,
        *,
        unit_norm: bool = False,
        squares: bool = False,
        first_row: int = 0,
        badly: NDArray[np.bool_] | None = None,
    ) -> tuple[Codes, NDArray[np.float32]]:
        """Encode what :func:`as_rows` returned; with ``squares`` also return |x|² of every row.

        Errors count rows from ``first_row``. ``badly`` (n,) is told which rows the plain codec of this fitted one codes
        better.
        """
        n = len(rows)
        packed = np.empty((n, self._core.row_bytes(self._core.full)), np.uint8)
        scales = np.empty((n, self._core.norms), np.float32)
        squared = np.empty(n if squares else 0, np.float32)
        for first, block in blocks(rows, "x", first_row):
            part = slice(first, first + len(block))
            out = squared[part] if squares else None
            told = None if badly is None else badly[part]
            self._core.encode(block, packed[part], scales[part], out, told, unit_norm, first_row + first, threads)
        return Codes._made(packed, scales, self, self.bits), squared

    def decode(self, codes: Codes, *, threads: int | None = None) -> NDArray[np.float32]:
        """Return approximations of the encoded vectors, (n, dim) float32, on the device of the codes.

        With the default scale, "unbiased", inner products with the result are unbiased and its norms are a little too
        large; the scale of least error is "mse".

        Raises
        ------
        ValueError
            If the codes come from another codec.
        MemoryError
            Where a GPU has too little memory; the message has the bytes wanted and free.

        Notes
        -----
        Codes on a GPU give a CuPy array there, made on CuPy's current stream; the call does not wait for it.
        """
        check_codec(codes, self)
        keep = self._keep(codes.bits)
        threads = as_threads(threads)
        if codes.device != "cpu":
            from .gpu.codec import decode

            return decode(self, codes)  # type: ignore[no-any-return]
        out = np.empty((len(codes), self.dim), np.float32)
        step = max(1, (8 << 20) // (4 * self.dim))
        for first in range(0, len(codes), step):
            part = codes[first : first + step]
            self._core.decode(*part._contiguous(), keep, out[first : first + step], threads)
        return out

    def score(
        self, queries: ArrayLike, codes: Codes, *, threads: int | None = None, validate: bool = True
    ) -> NDArray[np.float32]:
        """Return estimated inner products of every query with every encoded vector; larger is nearer.

        Computed in integers, so the scores are the same on every machine, for any batch and number of threads. Beside
        the error of the codes themselves, rounding the query costs a standard deviation below 8e-4·|q||x| (1–4 bits)
        or 1e-4·|q||x| (5–8 bits, segments of fits 6–8) at 128 dimensions and more.

        Parameters
        ----------
        queries : array_like, shape (nq, dim) or (dim,)
            As for :meth:`encode`; norms below 2**96. A single query gives a single row of scores. On the device of the
            codes.
        threads : int, optional
            Threads to use; by default one a core. On a GPU it has no meaning.
        validate : bool, default True
            As for :meth:`encode`: False does not wait for a GPU, and the scores of faulty queries are undefined.

        Returns
        -------
        ndarray of float32, shape (nq, n) or (n,)
            In the array namespace of ``queries``.

        Raises
        ------
        ValueError
            As for :meth:`encode`, and if the codes come from another codec or are on another device than ``queries``.
        TypeError, MemoryError
            As for :meth:`encode`.
        """
        check_codec(codes, self)
        validate = as_flag(validate, "validate")
        threads = as_threads(threads)
        if codes.device != "cpu":
            from .gpu.codec import score

            return score(self, queries, codes, validate=validate)  # type: ignore[no-any-return]
        refuse_cuda_queries(queries, self._cpu_only)
        rows, single = queries_of(queries, self.dim, "codec")
        out = np.empty((len(rows), len(codes)), np.float32)
        packed, scales = codes._contiguous()
        keep = self._keep(codes.bits)
        # A block's products take a few tenths of a second, so that Ctrl-C is heard between two.
        step = max(1, (1 << 33) // (self.dim * max(1, len(codes))))
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            self._core.score(rows[part], packed, scales, keep, out[part], first, threads)
        return back(out[0] if single else out, queries)  # type: ignore[no-any-return]

    def to_bytes(self) -> bytes:
        """Return the codec as bytes, checksums included: codes of no rows in the form of docs/format.md."""
        packed = np.empty((0, self._core.row_bytes(self._core.full)), np.uint8)
        return self._core.to_bytes(packed, np.empty((0, self._core.norms), np.float32), self._core.full)

    @staticmethod
    def from_bytes(data: bytes | bytearray | memoryview) -> TurboQuant:
        """Return the codec in :meth:`to_bytes`'s bytes, or in those of codes.

        Raises
        ------
        CorruptError
            If a bit is flipped or a byte missing anywhere.

        Examples
        --------
        >>> from turboquant_rs import TurboQuant
        >>> q = TurboQuant(64, bits=3, seed=5)
        >>> TurboQuant.from_bytes(q.to_bytes()) == q
        True
        """
        return Codes.from_bytes(data).codec

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write :meth:`to_bytes` to ``path`` through a temporary file, so that a crash leaves an old file whole."""
        from ._files import replacing

        with replacing(path) as file:
            file.write(self.to_bytes())

    @staticmethod
    def load(path: str | os.PathLike[str]) -> TurboQuant:
        """Return the codec in a file that :meth:`save` wrote, or the one of a file of codes, whose rows are not read.

        Raises
        ------
        CorruptError
            If the codec's part of the file is damaged, or the file has another length than it says.
        """
        return TurboQuant._from_core(read_header(path)[0])

    @classmethod
    def _from_parameters(cls, parameters: tuple[int, int, int, str, str, int]) -> TurboQuant:
        dim, bits, seed, rotation, scale, refine = parameters
        return cls(dim, bits, seed=seed, rotation=rotation, scale=scale, refine=refine or False)  # type: ignore[arg-type]

    def _parameters(self) -> tuple[Any, ...]:
        return (self.dim, self.bits, self.seed, self.rotation, self.scale, int(self.refine))

    def _identity(self) -> tuple[Any, ...]:
        return (*self._parameters()[:5], self.fingerprint)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.fitted or self.split:
            return TurboQuant.from_bytes, (self.to_bytes(),)
        return TurboQuant._from_parameters, (self._parameters(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TurboQuant) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        text = f"TurboQuant(dim={self.dim}, bits={self.bits}"
        if self.fitted:
            axes = self._core.row_bits([1] * len(self._core.full))
            text = f"TurboQuant(dim={self.dim}, bits={shown(self.bits)} fitted, axes={axes}"
        elif (channels := self.outliers) is not None:
            text += f", outliers={len(channels)} channels"
        for name, default in (("seed", 0), ("rotation", "hadamard"), ("scale", "unbiased"), ("refine", False)):
            value = getattr(self, name)
            text += "" if value == default else f", {name}={value!r}"
        return text + ")"


def queries_of(queries: ArrayLike, dim: int, owner: str) -> tuple[NDArray[np.float32], bool]:
    """Return queries as (nq, dim) float32 and whether they were a single 1-D one."""
    array, single = as_queries(as_array(queries, "queries"), dim, owner)
    return as_float32(array, "queries"), single
