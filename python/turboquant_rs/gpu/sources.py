"""From a kernel to what a compiler takes: one text without includes, and its options."""

from __future__ import annotations

from functools import cache
from importlib import resources

from .kernels import Kernel

#: Rounding as docs/numerics.md has it. CuPy appends -ftz=true, which wins over ours; the kernels are written so that
#: neither mode changes a bit, and tests run both.
OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")

#: What each kernel is made of, in order; device.cuh comes first and is what an emulation replaces.
DEVICE = "device.cuh"
_ENCODE = ("rows.cuh", "units.cuh", "codebook.cuh", "scale.cuh")
_STREAM = ("rows.cuh", "lanes.cuh", "stream.cuh")
_FEW = ("units.cuh", "nibbles.cuh", "panel.cuh", "few.cuh")
_MANY = ("units.cuh", "nibbles.cuh", "panel.cuh", "tiles.cuh", "many.cuh")
_FITTED_FEW = ("nibbles.cuh", "groups.cuh", "fitted_few.cuh")
_FITTED_MANY = ("nibbles.cuh", "groups.cuh", "tiles.cuh", "fitted_many.cuh")
PARTS: dict[str, tuple[str, ...]] = {
    "encode_warp": (*_ENCODE, "lanes.cuh", "exact.cuh", "warp.cuh", "planes.cuh"),
    "encode_block": (*_ENCODE, "exact.cuh", "block.cuh"),
    "decode_warp": ("rows.cuh", "units.cuh", "lanes.cuh", "exact.cuh", "warp.cuh"),
    "decode_block": ("rows.cuh", "units.cuh", "exact.cuh", "block.cuh"),
    "query_warp": ("rows.cuh", "query.cuh", "lanes.cuh", "exact.cuh", "warp.cuh"),
    "query_block": ("rows.cuh", "query.cuh", "exact.cuh", "block.cuh"),
    "score_dp4a": _FEW,
    "score_mma": _MANY,
    "stage_tables": ("rows.cuh", "lanes.cuh"),
    "rank_dp4a": (*_FEW, "ranking.cuh"),
    "rank_mma": (*_MANY, "ranking.cuh"),
    "rank_stage": ("ranking.cuh", "upper.cuh"),
    "refine_dp4a": (*_FEW, "ranking.cuh"),
    "rank_cut": ("lanes.cuh", "ranking.cuh", "upper.cuh"),
    "rank_best": ("ranking.cuh",),
    "row_codes": (*_ENCODE, "lanes.cuh", "stream.cuh", "planes.cuh"),
    "level_rows": (*_STREAM, "units.cuh"),
    "prod_values": ("units.cuh", "lanes.cuh"),
    "polar_codes": ("rows.cuh", "lanes.cuh", "polar.cuh"),
    "polar_values": (*_STREAM, "polar.cuh"),
    "polar_scores": ("rows.cuh", "lanes.cuh"),
    "sketch_fixed": _STREAM,
    "rotate_warp": ("rows.cuh", "lanes.cuh", "exact.cuh", "warp.cuh", "rotate.cuh"),
    "rotate_block": ("rows.cuh", "exact.cuh", "block.cuh", "rotate.cuh"),
    "unrotate_warp": ("rows.cuh", "lanes.cuh", "exact.cuh", "warp.cuh", "rotate.cuh", "signs.cuh"),
    "unrotate_block": ("rows.cuh", "exact.cuh", "block.cuh", "rotate.cuh", "signs.cuh"),
    "sketch_signs": ("rows.cuh", "lanes.cuh"),
    "sketch_integers": (*_STREAM, "query.cuh"),
    "sketch_units": ("lanes.cuh", "signs.cuh"),
    "sketch_values": ("lanes.cuh",),
    "dense_dp4a": ("lanes.cuh", "dense.cuh"),
    "dense_mma": ("lanes.cuh", "dense.cuh"),
    "fitted_rows": _STREAM,
    "fitted_codes": ("rows.cuh", "lanes.cuh", "segments.cuh", "axes.cuh"),
    "fitted_values": (*_STREAM, "segments.cuh", "axes.cuh"),
    "fitted_queries": _STREAM,
    "fitted_integers": (*_STREAM, "query.cuh", "segments.cuh", "axes.cuh"),
    "fitted_cut": (*_STREAM, "segments.cuh"),
    "fitted_lanes": _FITTED_FEW,
    "fitted_mma": _FITTED_MANY,
    "rank_fitted_lanes": (*_FITTED_FEW, "ranking.cuh"),
    "rank_fitted_mma": (*_FITTED_MANY, "ranking.cuh"),
    "refine_fitted": ("lanes.cuh", "nibbles.cuh", "groups.cuh", "ranking.cuh"),
}


@cache
def part(name: str) -> str:
    """Return the text of one file of ``src/``."""
    return resources.files(__package__).joinpath("src", name).read_text(encoding="utf-8")


def source(kernel_name: str, device: str | None = None) -> str:
    """Return the whole source of a kernel; ``device`` stands in for the text of device.cuh."""
    parts = [part(DEVICE) if device is None else device]
    parts += [part(name) for name in (*PARTS[kernel_name], f"{kernel_name}.cu")]
    return "\n".join(parts)


def options(kernel: Kernel) -> tuple[str, ...]:
    """Return the compiler's options, the kernel's parameters among them."""
    return OPTIONS + tuple(f"-D{name}={value}" for name, value in kernel.parameters)
