"""Solve for every shipped codebook and write the tables: ``python -m turboquant_rs.reference.make_tables [root]``.

Run it from a checkout (``root``, by default the current directory). It writes, for Python and for Rust, the Gaussian
levels as source and the Beta levels as one binary file (layout in ``codebook``), each level solved for in float64 and
rounded once to float32; and the tables of ``normals`` and ``polar_angles``. Takes about twenty seconds.
``tests/reference/test_codebook.py``, ``test_sketch.py`` and ``test_polar.py`` derive them again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .lloyd_max import Quantizer, solve
from .normals import derived_magnitudes
from .polar_angles import angle_table

MAX_BITS = 8
#: Dimensions that have a Beta table of their own.
BETA_DIMS = range(2, 128)

PYTHON = Path("python/turboquant_rs/reference")
RUST = Path("rust/core/src/codebook")
RUST_NORMALS, RUST_ANGLES = Path("rust/core/src/normals"), Path("rust/core/src/papers")

_PYTHON_HEAD = '''\
"""Equation 4's levels for N(0, 1), positive halves: made by ``make_tables``, not to be edited.

``GAUSSIAN[bits − 1][keep − 1]`` holds the 2^(keep−1) positive levels of the top ``keep`` of ``bits`` bits, ascending;
``keep == bits`` is the optimum. Each number is the float64 solution rounded once to float32, in the fewest digits that
name that float32. Keeping one bit of any width gives √(2/π).
"""

# A formatter would put one number on a line.
# fmt: off
GAUSSIAN: tuple[tuple[tuple[float, ...], ...], ...] = (
'''

_RUST_HEAD = """\
//! Levels of equation 4 for N(0, 1), positive halves: made by `turboquant_rs.reference.make_tables`, not to be edited.

/// `GAUSSIAN[bits - 1][keep - 1]` holds the `2^(keep - 1)` positive levels of the top `keep` of `bits` bits, ascending.
///
/// `keep == bits` is the optimum of equation 4, fewer are the means of the merged cells; no levels where `keep > bits`.
/// Each number is the float64 solution (Lloyd, then Newton, residual below 1e-12) rounded once to float32, in the
/// fewest digits that name that float32. A test of the Python package derives them again.
// rustfmt would put one number on a line.
#[rustfmt::skip]
pub(crate) static GAUSSIAN: [[&[f32]; 8]; 8] = [
"""


def positive_levels(quantizer: Quantizer, keep: int) -> NDArray[np.float32]:
    """Return the (2^(keep−1),) positive levels of the top ``keep`` bits, rounded once to float32."""
    return quantizer.keep(keep).levels[1 << (keep - 1) :].astype(np.float32)


def gaussian_table() -> list[list[NDArray[np.float32]]]:
    """Return positive levels as ``[bits − 1][keep − 1]``."""
    solutions = [solve(bits) for bits in range(1, MAX_BITS + 1)]
    return [[positive_levels(q, keep) for keep in range(1, q.bits + 1)] for q in solutions]


def beta_table(dim: int) -> NDArray[np.float32]:
    """Return what ``beta_levels.bin`` holds for one dimension, (502,) float32: bits ascending, keep descending."""
    solutions = [solve(bits, dim) for bits in range(1, MAX_BITS + 1)]
    return np.concatenate([positive_levels(q, keep) for q in solutions for keep in range(q.bits, 0, -1)])


def python_source(table: list[list[NDArray[np.float32]]]) -> str:
    """Return the text of ``gaussian_levels.py``."""
    out = [_PYTHON_HEAD]
    for row in table:
        out.append("    (\n")
        for levels in row:
            numbers = [str(c) for c in levels]
            if len(numbers) == 1:
                out.append(f"        ({numbers[0]},),\n")
            elif len(numbers) <= 8:
                out.append(f"        ({', '.join(numbers)}),\n")
            else:
                out.append("        (\n")
                out.extend(f"            {', '.join(numbers[i : i + 8])},\n" for i in range(0, len(numbers), 8))
                out.append("        ),\n")
        out.append("    ),\n")
    return "".join([*out, ")\n"])


def rust_source(table: list[list[NDArray[np.float32]]]) -> str:
    """Return the text of ``gaussian_levels.rs``."""
    out = [_RUST_HEAD]
    for row in table:
        out.append("    [\n")
        for levels in row:
            numbers = [str(c) for c in levels]
            if len(numbers) <= 8:
                out.append(f"        &[{', '.join(numbers)}],\n")
            else:
                out.append("        &[\n")
                out.extend(f"            {', '.join(numbers[i : i + 8])},\n" for i in range(0, len(numbers), 8))
                out.append("        ],\n")
        if len(row) < MAX_BITS:
            out.append(f"        {' '.join(['&[],'] * (MAX_BITS - len(row)))}\n")
        out.append("    ],\n")
    return "".join([*out, "];\n"])


def main(root: Path) -> None:
    """Write the eight files under the checkout ``root``."""
    if not (root / PYTHON).is_dir():
        raise SystemExit(f"{root} is not the root of a checkout: it has no {PYTHON}")
    (root / RUST).mkdir(parents=True, exist_ok=True)
    gaussian = gaussian_table()
    (root / PYTHON / "gaussian_levels.py").write_text(python_source(gaussian), encoding="utf-8")
    (root / RUST / "gaussian_levels.rs").write_text(rust_source(gaussian), encoding="utf-8")
    beta = np.concatenate([beta_table(dim) for dim in BETA_DIMS]).astype("<f4").tobytes()
    for folder in (PYTHON, RUST):
        (root / folder / "beta_levels.bin").write_bytes(beta)
    write_floats(root, "normal_magnitudes.bin", derived_magnitudes(), RUST_NORMALS)
    write_floats(root, "polar_angles.bin", angle_table(), RUST_ANGLES)


def write_floats(root: Path, name: str, values: NDArray[np.float32], rust: Path) -> None:
    """Write ``values`` little-endian for Python and for Rust."""
    for folder in (PYTHON, rust):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / name).write_bytes(values.astype("<f4").tobytes())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
