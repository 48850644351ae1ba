"""QJL, TurboQuantProd and PolarQuant: the papers' other codecs, behind the same encode, decode and score."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _core
from ._arrays import (
    as_flag,
    as_int,
    as_rows,
    as_threads,
    back,
    blocks,
    encodes_on_gpu,
    one_of,
    refuse_cuda_queries,
)
from .codec import Metric, queries_of
from .codes import Codes, check_codec
from .paper_codes import PaperCodes

Projection: TypeAlias = Literal["gaussian", "orthogonal", "hadamard"]
Radius: TypeAlias = Literal["float16", "float32"]

_PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
_LARGEST_SEED = (1 << 64) - 1
#: Dense projections hold a matrix of two bytes a value; these limits keep it within 128 MiB.
_DENSE_MAX_DIM, _DENSE_MAX_SIZE = 4_096, 16_384
#: Products of a score call between two looks at pending signals: a few tenths of a second on one core.
_PRODUCTS_PER_CALL = 1 << 31


class PaperCodec:
    """What QJL, TurboQuantProd and PolarQuant share: the protocol, identity, immutability.

    Instances are immutable, cheap to pickle, compare by value, and safe to use from any thread; the GIL is released
    while Rust works. Codes, decoded vectors and scores are the same on every machine, for any batch and number of
    threads.

    An array in a GPU's memory is encoded there, by CUDA kernels that give the same bytes and scores (docs/gpu.md); the
    codes stay on that GPU, as those of :class:`TurboQuant` do.
    """

    __slots__ = ("_core", "dim", "seed")

    dim: int
    seed: int
    _core: _core.PaperCodec
    #: What GPUs have no kernels for, in words for an error: nothing.
    _cpu_only = ""

    def _set(self, kind: str, choice: str, bits: tuple[int, ...], sketch_dim: int, /, **fields: Any) -> None:
        # Codes refer to their codec, so nobody may change one: __setattr__ refuses.
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        core = _core.PaperCodec(kind, self.dim, choice, list(bits), sketch_dim, self.seed)
        object.__setattr__(self, "_core", core)

    def __setattr__(self, name: str, value: object) -> None:
        kind = type(self).__name__
        raise AttributeError(f"a {kind} is immutable; make a new one to change {name}")

    @property
    def fingerprint(self) -> int:
        """64-bit identity that codes carry."""
        return self._core.fingerprint

    @property
    def nbytes(self) -> int:
        """Bytes that the codec itself holds (matrix or rotation, tables)."""
        return self._core.nbytes

    def bytes_per_vector(self, bits: object = None) -> int:
        """Return the bytes of one encoded vector, scales included; ``bits`` must be left out: nothing can be cut
        off.
        """
        if bits:
            raise ValueError(f"bits must be left out for {type(self).__name__}, got {bits!r}")
        return self._core.row_bytes + 4 * self._core.norms

    def encode(self, x: ArrayLike, *, threads: int | None = None, validate: bool = True) -> PaperCodes:
        """Return the codes of the rows of ``x``, on the device of ``x``.

        Parameters
        ----------
        x : array_like, shape (n, dim)
            As for :meth:`TurboQuant.encode`: any real dtype, byte order and stride; converted a block at a time.
        threads : int, optional
            Threads to use; by default one a core. The codes do not depend on it. On a GPU it has no meaning.
        validate : bool, default True
            As for :meth:`TurboQuant.encode`: False does not wait for a GPU, and what a faulty row is encoded to is
            undefined.

        Raises
        ------
        ValueError
            For another number of dimensions or columns, NaN or ±inf (row and column are named), values, norms or radii
            beyond their formats.
        TypeError
            For complex, object, text and masked arrays.
        MemoryError, ImportError
            Of a GPU, as for :meth:`TurboQuant.encode`.
        """
        validate = as_flag(validate, "validate")
        threads = as_threads(threads)
        if encodes_on_gpu(x, self._cpu_only):
            from .gpu.papers import encode

            return encode(self, x, validate=validate)
        packed, scales, _ = self._encode(x, "ip", threads)
        return PaperCodes._of(packed, scales, self)

    def _encode(
        self, x: ArrayLike, metric: Metric, threads: int | None, *, first_row: int = 0
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Return packed rows and scales as an index of ``metric`` keeps them, and |x|² ("l2", else empty).

        Errors count rows from ``first_row``.
        """
        rows = as_rows(x, "x", self.dim, "codec")
        packed = np.empty((len(rows), self._core.row_bytes), np.uint8)
        scales = np.empty((len(rows), self._core.norms), np.float32)
        squares = np.empty(len(rows) if metric == "l2" else 0, np.float32)
        for first, block in blocks(rows, "x", first_row):
            # A dense projection of a block takes long at many dimensions: Ctrl-C is heard between its parts.
            step = max(64, _PRODUCTS_PER_CALL // self._products_per_row())
            for start in range(0, len(block), step):
                part = slice(first + start, first + min(start + step, len(block)))
                places = packed[part], scales[part], squares[part]
                self._core.encode(metric, block[start : start + step], *places, first_row + part.start, threads)
        return packed, scales, squares

    def decode(self, codes: Codes, *, threads: int | None = None) -> NDArray[np.float32]:
        """Return approximations of the encoded vectors, (n, dim) float32, on the device of the codes.

        Raises
        ------
        ValueError
            If the codes come from another codec, or (on the CPU) hold scales or radii that no encoder writes.
        MemoryError
            Where a GPU has too little memory.

        Notes
        -----
        Codes on a GPU give a CuPy array there, made on CuPy's current stream; the call does not wait for it.
        """
        check_codec(codes, self)
        threads = as_threads(threads)
        if codes.device != "cpu":
            from .gpu.papers import decode

            return decode(self, codes)  # type: ignore[no-any-return]
        packed, scales = codes._contiguous()
        # Of all rows, so that an error counts them from the first one.
        self._core.check(packed, scales)
        out = np.empty((len(codes), self.dim), np.float32)
        step = max(64, _PRODUCTS_PER_CALL // self._products_per_row())
        for first in range(0, len(codes), step):
            part = slice(first, first + step)
            self._core.decode(packed[part], scales[part], out[part], threads)
        return out

    def score(
        self, queries: ArrayLike, codes: Codes, *, threads: int | None = None, validate: bool = True
    ) -> NDArray[np.float32]:
        """Return estimated inner products of every query with every encoded vector; larger is nearer.

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
            As for :meth:`encode`, for codes as in :meth:`decode`, and for codes on another device than ``queries``.
        """
        check_codec(codes, self)
        validate = as_flag(validate, "validate")
        threads = as_threads(threads)
        if codes.device != "cpu":
            from .gpu.papers import score

            return score(self, queries, codes, validate=validate)  # type: ignore[no-any-return]
        refuse_cuda_queries(queries, self._cpu_only)
        rows, single = queries_of(queries, self.dim, "codec")
        out = np.empty((len(rows), len(codes)), np.float32)
        packed, scales = codes._contiguous()
        step = max(1, _PRODUCTS_PER_CALL // (self._products_per_score() * max(1, len(codes))))
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            self._core.score(rows[part], packed, scales, out[part], first, threads)
        return back(out[0] if single else out, queries)  # type: ignore[no-any-return]

    def _products_per_row(self) -> int:
        return self.dim * 16

    def _products_per_score(self) -> int:
        return self.dim

    def _parameters(self) -> dict[str, Any]:
        """Return what the constructor took, by name; those in ``_DEFAULTS`` may be left out."""
        raise NotImplementedError

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self._parameters())

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self._parameters() == other._parameters()

    def __hash__(self) -> int:
        return hash((type(self), *self._parameters().values()))

    def __repr__(self) -> str:
        defaults = {"projection": "gaussian", "radius": "float16", "seed": 0, "levels": 4, "bits": (4, 2, 2, 2)}
        shown = [f"{k}={v!r}" for k, v in self._parameters().items() if k not in defaults or defaults[k] != v]
        return f"{type(self).__name__}({', '.join(shown)})"


class QJL(PaperCodec):
    """Sketch vectors to the signs of a random projection, and their norm (QJL, arXiv 2406.03482).

    The estimate of ⟨q, k⟩ is constant·|k|·⟨Sq, sign(Sk)⟩ (equation 4): the stored side is rounded to signs, the query
    is not, which makes it unbiased (Lemma 3.2). Its variance at norms 1 is (π/2 − ⟨q, k⟩²)/sketch_dim for a Gaussian S,
    about (π/2 − 1)/sketch_dim for an orthogonal one. At one bit a coordinate ``TurboQuant(dim, 1)`` has the same
    variance as the latter.

    Parameters
    ----------
    dim : int
        Coordinates of a vector, 1 to 4,096 (65,536 with "hadamard").
    sketch_dim : int
        Signs a vector, 1 to 16,384 (65,536 with "hadamard").
    projection : "gaussian" (default), "orthogonal" or "hadamard"
        Independent normals, as in the paper's theorems; rows of random rotations, as in its experiments, with the
        constant that makes them unbiased at every dim; coordinates of structured rotations, O(dim log dim) a vector,
        unbiased up to what three rounds leave (below the noise of 100 seeds from 97 dimensions on). Setting up
        "orthogonal" takes O(dim³): a second at 1,024 dimensions.
    seed : int, default 0
        Seed of the projection, 0 to 2**64 − 1. The same seed gives the same bytes on every machine.

    Attributes
    ----------
    dim, sketch_dim, projection, seed
        As given.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import QJL
    >>> q = QJL(128, 1024, projection="orthogonal")
    >>> x = np.random.default_rng(0).standard_normal((100, 128))
    >>> codes = q.encode(x)
    >>> codes.packed.shape, codes.scales.shape
    ((100, 128), (100, 1))
    >>> error = (q.score(x, codes) - x @ x.T) / (np.linalg.norm(x, axis=1) * np.linalg.norm(x, axis=1)[:, None])
    >>> bool(error.std() < 0.03)                       # theory: √((π/2 − 1)/1024) = 0.024
    True
    """

    __slots__ = ("projection", "sketch_dim")

    sketch_dim: int
    projection: Projection

    def __init__(self, dim: int, sketch_dim: int, *, projection: Projection = "gaussian", seed: int = 0) -> None:
        projection = one_of(projection, "projection", _PROJECTIONS)
        dense = projection != "hadamard"
        size = as_int(sketch_dim, "sketch_dim", 1, _DENSE_MAX_SIZE if dense else 65_536)
        self._set(
            "qjl",
            projection,
            (1,),
            size,
            dim=as_int(dim, "dim", 1, _DENSE_MAX_DIM if dense else 65_536),
            sketch_dim=size,
            projection=projection,
            seed=as_int(seed, "seed", 0, _LARGEST_SEED),
        )

    def _products_per_row(self) -> int:
        return self.sketch_dim * (self.dim if self.projection != "hadamard" else 16)

    def _products_per_score(self) -> int:
        return 2 * self.sketch_dim

    def _parameters(self) -> dict[str, Any]:
        return {"dim": self.dim, "sketch_dim": self.sketch_dim, "projection": self.projection, "seed": self.seed}


class TurboQuantProd(PaperCodec):
    """TurboQuant_prod (arXiv 2504.19874, Algorithm 2): levels at bits − 1, QJL of the residual, unbiased.

    The second stage costs one bit of every coordinate and buys unbiased inner products. ``TurboQuant`` with its default
    scale is unbiased, too, and has less error at equal bits: times dim, at 2 / 3 / 4 bits, 0.133 / 0.036 / 0.0096
    against 0.571 / 0.185 / 0.054 here with the paper's Gaussian S, or 0.207 / 0.067 / 0.020 with an orthogonal one.

    Parameters
    ----------
    dim : int
        Coordinates of a vector, 1 to 4,096 (65,536 with "hadamard").
    bits : int
        Bits a coordinate, 1 to 8, the sign included. One bit leaves none to the levels: QJL of the vector itself, for
        which the paper gives a variance of 1.57/dim (Theorem 2, b = 1).
    projection : "gaussian" (default), "orthogonal" or "hadamard"
        As for :class:`QJL`, with sketch_dim = dim. The paper's theorem is of "gaussian", its released code rotates.
    seed : int, default 0
        Seed of rotation and projection.

    Attributes
    ----------
    dim, bits, projection, seed
        As given.

    Notes
    -----
    The residual's norm is kept for every vector, as Algorithm 2 has it (``scales[:, 1]``); ``scales[:, 0]`` is
    |x|/√dim. S is multiplied with the residual among the rotated coordinates: an isotropic S that is independent of the
    rotation has the same law before and after it.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import TurboQuantProd
    >>> q = TurboQuantProd(256, bits=3)
    >>> codes = q.encode(np.random.default_rng(0).standard_normal((100, 256)))
    >>> codes.packed.shape, codes.scales.shape
    ((100, 96), (100, 2))
    """

    __slots__ = ("bits", "projection")

    bits: int
    projection: Projection

    def __init__(self, dim: int, bits: int, *, projection: Projection = "gaussian", seed: int = 0) -> None:
        projection = one_of(projection, "projection", _PROJECTIONS)
        dim = as_int(dim, "dim", 1, _DENSE_MAX_DIM if projection != "hadamard" else 65_536)
        bits = as_int(bits, "bits", 1, 8)
        seed = as_int(seed, "seed", 0, _LARGEST_SEED)
        self._set("prod", projection, (bits,), dim, dim=dim, bits=bits, projection=projection, seed=seed)

    def _products_per_row(self) -> int:
        return self.dim * (self.dim if self.projection != "hadamard" else 16)

    def _products_per_score(self) -> int:
        return 4 * self.dim

    def _parameters(self) -> dict[str, Any]:
        return {"dim": self.dim, "bits": self.bits, "projection": self.projection, "seed": self.seed}


class PolarQuant(PaperCodec):
    """PolarQuant (arXiv 2502.02617): angles of a recursive polar transform of the rotated vector, and radii.

    Pairs of coordinates become an angle and a length, pairs of lengths again, ``levels`` times; what is left are
    dim/2**levels radii. The angles' laws are known and do not depend on the norm (Lemma 2), so nothing is normalised
    and the codebooks are constants: 2**bits sectors at level 1, least mean squared error of the angle above it.

    The paper's setting, the default, takes 3.875 bits a coordinate with distortion 0.032; three-bit levels of
    ``TurboQuant`` have 0.0345. The radii are the cost: one of 16 bits for each 16 coordinates.

    Parameters
    ----------
    dim : int
        Coordinates of a vector, a multiple of 2**levels, up to 65,536.
    levels : int, default 4
        Levels of the transform, 1 to 16.
    bits : tuple of int, default (4, 2, 2, 2)
        Bits of an angle of each level, 1 to 8 each, as many as levels; level l has dim/2**l angles.
    radius : "float16" (default) or "float32"
        How radii are stored. float16 holds magnitudes up to 65,504, and in full precision from 6·10⁻⁵ on: rows beyond
        are refused, radii below lose precision and from 3·10⁻⁸ down become 0. The paper's choice; scale such data or
        take float32.
    seed : int, default 0
        Seed of the rotation.

    Attributes
    ----------
    dim, levels, bits, radius, seed
        As given.

    Examples
    --------
    >>> import numpy as np
    >>> from turboquant_rs import PolarQuant
    >>> q = PolarQuant(128)
    >>> x = np.random.default_rng(0).standard_normal((1000, 128))
    >>> codes = q.encode(x)
    >>> codes.bits_per_dim
    3.875
    >>> error = np.sum((q.decode(codes) - x) ** 2) / np.sum(x**2)
    >>> bool(0.031 < error < 0.033)
    True
    """

    __slots__ = ("bits", "levels", "radius")

    levels: int
    bits: tuple[int, ...]
    radius: Radius

    def __init__(
        self,
        dim: int,
        levels: int = 4,
        bits: tuple[int, ...] = (4, 2, 2, 2),
        *,
        radius: Radius = "float16",
        seed: int = 0,
    ) -> None:
        levels = as_int(levels, "levels", 1, 16)
        dim = as_int(dim, "dim", 1, 65_536)
        if dim % (1 << levels):
            raise ValueError(f"dim must be a multiple of {1 << levels} (2**levels), got {dim}")
        try:
            widths = tuple(bits)
        except TypeError:
            raise TypeError(f"bits must be a sequence of {levels} integers, one a level, got {bits!r}") from None
        if len(widths) != levels:
            raise ValueError(f"bits must have {levels} entries, one a level, got {bits!r}")
        widths = tuple(as_int(b, "bits", 1, 8) for b in widths)
        radius = one_of(radius, "radius", ("float16", "float32"))
        seed = as_int(seed, "seed", 0, _LARGEST_SEED)
        self._set("polar", radius, widths, 0, dim=dim, levels=levels, bits=widths, radius=radius, seed=seed)

    def radii(self, codes: Codes) -> NDArray[np.float32]:
        """Return the radii of encoded vectors, (n, dim/2**levels) float32, a copy on the device of the codes."""
        check_codec(codes, self)
        if codes.device != "cpu":
            from .gpu.papers import radii

            return radii(self, codes)  # type: ignore[no-any-return]
        dtype = np.dtype("<f2" if self.radius == "float16" else "<f4")
        size = dtype.itemsize * (self.dim >> self.levels)
        return np.ascontiguousarray(codes.packed[:, :size]).view(dtype).astype(np.float32)

    def _products_per_row(self) -> int:
        return 64 * self.dim

    def _products_per_score(self) -> int:
        return 8 * self.dim

    def _parameters(self) -> dict[str, Any]:
        names = ("dim", "levels", "bits", "radius", "seed")
        return {name: getattr(self, name) for name in names}


def codec_of(parameters: tuple[str, int, str, list[int], int, int]) -> PaperCodec:
    """Return the codec that bytes describe."""
    kind, dim, choice, bits, sketch_dim, seed = parameters
    if kind == "qjl":
        return QJL(dim, sketch_dim, projection=choice, seed=seed)  # type: ignore[arg-type]
    if kind == "prod":
        return TurboQuantProd(dim, bits[0], projection=choice, seed=seed)  # type: ignore[arg-type]
    return PolarQuant(dim, len(bits), tuple(bits), radius=choice, seed=seed)  # type: ignore[arg-type]


def _rebuild(kind: type[PaperCodec], parameters: dict[str, Any]) -> PaperCodec:
    return kind(**parameters)
