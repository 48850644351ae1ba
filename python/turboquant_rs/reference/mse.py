"""TurboQuant_mse (arXiv 2504.19874, Algorithm 1) with a per-vector scale: the specification of every other
implementation.

    x → power of two, norm → rotation → codebook → codes → scale

The scale replaces the norm of the paper (``scale="paper"`` keeps it): the same codes with another number. Its choices
are those of DRIVE and EDEN (biased, unbiased) and RaBitQ (the unbiased rescale).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from . import outliers as split
from .codebook import boundaries, levels
from .codes import SCALES, CodecSpec, Codes, Segment
from .dense_rotation import ROTATIONS, DenseRotation, rotation_of
from .projection import DENSE_MAX_DIM
from .rotation import Rotation
from .rows import norm, prepare, times_power
from .sums import tree_sum
from .trial_ranges import trial_scales
from .units import pack_row, pack_units, stage_ends, unpack_row


class TurboQuant:
    """Encode vectors to ``bits`` bits a coordinate, without training; NumPy only.

    Parameters as in :class:`turboquant_rs.TurboQuant`, whose bytes and scores this class defines. Inputs are (n, dim)
    float32 arrays without NaN or inf.

    Examples
    --------
    >>> q = TurboQuant(64, bits=4)
    >>> x = np.linspace(-1, 1, 128, dtype=np.float32).reshape(2, 64)
    >>> codes = q.encode(x)
    >>> codes.packed.shape, codes.scales.shape
    ((2, 32), (2, 1))
    """

    def __init__(
        self,
        dim: int,
        bits: int | tuple[int, int] = 4,
        *,
        outliers: tuple[int, ...] = (),
        seed: int = 0,
        rotation: str = "hadamard",
        scale: str = "unbiased",
        refine: bool | int = False,
    ) -> None:
        widths = bits if isinstance(bits, tuple) else (bits,)
        if not 1 <= dim <= 65_536 or not all(1 <= width <= 8 for width in widths) or not 0 <= seed < 1 << 64:
            raise ValueError("dim must be 1 to 65,536, bits 1 to 8, seed a 64-bit integer")
        if len(widths) != (2 if outliers else 1):
            raise ValueError("bits must be two numbers with outliers, else one")
        if rotation not in ROTATIONS or scale not in SCALES or refine not in (False, 8, 16, 32):
            raise ValueError("unknown rotation, scale or refine")
        segments: tuple[Segment, ...] = (Segment(0, dim, widths[0]),)
        if len(widths) == 2:
            split.check(dim, (widths[0], widths[1]), outliers)
            segments = (Segment(0, len(outliers), widths[0]), Segment(len(outliers), dim - len(outliers), widths[1]))
        if rotation == "dense" and max(s.dim for s in segments) > DENSE_MAX_DIM:
            raise ValueError(f"a segment must have at most {DENSE_MAX_DIM} coordinates with a dense rotation")
        self.spec = CodecSpec(segments, seed, rotation, scale, int(refine), outliers=outliers)
        self.order = split.order_of(dim, outliers) if outliers else np.arange(dim)
        self.rotations = [rotation_of(rotation, s.dim, seed, i) for i, s in enumerate(segments)]

    @property
    def dim(self) -> int:
        """Coordinates of a vector."""
        return self.spec.dim

    def encode(self, x: NDArray[np.float32], *, unit_norm: bool = False) -> Codes:
        """Encode rows (n, dim) float32.

        ``unit_norm=True`` leaves the norm out of the scales, so that the codes stand for x/|x| (the cosine metric).
        Raises ValueError where a norm or scale is beyond float32.
        """
        row, exponent = prepare(x)
        total = norm(row)
        row = row[:, self.order]
        packed: list[list[NDArray[np.uint8]]] = []
        scales: list[NDArray[np.float32]] = []
        for segment, rotation in zip(self.spec.segments, self.rotations, strict=True):
            part = row[:, segment.start : segment.start + segment.dim]
            codes, k, n = self._encode_segment(part, segment, rotation)
            packed.append(pack_units(codes, segment.bits, segment.bits))
            if unit_norm:
                # The segment's share of the norm: exactly 1 for the only segment.
                share: NDArray[np.float32] = (n / np.where(total == 0, np.float32(1), total)).astype(
                    np.float32, copy=False
                )
                scales.append(k * share)
            else:
                with np.errstate(over="ignore"):
                    beyond = ~(np.isfinite(np.ldexp(total, exponent)) & np.isfinite(times_power(k * n, exponent)))
                if beyond.any():
                    raise ValueError(f"row {int(np.argmax(beyond))} has a norm beyond float32")
                scales.append(times_power(k * n, exponent))
        keep = tuple(s.bits for s in self.spec.segments)
        return Codes(pack_row(packed), np.stack(scales, axis=1), self.spec, keep)

    def _encode_segment(
        self, part: NDArray[np.float32], segment: Segment, rotation: Rotation | DenseRotation
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        """Return codes (n, m), k (n,) and the norm without its power of two (n,) of one segment."""
        root = np.sqrt(np.float32(segment.dim))
        n = norm(part)
        empty = n == 0
        gain = root / np.where(empty, np.float32(1), n)
        y = rotation.apply(part) * gain[:, None]
        level = levels(segment.bits, segment.bits, segment.dim)
        codes, a, q = best_assignment(y, level, trials(segment, self.spec.refine))
        with np.errstate(divide="ignore", invalid="ignore"):
            k = unit_scale(self.spec.scale, root, a, q)
        return codes, np.where(empty, np.float32(0), k), n

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Return approximations (n, dim) float32 of the encoded rows: scale · Rᵀc."""
        out = np.empty((len(codes), self.dim), np.float32)
        for i, (segment, part) in enumerate(zip(self.spec.segments, self.unpack(codes), strict=True)):
            level = levels(segment.bits, codes.keep[i], segment.dim)
            x = self.rotations[i].apply_inverse(level[part])
            out[:, self.order[segment.start : segment.start + segment.dim]] = x * codes.scales[:, i : i + 1]
        return out

    def unpack(self, codes: Codes) -> list[NDArray[np.uint8]]:
        """Return the codes of every segment, (n, m) uint8 each."""
        segments = [(s.dim, s.bits, keep) for s, keep in zip(self.spec.segments, codes.keep, strict=True)]
        return unpack_row(codes.packed, segments)

    def query_parts(
        self, row: NDArray[np.float32], total: NDArray[np.float32]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """Return prepared queries (n, dim) of norms ``total`` in each segment's coordinates; no center to add."""
        row = row[:, self.order]
        parts = zip(self.spec.segments, self.rotations, strict=True)
        return [rotation.apply(row[:, s.start : s.start + s.dim]) for s, rotation in parts], None

    def groups(self, keep: tuple[int, ...]) -> list[tuple[list[int], int, int, int]]:
        """Return the runs of segments that are scored together: (segments, bits, kept bits, dim of the codebook)."""
        return [([i], s.bits, kept, s.dim) for i, (s, kept) in enumerate(zip(self.spec.segments, keep, strict=True))]

    def truncate(self, codes: Codes, bits: float | tuple[int, ...]) -> Codes:
        """Keep the stages that hold the top ``bits`` bits, and derive the scales that fit them from the codes.

        One number is meant for every segment, a tuple has one for each.
        """
        wanted = bits if isinstance(bits, tuple) else (int(bits),) * len(codes.keep)
        packed, scales = [], []
        for i, (segment, full) in enumerate(zip(self.spec.segments, self.unpack(codes), strict=True)):
            keep, to = codes.keep[i], wanted[i]
            if to not in stage_ends(segment.bits) or to > keep:
                raise ValueError(f"bits must be one of {[s for s in stage_ends(segment.bits) if s <= keep]}, got {to}")
            c = levels(segment.bits, keep, segment.dim)[full]
            d = levels(segment.bits, to, segment.dim)[full >> np.uint8(keep - to)]
            factor = truncation_factor(self.spec.scale, tree_sum(c * c), tree_sum(c * d), tree_sum(d * d))
            top = full >> np.uint8(keep - to) << np.uint8(segment.bits - to)
            packed.append(pack_units(top, segment.bits, to))
            scales.append(times_power(codes.scales[:, i] * factor, np.zeros(len(codes), np.int32)))
        return replace(codes, packed=pack_row(packed), scales=np.stack(scales, axis=1), keep=wanted)


def unit_scale(scale: str, root: np.float32, a: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return k, the scale of a row of norm 1, from root = √m, a = ⟨y, c⟩ and q = ⟨c, c⟩."""
    if scale == "unbiased":
        k = root / a
    elif scale == "mse":
        k = a / (root * q)
    elif scale == "matched":
        k = np.float32(1) / np.sqrt(q)
    else:
        k = np.full_like(a, np.float32(1) / root)
    return k.astype(np.float32, copy=False)


def truncation_factor(
    scale: str, cc: NDArray[np.float32], cd: NDArray[np.float32], dd: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what a scale is multiplied with when levels c are cut to d, from ⟨c, c⟩, ⟨c, d⟩ and ⟨d, d⟩.

    The full code stands in for the row: its cells nest in the wider ones, whose levels are their conditional means.
    """
    if scale == "unbiased":
        factor = cc / cd
    elif scale == "mse":
        factor = cd / dd
    elif scale == "matched":
        factor = np.sqrt(cc / dd)
    else:
        factor = np.ones_like(cc)
    return factor.astype(np.float32, copy=False)


def trials(segment: Segment, refine: int) -> NDArray[np.float32]:
    """Return the trial scales of a segment; one bit has a single boundary at 0, which no scale moves."""
    if refine == 0 or segment.bits == 1:
        return np.ones(1, np.float32)
    return trial_scales(segment.bits, segment.dim, refine)


def assign(y: NDArray[np.float32], bounds: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return the number of boundaries below each value: the nearest level, ties to the lower code."""
    return np.searchsorted(bounds, y, side="left").astype(np.uint8)


def best_assignment(
    y: NDArray[np.float32], level: NDArray[np.float32], scales: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return codes (n, m), a = ⟨y, c⟩ and q = ⟨c, c⟩ of the trial with the largest cosine; the first of equals wins.

    Rounding t·y for some t > 0 gives the code of largest cosine (Extended RaBitQ, arXiv 2409.09913, for a grid; true of
    every product codebook), so a few trials of t come near it. Boundaries are divided by t instead of rows multiplied.
    """
    bounds = boundaries(level)
    best: tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]] | None = None
    score: NDArray[np.float32] = np.empty(len(y), np.float32)
    for t in scales:
        codes = assign(y, bounds / t)
        c = level[codes]
        a, q = tree_sum(y * c), tree_sum(c * c)
        f: NDArray[np.float32] = (a / np.sqrt(q)).astype(np.float32, copy=False)
        if best is None:
            best, score = (codes, a, q), f
            continue
        better = f > score
        score = np.where(better, f, score)
        best = (
            np.where(better[:, None], codes, best[0]),
            np.where(better, a, best[1]),
            np.where(better, q, best[2]),
        )
    assert best is not None
    return best
