"""Write rust/core/tests/golden.txt: hashes of every stage from a seed to its results, from the NumPy reference alone.

    python tests/golden/make_golden.py

The file is how machines that cannot run NumPy, an emulated ARM processor for one, are held to the reference: both sides
make the inputs by SplitMix64, so hashes are all that has to travel. `rust/core/src/golden_tests.rs` computes the same
lines on every SIMD level, `tests/parity/test_golden.py` with the Python package. A line is a kind, its keys, and a hash
for each stage:

    dim DIM                        inputs prepared signs permutation rotated unrotated levels boundaries integers
    code DIM BITS SCALE REFINE     codes packed scales decoded scores truncated file
    find DIM BITS METRIC           found
    dense DIM BITS SCALE REFINE METRIC   of a dense rotation
                                   codes packed scales decoded scores truncated file found
    split DIM BITS OTHERS ROTATION SCALE REFINE METRIC   of outliers and other channels
                                   codes packed scales decoded scores truncated file found
    fit DIM PARTS SCALE REFINE METRIC
                                   parts codes packed scales decoded scores truncated file found

A hash is that of `fold`, of the arrays' little-endian bytes one after another.
"""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from turboquant_rs.reference import FittedTurboQuant, Index, TurboQuant, score
from turboquant_rs.reference.codebook import boundaries, integer_levels, levels
from turboquant_rs.reference.rng import derive, digest, permutation, signs, splitmix64, stream
from turboquant_rs.reference.rotation import Rotation
from turboquant_rs.reference.rows import norm, prepare
from turboquant_rs.reference.units import stage_ends, unpack, unpack_row

PATH = Path(__file__).parents[2] / "rust" / "core" / "tests" / "golden.txt"

DIMS = (*range(1, 131), 200, 300, 384, 500, 768, 769, 1000, 1024, 1032, 1536, 3072)
#: Where scales and refinements beside the default ones are taken, too.
SOME_DIMS = (1, 2, 3, 5, 8, 33, 64, 97, 128, 200, 768)
OTHERS = (("mse", 0), ("matched", 0), ("paper", 0), ("mse", 8), ("matched", 32), ("paper", 16))
METRICS = ("ip", "cosine", "l2")
FIND_BITS = (1, 4, 6)

STAGES = {
    "dim": ("inputs", "prepared", "signs", "permutation", "rotated", "unrotated", "levels", "boundaries", "integers"),
    "code": ("codes", "packed", "scales", "decoded", "scores", "truncated", "file"),
    "find": ("found",),
    "dense": ("codes", "packed", "scales", "decoded", "scores", "truncated", "file", "found"),
    "split": ("codes", "packed", "scales", "decoded", "scores", "truncated", "file", "found"),
    "fit": ("parts", "codes", "packed", "scales", "decoded", "scores", "truncated", "file", "found"),
}

#: Codecs with a dense rotation: bits, scale, refinement, the metric that finds. Making large matrices takes long.
DENSE = ((1, "unbiased", 0, "ip"), (2, "paper", 0, "cosine"), (4, "mse", 16, "l2"), (6, "matched", 0, "ip"))
DENSE_UP_TO = 200

#: Outlier splits: bits of both segments, rotation, scale, refinement, the metric that finds.
SPLITS = (
    (3, 2, "hadamard", "unbiased", 0, "ip"),
    (4, 3, "hadamard", "mse", 16, "cosine"),
    (8, 1, "hadamard", "matched", 0, "l2"),
    (5, 5, "dense", "paper", 8, "l2"),
)

#: What a fitted codec is made of beside axes and segments, with its scale, refinement and the metric that finds.
FITS = (
    ("all", "unbiased", 0, "ip"),
    ("half", "matched", 16, "l2"),
    ("center", "mse", 0, "cosine"),
    ("dual", "unbiased", 8, "l2"),
)

#: The last row and the last query are too large for squared distances.
ROWS, QUERIES, K = 14, 5, 5


def fold(*arrays: NDArray[Any] | bytes) -> str:
    """Return eight hex digits that depend on every bit of the arrays, in order, and on their length."""
    data = b"".join(a if isinstance(a, bytes) else little_endian(a) for a in arrays)
    return f"{digest(data) >> 32:08x}"


