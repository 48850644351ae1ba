"""Kernels compiled for GPUs without one: no spills, no fused multiply-adds, registers and instructions as recorded."""

from __future__ import annotations

import json
import re

import pytest
from gpu import cubin
from gpu.make_cubins import TABLE, compile_all, entry, kernels
from turboquant_rs.gpu import sources

if cubin.missing():
    pytest.skip(str(cubin.missing()), allow_module_level=True)


@pytest.fixture(scope="module")
def built() -> dict[tuple[str, str], cubin.Cubin]:
    """Every kernel for every architecture, as CuPy compiles it."""
    return compile_all(cubin.ARCHITECTURES, cubin.CUPY_OPTIONS)


def test_nothing_spills(built: dict[tuple[str, str], cubin.Cubin]) -> None:
    """Neither registers that ran out nor arrays that could not be held in them lie in local memory."""
    found = {where: (c.spills, c.stack) for where, c in built.items() if c.spills or c.stack}
    assert not found, found


def test_registers_and_instructions_are_as_recorded(built: dict[tuple[str, str], cubin.Cubin]) -> None:
    """A change is no fault, but must be seen: `python tests/gpu/make_cubins.py` renews the table."""
    recorded = json.loads(TABLE.read_text())
    if recorded["compiler"] != cubin.version():
        pytest.skip(f"cubins.json was made by NVRTC {recorded['compiler']}, here is {cubin.version()}")
    table = {(name, arch): found for name, by_arch in recorded["kernels"].items() for arch, found in by_arch.items()}
    assert table.keys() == built.keys()
    moved = {where: (table[where], entry(c)) for where, c in built.items() if entry(c) != table[where]}
    assert not moved, f"{len(moved)} kernels differ from the record (recorded, now): {moved}"


#: What counts fused multiply-adds: a kernel whose divisions and roots, which hold some of their own, are left out.
WITHOUT_DIVISION = (*cubin.CUPY_OPTIONS, "-DTQ_WITHOUT_DIVISION")


def fused(names: list[str], *options: str) -> dict[str, int]:
    """Count fused multiply-adds of kernels, by their names."""
    jobs = [cubin.Job(kernels()[name], "sm_90", (*WITHOUT_DIVISION, *options)) for name in names]
    found = [compiled.instructions for compiled in cubin.compile_kernels(jobs)]
    return {name: counts["FFMA"] + counts["DFMA"] for name, counts in zip(names, found, strict=True)}


def test_no_fused_multiply_add(built: dict[tuple[str, str], cubin.Cubin]) -> None:
    """Kernels that have none with their divisions need no second look."""
    counts = {name: built[name, "sm_90"].instructions for name in kernels()}
    some = [name for name, found in counts.items() if found["FFMA"] + found["DFMA"]]
    names = [name for name in some if not re.search("bits=8|dim=1536", name)]
    assert not {name: count for name, count in fused(names).items() if count}


def test_fused_multiply_add_would_be_seen() -> None:
    """With contraction on, what nvcc does by default, kernels that sum products have some."""
    names = ["encode_warp dim=128 bits=4 refine=16", "encode_block dim=3072 bits=4 refine=0"]
    assert all(fused(names, "--fmad=true").values())


def test_integer_products_use_their_instructions(built: dict[tuple[str, str], cubin.Cubin]) -> None:
    """Four products by IDP in the one score kernel, 4,096 by IMMA in the other, and never the other way round."""
    for (name, _), compiled in built.items():
        counts = compiled.instructions
        assert bool(counts["IDP"]) == name.startswith(
            ("score_dp4a", "rank_dp4a", "dense_dp4a", "fitted_lanes", "rank_fitted_lanes", "refine_")
        ), name
        assert bool(counts["IMMA"]) == name.startswith(
            ("score_mma", "rank_mma", "dense_mma", "fitted_mma", "rank_fitted_mma")
        ), name


def test_a_wrong_source_is_an_error() -> None:
    kernel = next(iter(kernels().values()))
    with pytest.raises(AssertionError, match="NO_SUCH_THING"):
        cubin.compile_kernels([cubin.Job(kernel, "sm_90", ("-DTQ_SCALE=NO_SUCH_THING",))])


def test_options_fix_the_rounding() -> None:
    assert {"--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true"} <= set(sources.OPTIONS)
