"""Write rust/core/tests/golden_papers.txt: hashes of QJL, TurboQuant_prod and PolarQuant, from the NumPy reference
alone.

    python tests/golden/make_papers_golden.py

As make_golden.py does for TurboQuant, whose inputs and hash it takes. `rust/core/tests/papers.rs` computes the same
lines on every SIMD level, `tests/parity/test_papers_golden.py` with the Python package. A line is a kind, its keys, and
a hash for each stage:

    normals KEY COUNT                     values
    haar DIM KEY                          values
    qjl DIM SIZE PROJECTION               packed scales decoded scores file
    prod DIM BITS PROJECTION              packed scales decoded scores file
    polar DIM BITS,BITS,… RADIUS          packed scales decoded scores file
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from turboquant_rs import reference
from turboquant_rs.reference.haar import haar
from turboquant_rs.reference.normals import normals

if __name__ == "__main__":
    from make_golden import PATH as OTHER_PATH
    from make_golden import fold, queries, rows, seed_of
else:
    from golden.make_golden import PATH as OTHER_PATH
    from golden.make_golden import fold, queries, rows, seed_of

PATH = OTHER_PATH.with_name("golden_papers.txt")

PROJECTIONS = ("gaussian", "orthogonal", "hadamard")
QJL = ((1, 1), (3, 8), (16, 40), (64, 64), (97, 33), (128, 256), (200, 200))
PROD = ((1, 2), (5, 3), (32, 1), (64, 4), (97, 2), (100, 8), (128, 6))
POLAR = (
    (2, (1,)),
    (8, (3, 2)),
    (16, (4, 2, 2, 2)),
    (48, (5, 8, 1)),
    (128, (4, 2, 2, 2)),
    (200, (2, 2, 7)),
    (256, (4, 3, 3, 3, 3, 3, 3, 3)),
)
#: The rows that float16 radii can hold: without the huge, the wide and the scaled ones.
MODEST = (0, 1, 5, 6, 7, 8, 9, 10, 12)


def stages(codec: Any, x: Any, dim: int) -> list[str]:
    codes = codec.encode(x)
    found = [codes.packed, codes.scales, codec.decode(codes), codec.score(queries(dim), codes), codes.to_bytes()]
    return [fold(part) for part in found]


def lines(by: Any = reference) -> Iterator[str]:
    """Yield the file's lines, comments apart; ``by`` is the reference or the package."""
    if by is reference:
        for key, count in ((0, 1), (1, 5), (2, 4096)):
            yield f"normals {key} {count} {fold(normals(key, count))}"
        for dim in (1, 2, 3, 31, 64):
            yield f"haar {dim} {dim + 1} {fold(haar(dim, dim + 1))}"
    for projection in PROJECTIONS:
        for dim, size in QJL:
            codec = by.QJL(dim, size, projection=projection, seed=seed_of(dim))
            yield " ".join(["qjl", str(dim), str(size), projection, *stages(codec, rows(dim), dim)])
        for dim, bits in PROD:
            codec = by.TurboQuantProd(dim, bits, projection=projection, seed=seed_of(dim))
            yield " ".join(["prod", str(dim), str(bits), projection, *stages(codec, rows(dim), dim)])
    for dim, widths in POLAR:
        for radius in ("float16", "float32"):
            codec = by.PolarQuant(dim, len(widths), widths, radius=radius, seed=seed_of(dim))
            x = rows(dim)[list(MODEST)] if radius == "float16" else rows(dim)
            yield " ".join(["polar", str(dim), ",".join(map(str, widths)), radius, *stages(codec, x, dim)])


HEADER = """\
# Hashes of every stage, made by tests/golden/make_papers_golden.py from the NumPy reference; not to be edited.
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
