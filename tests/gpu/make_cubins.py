"""Writes cubins.json: what every kernel takes on every architecture, for test_cubin.py to compare with.

    python tests/gpu/make_cubins.py

Run it after a change to kernels or to the compiler's version, and say in the commit what moved and why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from gpu import cubin
from gpu.recorder import (
    dense_kernels_of,
    fitted_kernels_of,
    kernels_of,
    polar_kernels_of,
    prod_kernels_of,
    qjl_kernels_of,
    split_kernels_of,
)
from turboquant_rs.gpu.kernels import Kernel

TABLE = Path(__file__).with_name("cubins.json")

#: Codecs whose kernels are compiled: dim, bits, refine, and which kernels (all: empty).
CODECS: tuple[tuple[int, int, int, tuple[str, ...]], ...] = (
    (1024, 4, 0, ()),
    (1024, 8, 0, ("encode_warp", "score_dp4a", "score_mma", "rank_dp4a", "rank_mma")),
    (1024, 1, 0, ("score_dp4a", "score_mma", "rank_mma", "rank_cut")),
    (768, 4, 0, ("encode_warp", "decode_warp")),
    (128, 4, 16, ("encode_warp", "decode_warp")),
    (97, 3, 0, ("encode_warp", "score_dp4a", "score_mma")),
    (1536, 4, 0, ("encode_warp",)),
    (2048, 4, 0, ("decode_warp", "query_warp")),
    (3072, 4, 0, ("encode_block", "decode_block", "query_block")),
    (65_536, 5, 8, ("encode_block", "decode_block")),
)

#: Fitted codecs: dim, axes, widths, refine, and which kernels. The kernels read widths as they run.
FITTED: tuple[tuple[int, int, tuple[int, ...], int, tuple[str, ...]], ...] = (
    (768, 768, (5, 4, 3, 2, 2, 1), 0, ()),
    (768, 480, (4, 3, 2), 16, ("fitted_codes",)),
)

#: QJL: dim, signs, projection, and which kernels. Those of one warp a row read sizes as they run.
SKETCHES: tuple[tuple[int, int, str, tuple[str, ...]], ...] = (
    (768, 1536, "gaussian", ()),
    (1024, 1024, "hadamard", ("rotate_warp", "unrotate_warp")),
    (97, 200, "hadamard", ("rotate_warp", "unrotate_warp")),
    (3072, 6144, "hadamard", ("rotate_block", "unrotate_block")),
)

#: TurboQuantProd: dim, bits, projection, and which kernels.
PRODS: tuple[tuple[int, int, str, tuple[str, ...]], ...] = (
    (1024, 4, "gaussian", ("row_codes", "prod_values", "sketch_fixed", "score_dp4a added", "score_mma added")),
    (97, 8, "hadamard", ("row_codes", "prod_values", "rotate_warp given", "unrotate_warp given", "score_mma")),
    (768, 4, "hadamard", ("rotate_warp given", "unrotate_warp given")),
    (3072, 4, "hadamard", ("rotate_block given", "unrotate_block given")),
)

#: PolarQuant: dim, bits of the levels, and which kernels. Those of one warp a row read all of it as they run.
POLARS: tuple[tuple[int, tuple[int, ...], tuple[str, ...]], ...] = (
    (1024, (4, 2, 2, 2), ("polar_codes", "polar_values", "polar_scores", "rotate_warp", "unrotate_warp given")),
)

#: Codecs with a dense rotation: dim, bits, refine, and which kernels.
DENSE: tuple[tuple[int, int, int, tuple[str, ...]], ...] = (
    (1024, 4, 0, ("row_codes", "level_rows")),
    (97, 8, 16, ("row_codes", "level_rows")),
)

#: Codecs with outliers: dim, bits, how many, and which kernels.
SPLITS: tuple[tuple[int, tuple[int, int], int, tuple[str, ...]], ...] = (
    (768, (3, 2), 192, ("rank_fitted_lanes", "rank_fitted_mma")),
)

#: Instructions whose number is watched: rounding (FFMA occurs in divisions and roots only), exchange, shared memory,
#: barriers, integer products, byte selection.
WATCHED = ("FFMA", "FADD", "FMUL", "SHFL", "VOTE", "LDS", "STS", "BAR", "IDP", "IMMA", "PRMT")


def kernels() -> dict[str, Kernel]:
    """Return the kernels that are compiled, by a name that says their codec."""
    found = {}
    for dim, bits, refine, names in CODECS:
        for name, kernel in kernels_of(dim, bits, refine).items():
            if not names or name in names:
                found[f"{name} dim={dim} bits={bits} refine={refine}"] = kernel
    for dim, axes, widths, refine, names in FITTED:
        for name, kernel in fitted_kernels_of(dim, axes, widths, refine).items():
            if not names or name in names:
                found[f"{name} dim={dim} axes={axes} refine={refine}"] = kernel
    for dim, size, projection, names in SKETCHES:
        for name, kernel in qjl_kernels_of(dim, size, projection).items():
            if not names or name in names:
                found[f"{name} dim={dim} signs={size} {projection}"] = kernel
    for dim, bits, projection, names in PRODS:
        for name, kernel in prod_kernels_of(dim, bits, projection).items():
            if name in names:
                found[f"{name} dim={dim} bits={bits} prod {projection}"] = kernel
    for dim, bits, names in POLARS:
        for name, kernel in polar_kernels_of(dim, bits).items():
            if name in names:
                found[f"{name} dim={dim} polar"] = kernel
    for dim, bits, refine, names in DENSE:
        for name, kernel in dense_kernels_of(dim, bits, refine).items():
            if name in names:
                found[f"{name} dim={dim} bits={bits} refine={refine} dense"] = kernel
    for dim, widths, count, names in SPLITS:
        for name, kernel in split_kernels_of(dim, widths, count).items():
            if name in names:
                found[f"{name} dim={dim} outliers={count}"] = kernel
    return found


def compile_all(architectures: tuple[str, ...], extra: tuple[str, ...]) -> dict[tuple[str, str], cubin.Cubin]:
    """Compile every kernel for every architecture; by (name, architecture)."""
    jobs = {
        (name, arch): cubin.Job(kernel, arch, extra) for name, kernel in kernels().items() for arch in architectures
    }
    return dict(zip(jobs, cubin.compile_kernels(list(jobs.values())), strict=True))


def entry(compiled: cubin.Cubin) -> dict[str, Any]:
    """Return what the table records of a compiled kernel."""
    counts = {name: compiled.instructions[name] for name in WATCHED if compiled.instructions[name]}
    return {"registers": compiled.registers, "total": sum(compiled.instructions.values()), **counts}


def main() -> None:
    """Write the table."""
    table: dict[str, Any] = {}
    for (name, arch), compiled in compile_all(cubin.ARCHITECTURES, cubin.CUPY_OPTIONS).items():
        table.setdefault(name, {})[arch] = entry(compiled)
    lines = [
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"   {json.dumps(arch)}: {json.dumps(found)}" for arch, found in by_arch.items())
        + "\n  }"
        for name, by_arch in table.items()
    ]
    head = f'{{\n "compiler": {json.dumps(cubin.version())},\n "kernels": {{\n'
    TABLE.write_text(head + ",\n".join(lines) + "\n }\n}\n")


if __name__ == "__main__":
    main()
