"""The emulation notices what it is for: a missing barrier, threads that part, accesses outside, another rounding.

Each test breaks a kernel's text on purpose, so what the parity tests promise is not empty.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from fits import random_parts
from gpu import fitted_parity, paper_parity
from gpu.parity import encode_differences, run_decode, run_score
from gpu.search_parity import Found, run_search, same_found
from gpu.shim import ShimBackend, missing
from gpu.shim.backend import LaunchError
from gpu.shim.build import Mutation
from gpu.test_dense_rotation import differences as dense_differences
from gpu.test_dense_rotation import pair as dense_pair
from numpy.typing import NDArray
from strategies import mixed_rows, same
from turboquant_rs.gpu import plan, search, sources
from turboquant_rs.gpu.fitted import FittedKey
from turboquant_rs.reference import Codes, TurboQuant
from turboquant_rs.reference import score as reference_score
from turboquant_rs.reference.index import Index

if missing():
    pytest.skip(str(missing()), allow_module_level=True)

#: Orders of the threads that are tried; one that shows a fault is enough.
ORDERS = (1, 0, 2, 3, 4, 5)
BARRIER = re.compile(r"tq_sync_(block|warp)\(\);")


def barriers() -> list[tuple[str, int]]:
    """Return every barrier of the sources, as a file and a number within the file."""
    files = sorted({name for kernel, parts in sources.PARTS.items() for name in (*parts, f"{kernel}.cu")})
    return [(name, number) for name in files for number, _ in enumerate(BARRIER.finditer(sources.part(name)))]


def without_barrier(name: str, number: int) -> Mutation:
    """Return a mutation that takes one barrier of a file out."""
    part = sources.part(name)
    place = list(BARRIER.finditer(part))[number]
    return lambda text: text.replace(part, part[: place.start()] + ";" + part[place.end() :])


def only_in(kernel: str, mutation: Mutation) -> Mutation:
    """Return a mutation of one kernel; what others compute to prepare for it stays right."""
    return lambda text: mutation(text) if f" {kernel}(" in text else text + "\n"


def is_right(backend: ShimBackend, kernel: str) -> bool:
    """Return whether a kernel gives the reference's bytes; an error of the launch is a wrong answer too."""
    try:
        if kernel.startswith(("rank_fitted", "refine_fitted")):
            return fitted_search_is_right(backend, kernel)
        if kernel.startswith(("fitted", "dense")):
            return fitted_is_right(backend, kernel)
        if kernel == "level_rows":
            plain, key = dense_pair(97, 4)
            rows = mixed_rows(97, 1, ("normal", "wide", "whole"))
            return dense_differences(backend, plain, key, rows, rows) == []
        if kernel.startswith(("rotate", "unrotate", "sketch", "prod", "polar", "row")):
            subject = paper_parity.qjl_subject(300, 400, "hadamard")
            rows = mixed_rows(300, 1, ("normal", "wide", "whole", "sparse", "one-hot"))
            others = paper_parity.prod_subject(300, 4, "hadamard"), paper_parity.polar_subject(300, (5, 3))
            small = paper_parity.polar_subject(48, (5, 3))  # whose levels are fewer than two rounds of a warp
            return not any(paper_parity.differences(backend, s, rows, rows) for s in (subject, *others)) and not (
                paper_parity.differences(backend, small, rows[:, :48].copy(), rows[:, :48].copy())
            )
        return all(_is_right(backend, kernel, dim) for dim in (1000, 300, 1100))
    except LaunchError:
        return False