def little_endian(array: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


# --- inputs -----------------------------------------------------------------------------------------------------


def seed_of(dim: int) -> int:
    return splitmix64(7, dim)


@lru_cache(2)
def rows(dim: int) -> NDArray[np.float32]:
    """Return (14, dim) float32: plain rows and awkward ones. Every number is exact in float32."""
    words = [stream(derive(1, dim, row), dim) for row in range(ROWS)]
    plain = [uniform(w) for w in words]
    one_hot, two = np.zeros((2, dim), np.float32)
    one_hot[int(words[7][0] % np.uint64(dim))] = -1.5
    two[0] = 1
    two[dim // 2] = 1
    made = [
        plain[0],
        plain[0],  # equal scores
        plain[2] * np.float32(2.0**20),
        plain[3] * np.float32(2.0**-100),
        plain[4] * np.float32(2.0**-126),  # partly subnormal
        from_bits(words[5] << np.uint64(63) >> np.uint64(32)),  # ±0
        from_bits(words[6] & np.uint64(0x807FFFFF)),  # all subnormal: a zero row
        one_hot,
        two,
        np.full(dim, 0.1, np.float32),
        np.array([-1, -0.0, 0, 1], np.float32)[words[10] & np.uint64(3)],
        wide(words[11]),
        ((words[12] >> np.uint64(61)).astype(np.float32) - np.float32(3.5)) / np.float32(4),
        plain[13] * np.float32(2.0**116),
    ]
    return np.stack(made)


@lru_cache(2)
def queries(dim: int) -> NDArray[np.float32]:
    """Return (5, dim) float32: a plain query, half of row 0, a one-hot query, zeros, a huge one."""
    plain, huge = (uniform(stream(derive(2, dim, i), dim)) for i in range(2))
    half = rows(dim)[0] * np.float32(0.5)
    one_hot = np.zeros(dim, np.float32)
    one_hot[dim - 1] = 3
    return np.stack([plain, half, one_hot, np.zeros(dim, np.float32), huge * np.float32(2.0**86)])


def uniform(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return multiples of 2^−22 in [−2, 2)."""
    return (words >> np.uint64(40)).astype(np.float32) / np.float32(1 << 22) - np.float32(2)


def wide(words: NDArray[np.uint64]) -> NDArray[np.float32]:
    """Return magnitudes from 2^−27 to 2^23: some fall below 2^−40 of the row's largest."""
    exponents = words % np.uint64(50) + np.uint64(100)
    return from_bits(words >> np.uint64(32) & np.uint64(0x807FFFFF) | exponents << np.uint64(23))


def from_bits(bits: NDArray[np.uint64]) -> NDArray[np.float32]:
    return bits.astype(np.uint32).view(np.float32)


def ids() -> NDArray[np.int64]:
    """Return the index's ids: shuffled, so that equal scores must be put in order."""
    return (5 * np.arange(ROWS - 1, dtype=np.int64) + 2) % (ROWS - 1)


def outliers(dim: int) -> list[int]:
    """Return a third of the channels, at least one, ascending."""
    return sorted(permutation(derive(19, dim), dim)[: max(1, dim // 3)].tolist())


def fit_parts(dim: int, kind: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the parts of a fitted codec: axes of any direction, up to three segments, units in any order.

    "half" has half the axes, "center" a center with zeros, "dual" a center and a second matrix. Every float is exact.
    """
    axes = (dim + 1) // 2 if kind == "half" else dim

    def matrix(purpose: int) -> NDArray[np.int16]:
        reach = int(32_000 / math.sqrt(dim))  # rows and columns have at most dim values
        words = stream(derive(purpose, dim), axes * dim) >> np.uint64(33)
        values = (words % np.uint64(2 * reach + 1)).astype(np.int64) - reach
        return values.astype(np.int16).reshape(axes, dim)

    def floats(purpose: int, count: int, factor: float) -> NDArray[np.float32]:
        """Return multiples of factor·2^−12 from factor to 2·factor."""
        words = (stream(derive(purpose, dim), count) >> np.uint64(52)).astype(np.float32)
        return np.float32(factor) * (np.float32(1) + words / np.float32(4096))

    lengths = [axes] if axes < 6 else [axes // 3, axes // 2 - axes // 3, axes - axes // 2]
    words = stream(derive(13, dim), len(lengths)) % np.uint64(8) + np.uint64(1)
    widths = sorted(words.tolist(), reverse=True)
    units = np.repeat(np.arange(len(lengths)), widths)
    order = units[permutation(derive(14, dim), len(units))].tolist()
    center = None
    if kind in ("center", "dual"):
        center = uniform(stream(derive(15, dim), dim)) * np.float32(0.25)
        center[::3] = 0
    gains = {}
    if kind == "dual":
        gains = {"dual": matrix(12), "row_gains": floats(16, axes, 8.0), "query_gains": floats(17, axes, 0.125)}
    sigmas = floats(18, len(lengths), 0.0625)
    return (center, matrix(11), sigmas, list(zip(lengths, widths, strict=True)), order), gains


# --- stages -----------------------------------------------------------------------------------------------------


def dim_stages(dim: int) -> list[str]:
    x, seed = rows(dim), seed_of(dim)
    prepared = prepare(x)
    rotation = Rotation(dim, seed)
    # Without the row of 2^116: the codec takes every row's power of two out before it rotates.
    part = x[: ROWS - 1]
    widths = [(bits, keep) for bits in range(1, 9) for keep in range(1, bits + 1)]
    tables = [levels(bits, keep, dim) for bits, keep in widths]
    integers = [integer_levels(bits, keep, dim) for bits, keep in widths]
    return [
        fold(x, queries(dim)),
        fold(prepared.row, prepared.exponent, norm(prepared.row)),
        fold(signs(derive(seed, 0, 0), 1 << (dim.bit_length() - 1))),
        fold(permutation(derive(seed, 0, 2), dim)),
        fold(rotation.apply(part)),
        fold(rotation.apply_inverse(part)),
        fold(*tables),
        fold(*[boundaries(c) for c in tables]),
        fold(*[part for ints, scale in integers for part in (ints.astype(np.int32), np.array(scale))]),
    ]


class Reference:
    """The operations that a code line is made of, by the reference. The tests bring the same for the package."""

    @staticmethod
    def codec(dim: int, bits: int, scale: str, refine: int, rotation: str = "hadamard") -> Any:
        return TurboQuant(dim, bits, seed=seed_of(dim), rotation=rotation, scale=scale, refine=refine or False)

    @staticmethod
    def split(dim: int, bits: tuple[int, int], rotation: str, scale: str, refine: int) -> Any:
        options = {"rotation": rotation, "scale": scale, "refine": refine or False}
        return TurboQuant(dim, bits, outliers=tuple(outliers(dim)), seed=seed_of(dim), **options)

    @staticmethod
    def fitted(dim: int, kind: str, scale: str, refine: int) -> Any:
        parts, gains = fit_parts(dim, kind)
        return FittedTurboQuant(*parts, seed=seed_of(dim), scale=scale, refine=refine or False, **gains)

    @staticmethod
    def truncate(q: Any, codes: Any, bits: int) -> Any:
        return q.truncate(codes, bits)

    @staticmethod
    def score(q: Any, queries: NDArray[np.float32], codes: Any) -> NDArray[np.float32]:
        return score(q, queries, codes)

    @staticmethod
    def index(q: Any, metric: str) -> Any:
        return Index(q, metric)


def code_stages(by: Any, dim: int, bits: int, scale: str, refine: int) -> list[str]:
    return stages_of(by, by.codec(dim, bits, scale, refine), dim, bits)


def dense_stages(by: Any, dim: int, bits: int, scale: str, refine: int, metric: str) -> list[str]:
    q = by.codec(dim, bits, scale, refine, "dense")
    return [*stages_of(by, q, dim, bits), *found_by(by, q, dim, metric)]


def split_stages(
    by: Any, dim: int, bits: int, others: int, rotation: str, scale: str, refine: int, metric: str
) -> list[str]:
    q, x, probe = by.split(dim, (bits, others), rotation, scale, refine), rows(dim), queries(dim)
    codes, m = q.encode(x), max(1, dim // 3)
    ends = list(itertools.product(stage_ends(bits), stage_ends(others)))
    shorter = [by.truncate(q, codes, end) for end in ends[:-1]]
    return [
        fold(*unpack_row(codes.packed, [(m, bits, bits), (dim - m, others, others)])),
        fold(codes.packed),
        fold(codes.scales),
        fold(q.decode(codes)),
        fold(by.score(q, probe, codes)),
        fold(*[part for s in shorter for part in (s.packed, s.scales, q.decode(s), by.score(q, probe, s))]),
        fold(codes.to_bytes()),
        *found_by(by, q, dim, metric),
    ]


def stages_of(by: Any, q: Any, dim: int, bits: int) -> list[str]:
    x, probe = rows(dim), queries(dim)
    codes = q.encode(x)
    shorter = [by.truncate(q, codes, end) for end in stage_ends(bits)[:-1]]
    return [
        fold(unpack(codes.packed, dim, bits, bits)),
        fold(codes.packed),
        fold(codes.scales),
        fold(q.decode(codes)),
        fold(by.score(q, probe, codes)),
        fold(*[part for s in shorter for part in (s.packed, s.scales, q.decode(s), by.score(q, probe, s))]),
        fold(codes.to_bytes()),
    ]


def fit_stages(by: Any, dim: int, kind: str, scale: str, refine: int, metric: str) -> list[str]:
    q, x, probe = by.fitted(dim, kind, scale, refine), rows(dim), queries(dim)
    (center, transform, sigmas, segments, order), gains = fit_parts(dim, kind)
    parts = [transform, sigmas, np.array(segments, np.uint32), bytes(order), *gains.values()]
    codes = q.encode(x)
    units = [segments[i][0] for i in order]
    shorter = [by.truncate(q, codes, sum(units[:count]) / dim) for count in sorted({1, len(units) // 2 or 1})]
    planes, at = [], 0
    for length in units:
        planes.append(unpack(codes.packed[:, at:], length, 1, 1))
        at += (length + 7) // 8
    return [
        fold(*parts, *([] if center is None else [center])),
        fold(*planes),
        fold(codes.packed),
        fold(codes.scales),
        fold(q.decode(codes)),
        fold(by.score(q, probe, codes)),
        fold(*[part for s in shorter for part in (s.packed, s.scales, q.decode(s), by.score(q, probe, s))]),
        fold(codes.to_bytes()),
        *found_by(by, q, dim, metric),
    ]


def find_stages(by: Any, dim: int, bits: int, metric: str) -> list[str]:
    return found_by(by, by.codec(dim, bits, "unbiased", 0), dim, metric)


def found_by(by: Any, q: Any, dim: int, metric: str) -> list[str]:
    index = by.index(q, metric)
    index.add(rows(dim)[: ROWS - 1], ids())
    scores, found = index.search(queries(dim)[: QUERIES - 1], K)
    return [fold(scores, found)]


def lines(dims: Iterable[int] = DIMS, by: Any = Reference, *, only: str | None = None) -> Iterator[str]:
    """Yield the file's lines of the given dimensions, comments apart; `only` one kind of them."""

    def line(kind: str, stages: Callable[..., list[str]], *keys: int | str) -> Iterator[str]:
        if only in (None, kind):
            yield " ".join([kind, *map(str, keys), *stages(*keys)])

    for dim in dims:
        yield from line("dim", dim_stages, dim)
        for bits in range(1, 9):
            for scale, refine in (("unbiased", 0), ("unbiased", 16), *(OTHERS if dim in SOME_DIMS else ())):
                yield from line("code", lambda *keys: code_stages(by, *keys), dim, bits, scale, refine)
            for metric in METRICS if bits in FIND_BITS else ():
                yield from line("find", lambda *keys: find_stages(by, *keys), dim, bits, metric)
        for dense in DENSE if dim in SOME_DIMS and dim <= DENSE_UP_TO else ():
            yield from line("dense", lambda *keys: dense_stages(by, *keys), dim, *dense)
        for split in SPLITS if dim in SOME_DIMS and dim >= 2 else ():
            if split[2] == "hadamard" or dim <= DENSE_UP_TO:
                yield from line("split", lambda *keys: split_stages(by, *keys), dim, *split)
        for fit in FITS if dim in SOME_DIMS else ():
            yield from line("fit", lambda *keys: fit_stages(by, *keys), dim, *fit)


HEADER = """\
# Hashes of every stage, made by tests/golden/make_golden.py from the NumPy reference; not to be edited.
# Format version 1: these lines stay; where bytes change, that is version 2, with lines of its own.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the golden hashes from the NumPy reference.")
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check = parser.parse_args().check
    text = HEADER + "".join(f"{line}\n" for line in lines())
    if check:
        sys.exit(0 if text == PATH.read_text(encoding="utf-8") else f"{PATH} differs from the reference")
    PATH.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
