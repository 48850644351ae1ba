"""The fitted codec: bits where the variance is, in the bytes of a plain code (docs/numerics.md section 11).

    x → minus center → power of two, norm → fixed point → T → ÷ σ → rotation of each segment → codebook → codes → scale

After Optimized scalar quantizers behind a fitted rotation; allocation by variance is SAQ's (arXiv 2509.12086).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .codebook import boundaries, levels
from .codes import SCALES, CodecSpec, Codes, Segment
from .dense import REACH, fixed_point, products
from .fitted import Dual, Fitted
from .mse import TurboQuant, assign, truncation_factor
from .rotation import Rotation
from .rows import Prepared, norm, prepare, times_power
from .sums import tree_sum
from .trial_ranges import trial_scales

#: Fitted segments take the Gaussian tables at any length; this dimension asks for them.
GAUSSIAN_DIM = 65_536
#: What the product of two rows in fixed point is divided by, exact in float32.
UNIT = np.float32(REACH * REACH)


#: The plain codec's error |x − x̂|²/|x|² of least squares, by bits: equation 4's distortion of a Gaussian coordinate.
PLAIN_ERRORS = np.array(
    [0.36338, 0.117482, 0.0345478, 0.009501, 0.00250467, 0.00064424, 0.000163478, 4.11851e-05], np.float32
)


class Row(NamedTuple):
    """Rows without their center, ready for the transform."""

    fixed: NDArray[np.int16]
    norm: NDArray[np.float32]
    """Without its power of two."""
    exponent: NDArray[np.int32]
    ratio: NDArray[np.float32]
    """Norm without the center, relative to the norm with it; 1 without one."""


class FittedTurboQuant(TurboQuant):
    """A fitted codec from its parts; NumPy only.

    Parameters
    ----------
    center : (dim,) float32 or None
        What is taken off every row.
    transform : (axes, dim) int16
        Unit vectors times 32,000, rounded.
    sigmas : (segments,) float32
        Deviations along the axes of each segment, of unit vectors.
    segments : sequence of (dim, bits)
        Runs of axes, in non-increasing width.
    order : sequence of int
        Segment of every unit of one bit.
    seed, scale, refine
        As for :class:`TurboQuant`; scale is "unbiased", "mse" or "matched".
    dual, row_gains, query_gains : (axes, dim) int16, (axes,) float32, (axes,) float32, all or none
        What a codec fitted to queries has beside the transform: :class:`turboquant_rs.reference.fitted.Dual`.

    Examples
    --------
    >>> transform, sigmas = np.eye(16, dtype=np.int16) * np.int16(32_000), np.full(2, 0.25, np.float32)
    >>> q = FittedTurboQuant(None, transform, sigmas, segments=[(8, 2), (8, 1)], order=[0, 1, 0])
    >>> codes = q.encode(np.linspace(-1, 1, 32, dtype=np.float32).reshape(2, 16))
    >>> codes.packed.shape, q.truncate(codes, 1.0).packed.shape, q.truncate(codes, 0.5).keep
    ((2, 3), (2, 2), (1, 0))
    """

    def __init__(
        self,
        center: NDArray[np.float32] | None,
        transform: NDArray[np.int16],
        sigmas: NDArray[np.float32],
        segments: Sequence[tuple[int, int]],
        order: Sequence[int],
        *,
        seed: int = 0,
        scale: str = "unbiased",
        refine: bool | int = False,
        dual: NDArray[np.int16] | None = None,
        row_gains: NDArray[np.float32] | None = None,
        query_gains: NDArray[np.float32] | None = None,
    ) -> None:
        if scale not in SCALES or scale == "paper" or refine not in (False, 8, 16, 32) or not 0 <= seed < 1 << 64:
            raise ValueError("unknown scale or refine, or seed not a 64-bit integer")
        pair = None
        if dual is not None and row_gains is not None and query_gains is not None:
            pair = Dual(dual, row_gains, query_gains)
        elif dual is not None or row_gains is not None or query_gains is not None:
            raise ValueError("dual, row_gains and query_gains must be given together")
        fitted = Fitted(transform.shape[1], center, transform, sigmas, tuple(order), pair)
        fitted.check(list(segments))
        starts = np.cumsum([0] + [dim for dim, _ in segments]).tolist()
        parts = tuple(Segment(start, *segment) for start, segment in zip(starts, segments, strict=False))
        self.spec = CodecSpec(parts, seed, "hadamard", scale, int(refine), fitted)
        self.fitted = fitted
        self.rotations = [Rotation(s.dim, seed, i) for i, s in enumerate(parts)]
        self.weights = sigmas * sigmas
        #: For each axis: from products to coordinates of unit variance, and from there to products with queries.
        each = np.repeat(sigmas, [s.dim for s in parts])
        self.whiten = np.float32(1) / (UNIT * each) if pair is None else pair.row_gains / UNIT
        self.gains = each if pair is None else pair.query_gains
        self.scoring = transform if pair is None else pair.matrix

    def encode(self, x: NDArray[np.float32], *, unit_norm: bool = False) -> Codes:
        """Encode rows (n, dim) float32; with ``unit_norm`` codes stand for x/|x| (the cosine metric)."""
        codes, a, q, p, row = self.assign_rows(x, unit_norm=unit_norm)
        k = scales = kept_scale(self.spec.scale, a, q, p)
        if not unit_norm or self.fitted.center is not None:
            with np.errstate(over="ignore"):
                scales = times_power(k * row.norm, row.exponent)
            if not np.isfinite(scales).all():
                raise ValueError(f"row {int(np.argmin(np.isfinite(scales)))} has a norm beyond float32")
        return Codes(self.pack(codes, self.spec.full), scales[:, None], self.spec, self.spec.full)

    def assign_rows(
        self, x: NDArray[np.float32], *, unit_norm: bool
    ) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], Row]:
        """Return the codes of every segment, the weighted a = ⟨y, c⟩, q = ⟨c, c⟩, p = ⟨y, y⟩ (n,), and the rows."""
        row = self.prepare_rows(x, unit_norm=unit_norm)
        t = products(row.fixed, self.fitted.transform).astype(np.float32)
        y = []
        for segment, rotation in zip(self.spec.segments, self.rotations, strict=True):
            part = slice(segment.start, segment.start + segment.dim)
            y.append(rotation.apply(t[:, part] * self.whiten[part]))
        best: tuple[list[NDArray[np.uint8]], NDArray[np.float32], NDArray[np.float32]] | None = None
        for trial in self.trials():
            parts = []
            for segment, values in zip(self.spec.segments, y, strict=True):
                level = levels(segment.bits, segment.bits, GAUSSIAN_DIM)
                parts.append(assign(values, boundaries(level) / trial))
            c = [levels(s.bits, s.bits, GAUSSIAN_DIM)[part] for s, part in zip(self.spec.segments, parts, strict=True)]
            a, q = self.weighted(y, c), self.weighted(c, c)
            if best is None:
                best = parts, a, q
                continue
            better = (a / np.sqrt(q)) > (best[1] / np.sqrt(best[2]))
            chosen = [np.where(better[:, None], new, old) for new, old in zip(parts, best[0], strict=True)]
            best = chosen, np.where(better, a, best[1]), np.where(better, q, best[2])
        assert best is not None
        return *best, self.weighted(y, y), row

    @property
    def plain(self) -> TurboQuant | None:
        """The codec of rows that this one codes badly: of the next lower whole number of bits, if there is one."""
        axes_bits = sum(s.dim * s.bits for s in self.spec.segments)
        if axes_bits < self.dim or self.fitted.dual is not None:
            return None
        spec = self.spec
        return TurboQuant(
            self.dim, axes_bits // self.dim, seed=spec.seed, scale=spec.scale, refine=spec.refine or False
        )

    def coded_badly(self, x: NDArray[np.float32], *, unit_norm: bool) -> NDArray[np.bool_]:
        """Return (n,) whether a row's error is above what the plain codec promises of every row, D·|x|²."""
        assert self.plain is not None
        _, a, q, _, row = self.assign_rows(x, unit_norm=unit_norm)
        # A norm that is 0 only with its center makes the ratio infinite; without any, not a number.
        with np.errstate(over="ignore", invalid="ignore"):
            error = (np.float32(1) - (a * a) / q) * (row.ratio * row.ratio)
        fine: NDArray[np.bool_] = error <= PLAIN_ERRORS[self.plain.spec.segments[0].bits - 1]
        return ~fine

    def prepare_rows(self, x: NDArray[np.float32], *, unit_norm: bool) -> Row:
        """Take the center off and round to fixed point; raises ValueError for norms beyond float32."""
        prepared = prepare(x)
        total = norm(prepared.row)
        if not unit_norm:
            finite(total, prepared)
        center = self.fitted.center
        ratio = np.ones(len(x), np.float32)
        if center is not None:
            before, exponent = total, prepared.exponent
            whole = prepared.row / np.where(total == 0, np.float32(1), total)[:, None] if unit_norm else x
            prepared = prepare(np.where(center != 0, whole - center, whole))
            total = norm(prepared.row)
            finite(total, prepared)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = total if unit_norm else total / before
            ratio = times_power(ratio, prepared.exponent - (0 if unit_norm else exponent))
        return Row(fixed_point(prepared.row, total), total, prepared.exponent, ratio)

    def trials(self) -> NDArray[np.float32]:
        """Return the trial scales, shared by all segments: those of the average width, rounded, at least 2."""
        if self.spec.refine == 0 or self.spec.segments[0].bits == 1:
            return np.ones(1, np.float32)
        axes = sum(s.dim for s in self.spec.segments)
        bits = (2 * sum(s.dim * s.bits for s in self.spec.segments) + axes) // (2 * axes)
        return trial_scales(max(bits, 2), axes, self.spec.refine)

    def weighted(self, u: list[NDArray[np.float32]], v: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Return Σ σ²·T(u·v) over the segments, in their order, (n,) float32."""
        terms = [weight * tree_sum(a * b) for weight, a, b in zip(self.weights, u, v, strict=True)]
        total: NDArray[np.float32] = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    def decode(self, codes: Codes) -> NDArray[np.float32]:
        """Return approximations (n, dim) float32 of the encoded rows: scale · Tᵀ σ Rᵀ c, plus the center.

        With a dual, its matrix and gains stand in place of T and σ.
        """
        levels_of = zip(self.rotations, self.levels_of(codes), strict=True)
        v = np.concatenate([rotation.apply_inverse(c) for rotation, c in levels_of], axis=1)
        prepared = prepare(v * self.gains)
        n = norm(prepared.row)
        t = products(fixed_point(prepared.row, n), np.ascontiguousarray(self.scoring.T))
        factor = times_power((n / UNIT) * codes.scales[:, 0], prepared.exponent)
        out = t.astype(np.float32) * factor[:, None]
        return out if self.fitted.center is None else out + self.fitted.center

    def levels_of(self, codes: Codes) -> list[NDArray[np.float32]]:
        """Return the levels of every segment, (n, m) float32 each; 0 where no bit is kept."""
        result = []
        for segment, keep, part in zip(self.spec.segments, codes.keep, self.unpack(codes), strict=True):
            if keep == 0:
                result.append(np.zeros(part.shape, np.float32))
            else:
                result.append(levels(segment.bits, keep, GAUSSIAN_DIM)[part])
        return result

    def query_parts(
        self, row: NDArray[np.float32], total: NDArray[np.float32]
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32] | None]:
        """Return prepared queries of norms ``total`` in each segment's coordinates, times σ, and ⟨row, center⟩ (n,)."""
        t = products(fixed_point(row, total), self.scoring).astype(np.float32)
        v = t * ((total / UNIT)[:, None] * self.gains)
        parts = []
        for segment, rotation in zip(self.spec.segments, self.rotations, strict=True):
            parts.append(rotation.apply(v[:, segment.start : segment.start + segment.dim]))
        center = self.fitted.center
        return parts, None if center is None else tree_sum(row * center)

    def groups(self, keep: tuple[int, ...]) -> list[tuple[list[int], int, int, int]]:
        """Return the runs of segments of one width and one number of kept bits: (segments, bits, kept bits, 65,536)."""
        result: list[tuple[list[int], int, int, int]] = []
        for i, (segment, kept) in enumerate(zip(self.spec.segments, keep, strict=True)):
            if kept == 0:
                continue
            last = result[-1] if result else None
            if last is not None and last[0][-1] == i - 1 and last[1:3] == (segment.bits, kept):
                last[0].append(i)
            else:
                result.append(([i], segment.bits, kept, GAUSSIAN_DIM))
        return result

    def pack(self, codes: list[NDArray[np.uint8]], keep: tuple[int, ...]) -> NDArray[np.uint8]:
        """Pack the top ``keep`` bits of every segment's codes, unit after unit."""
        planes = []
        taken = [0] * len(codes)
        for segment in self.fitted.order[: sum(keep)]:
            taken[segment] += 1
            bit = (codes[segment] >> np.uint8(self.spec.segments[segment].bits - taken[segment])) & np.uint8(1)
            planes.append(np.packbits(bit, axis=1, bitorder="little"))
        return np.concatenate(planes, axis=1)

    def unpack(self, codes: Codes) -> list[NDArray[np.uint8]]:
        """Return the kept bits of every segment's codes, (n, m) uint8 each."""
        parts = [np.zeros((len(codes), s.dim), np.uint8) for s in self.spec.segments]
        at = 0
        for segment in self.fitted.order[: sum(codes.keep)]:
            m = self.spec.segments[segment].dim
            plane = np.unpackbits(codes.packed[:, at : at + -(-m // 8)], axis=1, bitorder="little")[:, :m]
            parts[segment] = (parts[segment] << np.uint8(1)) | plane
            at += -(-m // 8)
        return parts

    def truncate(self, codes: Codes, bits: float | tuple[int, ...]) -> Codes:
        """Keep the longest prefix of units with at most ⌈bits · dim / 8⌉ bytes, or ⌈bits · dim⌉ bits.

        The two differ where a segment has no whole bytes. The scale is corrected unit by unit.

        Dropping the last units one after another makes the result the same however the length was reached.
        """
        if isinstance(bits, tuple):
            raise ValueError("bits must be one number for a fitted codec")
        ends = self.spec.ends()
        sizes = [sum(kept * s.dim for kept, s in zip(keep, self.spec.segments, strict=True)) for keep in ends]
        room = math.ceil(bits * self.dim)
        fitting = [
            i
            for i, (keep, size) in enumerate(zip(ends, sizes, strict=True))
            if size <= room or 8 * self.spec.row_bytes(keep) < room + 8
        ]
        if not fitting or room < sizes[0]:
            raise ValueError(f"bits must be at least {sizes[0] / self.dim}, the first unit, got {bits}")
        count, held = fitting[-1] + 1, sum(codes.keep)
        if count > held or (count == len(ends) and -(-room // 8) > self.spec.row_bytes(codes.keep)):
            raise ValueError(f"bits must be at most {sizes[held - 1] / self.dim}, which the codes hold, got {bits}")
        c, scales = self.levels_of(codes), codes.scales[:, 0]
        zero = np.zeros(len(codes), np.int32)
        full, kept = self.unpack(codes), list(codes.keep)
        for i in reversed(self.fitted.order[count : sum(codes.keep)]):
            kept[i] -= 1
            full[i] = full[i] >> np.uint8(1)
            d = list(c)
            level = levels(self.spec.segments[i].bits, kept[i], GAUSSIAN_DIM) if kept[i] else np.zeros(1, np.float32)
            d[i] = level[full[i]]
            factor = truncation_factor(self.spec.scale, self.weighted(c, c), self.weighted(c, d), self.weighted(d, d))
            scales = times_power(scales * factor, zero)
            c = d
        packed = codes.packed[:, : self.spec.row_bytes(tuple(kept))].copy()
        return replace(codes, packed=packed, scales=scales[:, None], keep=tuple(kept))


def kept_scale(
    scale: str, a: NDArray[np.float32], q: NDArray[np.float32], p: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return k, the scale of a row of norm 1, from a = ⟨y, c⟩, q = ⟨c, c⟩ and p = ⟨y, y⟩, the energy along the axes.

    What of a row lies outside the axes is lost; to promise its norm or product would only stretch the rest. A row with
    nothing along the axes has 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "unbiased":
            k = p / a
        elif scale == "mse":
            k = a / q
        else:
            k = np.sqrt(p / q)
    return np.where((a == 0) | (p == 0), np.float32(0), k).astype(np.float32, copy=False)


def finite(total: NDArray[np.float32], prepared: Prepared) -> None:
    """Raise ValueError unless every norm is a float32."""
    with np.errstate(over="ignore"):
        beyond = ~np.isfinite(np.ldexp(total, prepared.exponent))
    if beyond.any():
        raise ValueError(f"row {int(np.argmax(beyond))} has a norm beyond float32")