def _is_right(backend: ShimBackend, kernel: str, dim: int) -> bool:
    if kernel.startswith(("rank", "stage", "refine")):
        return search_is_right(backend, kernel, *((dim, 6) if kernel == "stage_tables" else (dim // 10, 110)))
    plain = TurboQuant(dim, 5 if kernel.startswith("score") else 4, seed=1)
    x = mixed_rows(dim, seed=dim, kinds=("normal", "wide", "whole", "sparse", "one-hot"))
    codes = plain.encode(x)
    if kernel.startswith("encode"):
        return encode_differences(backend, plain, x, codes) == []
    if kernel.startswith("decode"):
        return same(run_decode(backend, plain, codes), plain.decode(codes))
    queries = x[: 4 if kernel == "score_dp4a" else 5]
    return same(run_score(backend, plain, queries, codes), reference_score(plain, queries, codes))


@cache
def search_case(dim: int, seeds: int) -> tuple[Index, NDArray[np.float32], Found]:
    """Return an index, five queries, and what the reference finds."""
    index = Index(TurboQuant(dim, 5, seed=1), "l2")
    kinds = ("normal", "wide", "whole", "sparse", "one-hot")
    index.add(np.concatenate([mixed_rows(dim, seed, kinds) for seed in range(seeds)]), np.arange(5 * seeds))
    queries = mixed_rows(dim, 99, kinds)
    return index, queries, index.search(queries, 34)


def search_is_right(backend: ShimBackend, kernel: str, dim: int, seeds: int) -> bool:
    """Several queries a block, chunks and tiles of candidates, and a k-th best that another warp holds."""
    index, queries, want = search_case(dim, seeds)
    some = 4 if kernel in ("rank_stage", "refine_dp4a") else 5
    backend.capability = 75 if kernel == "rank_dp4a" else 80
    return same_found(run_search(backend, index, queries[:some], 34), (want[0][:some], want[1][:some]))


@cache
def fitted_codec() -> tuple[FittedKey, Codes, Codes]:
    """Return a codec with segments in memory and in registers, and codes of a few rows and of more than a tile's."""
    segments, order = [(40, 6), (33, 3), (50, 2), (24, 1)], [0, 0, 1, 2, 0, 1, 3, 2, 0, 1, 0, 0]
    parts = random_parts(150, 1, axes=147, center=True)
    parts = parts._replace(segments=segments, order=order, sigmas=np.full(4, 0.08, np.float32))
    key = FittedKey(fitted_parity.reference(parts))
    x = np.concatenate([mixed_rows(150, seed, ("normal", "wide", "whole", "sparse", "one-hot")) for seed in range(60)])
    codes = key.codec.encode(x)
    return key, codes[:15], codes


def fitted_is_right(backend: ShimBackend, kernel: str) -> bool:
    key, few, codes = fitted_codec()
    x = np.concatenate([mixed_rows(150, seed, ("normal", "wide", "whole", "sparse", "one-hot")) for seed in range(3)])
    if kernel in ("fitted_rows", "fitted_codes", "dense_mma"):
        return fitted_parity.encode_differences(backend, key, x) == []
    if kernel == "fitted_values":
        return same(fitted_parity.run_decode(backend, key, few), key.codec.decode(few))
    if kernel == "fitted_cut":
        short = key.codec.truncate(few, 1)
        return same(fitted_parity.run_cut(backend, key, few, short.keep), short.scales)
    queries = x[: 4 if kernel in ("fitted_lanes", "dense_dp4a") else 5]
    return fitted_parity.score_differences(backend, key, queries, codes) == []


def fitted_search_is_right(backend: ShimBackend, kernel: str) -> bool:
    key, _, codes = fitted_codec()
    index = Index(key.codec, "ip")
    index.append(key.codec, np.arange(len(codes)), codes)
    index.ids = np.arange(len(codes))
    queries = mixed_rows(150, 2, ("normal", "wide", "whole", "sparse", "one-hot"))
    queries = queries[: 4 if kernel == "refine_fitted" else 5]
    backend.capability = 75 if kernel == "rank_fitted_lanes" else 80
    return same_found(run_search(backend, index, queries, 34), index.search(queries, 34))


@pytest.mark.parametrize(("name", "number"), barriers())
def test_a_missing_barrier_is_seen(monkeypatch: pytest.MonkeyPatch, name: str, number: int) -> None:
    """By some kernel, in some order of the threads."""
    for size, value in {"TILE": 128, "FIRST_ROWS": 32, "GROWTH": 1}.items():
        monkeypatch.setattr(search, size, value)
    for waves in ("WAVES", "BLOCK_WAVES"):  # one block, so that it has several rows
        monkeypatch.setattr(plan, waves, 1)
    for kernel in [k for k, parts in sources.PARTS.items() if name in (*parts, f"{k}.cu")]:
        monkeypatch.setattr(plan, "WARP_DIMS", 0 if kernel.endswith("_block") else 2048)
        mutation = only_in(kernel, without_barrier(name, number))
        if not all(is_right(ShimBackend(order, processors=1, mutation=mutation), kernel) for order in ORDERS):
            return
    pytest.fail(f"nothing shows that barrier {number} of {name} is missing")


def test_threads_that_part_are_reported() -> None:
    """Threads that miss a barrier, and threads at different ones."""
    plain, x = TurboQuant(2100, 4), mixed_rows(2100, 1, ("normal",))
    missing_one = (
        "tq_sync_block();\n    if (threadIdx.x < 32)",
        "if (threadIdx.x != 70) tq_sync_block();\n    if (threadIdx.x < 32)",
    )
    for order in (0, 1, 2):
        backend = ShimBackend(order, mutation=only_in("encode_block", lambda text: text.replace(*missing_one)))
        with pytest.raises(LaunchError, match=r"encode_block: threads (wait for others|of a block wait at different)"):
            encode_differences(backend, plain, x)
    lone_lane = "if (tq_ballot(e <= TQ_LIFTED_BELOW))", "if (tq_lane() == 3 || tq_ballot(e <= TQ_LIFTED_BELOW))"
    plain, x = TurboQuant(100, 4), mixed_rows(100, 1, ("normal",))
    for order in (0, 1, 2):
        backend = ShimBackend(order, mutation=only_in("encode_warp", lambda text: text.replace(*lone_lane)))
        with pytest.raises(
            LaunchError, match=r"encode_warp: (lanes of a warp meet at different|threads wait for others)"
        ):
            encode_differences(backend, plain, x)


@pytest.mark.parametrize(
    ("kernel", "right", "wrong"),
    [
        ("encode_warp", "return 32 * j + tq_lane() < TQ_DIM;", "return 32 * j + tq_lane() <= TQ_DIM;"),
        ("encode_warp", "row < rows; row += stride", "row <= rows; row += stride"),
        ("encode_warp", "#define TQ_WARP_FLOATS (TQ_WARP_BYTES / 4)", "#define TQ_WARP_FLOATS (TQ_WARP_BYTES / 3)"),
        ("decode_warp", "i < 1 << TQ_KEEP; i +=", "i <= 1 << TQ_KEEP; i +="),
        ("score_dp4a", "row < rows; row += stride", "row <= rows; row += stride"),
        ("score_mma", "r < rows && q < queries", "r <= rows && q < queries"),
        ("score_mma", "#define TQ_LINE (TQ_STEP + 16)", "#define TQ_LINE (TQ_STEP + 32)"),
    ],
)
def test_accesses_outside_are_reported(kernel: str, right: str, wrong: str) -> None:
    """Beyond the end of an array or of shared memory, also where the results would be right all the same."""
    mutation = only_in(kernel, lambda text: text.replace(right, wrong))
    backend = ShimBackend(0, processors=1, mutation=mutation)
    plain = TurboQuant(100, 4)
    x = mixed_rows(100, 3, ("normal", "wide", "one-hot", "whole", "sparse"))
    codes = plain.encode(x)

    def run() -> None:
        if kernel.startswith("encode"):
            encode_differences(backend, plain, x)
        elif kernel.startswith("decode"):
            run_decode(backend, plain, codes)
        else:
            run_score(backend, plain, x[: 4 if kernel == "score_dp4a" else 5], codes)

    with pytest.raises(LaunchError, match=f"{kernel}: an access outside of an array or of shared memory"):
        run()


def test_fused_multiply_add_is_seen() -> None:
    """With contraction on, as nvcc has it by default, scales are no longer the reference's."""
    if " fma " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no fused multiply-add")
    backend = ShimBackend(flags=("-mfma", "-ffp-contract=fast"))
    # Rows that a block holds: sums of products stand in one line there, where g++ fuses them.
    plain = TurboQuant(2100, 4)
    x = np.random.default_rng(0).standard_normal((20, 2100)).astype(np.float32)
    assert "scales" in encode_differences(backend, plain, x)
    assert encode_differences(ShimBackend(), plain, x) == []


@pytest.mark.parametrize("flush", [False, True])
def test_flush_to_zero_is_seen(flush: bool) -> None:
    """A plain product in place of tq_product loses subnormal results in the mode that CuPy compiles for."""
    plain = TurboQuant(64, 4)
    codes = plain.encode(mixed_rows(64, 0, ("tiny", "subnormal")))
    mutation = only_in(
        "decode_warp",
        lambda text: text.replace("tq_product(v[j] * TQ_LAST_FACTOR, scale)", "(v[j] * TQ_LAST_FACTOR) * scale"),
    )
    got = run_decode(ShimBackend(flush=flush, mutation=mutation), plain, codes)
    assert same(got, plain.decode(codes)) != flush


def test_the_matrix_instruction_is_its_definition() -> None:
    """The emulated fragments multiply whole matrices: 16 × 32 by 32 × 8 signed bytes."""
    rng = np.random.default_rng(5)
    plain = TurboQuant(32, 4)
    codes = plain.encode(rng.standard_normal((64, 32)).astype(np.float32))
    queries = rng.standard_normal((32, 32)).astype(np.float32)
    assert same(run_score(ShimBackend(capability=80), plain, queries, codes), reference_score(plain, queries, codes))
    few = run_score(ShimBackend(capability=75), plain, queries, codes)
    assert same(few, reference_score(plain, queries, codes)), "older cards take dp4a for any number of queries"
