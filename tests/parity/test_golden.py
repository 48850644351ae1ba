"""The golden hashes: the reference still gives them, and the package gives them at every SIMD level.

The Rust tests hold every stage to the same file. Where a test here fails, its message names the stage that moved first.
Format version 1 is frozen: hashes of what there is do not change, new kinds of lines are added by
`python tests/golden/make_golden.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from golden import make_golden as golden
from numpy.typing import NDArray
from turboquant_rs import Codes, Index, TurboQuant

if not golden.PATH.is_file():
    pytest.skip("no Rust sources beside the tests", allow_module_level=True)

#: Enough for a quick look: every remainder of a register and of the 64 lanes, and some usual dimensions.
QUICK = (*range(1, 19), 31, 32, 33, 63, 64, 65, 97, 127, 128, 129, 200, 768)

DIMS = QUICK if os.environ.get("TURBOQUANT_TEST_DEPTH") == "quick" else golden.DIMS


class Package:
    """The operations of `golden.Reference`, by the package."""

    @staticmethod
    def codec(dim: int, bits: int, scale: Any, refine: Any, rotation: Any = "hadamard") -> TurboQuant:
        return TurboQuant(dim, bits, seed=golden.seed_of(dim), rotation=rotation, scale=scale, refine=refine or False)

    @staticmethod
    def split(dim: int, bits: tuple[int, int], rotation: Any, scale: Any, refine: Any) -> TurboQuant:
        options = {"rotation": rotation, "scale": scale, "refine": refine or False}
        return TurboQuant(dim, bits, outliers=golden.outliers(dim), seed=golden.seed_of(dim), **options)

    @staticmethod
    def fitted(dim: int, kind: str, scale: Any, refine: Any) -> TurboQuant:
        parts, gains = golden.fit_parts(dim, kind)
        return TurboQuant._from_parts(*parts, seed=golden.seed_of(dim), scale=scale, refine=refine or False, **gains)

    @staticmethod
    def truncate(q: TurboQuant, codes: Codes, bits: Any) -> Codes:
        return codes.truncate(bits)

    @staticmethod
    def score(q: TurboQuant, queries: NDArray[np.float32], codes: Codes) -> NDArray[np.float32]:
        return q.score(queries, codes)

    @staticmethod
    def index(q: TurboQuant, metric: Any) -> Index:
        return Index(codec=q, metric=metric)


def stored() -> list[str]:
    text = golden.PATH.read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def assert_golden(found: Iterable[str], kinds: Iterable[str]) -> None:
    """Assert that lines are the stored ones, or name the stages that moved in the order in which a row passes them."""
    dims = {str(dim) for dim in DIMS}
    wanted = [line.split() for line in stored() if line.split()[1] in dims and line.split()[0] in kinds]
    lines = [line.split() for line in found]
    keys = {kind: -len(golden.STAGES[kind]) for kind in golden.STAGES}
    assert [line[: keys[line[0]]] for line in lines] == [line[: keys[line[0]]] for line in wanted]
    moved: dict[str, list[str]] = {}
    for kind, stages in golden.STAGES.items():
        for i, stage in enumerate(stages, keys[kind]):
            pairs = ((a, b) for a, b in zip(lines, wanted, strict=True) if a[0] == kind)
            different = [" ".join(a[: keys[kind]]) for a, b in pairs if a[i] != b[i]]
            if different:
                moved[stage] = different
    text = [f"{stage} in {len(which)} lines, `{which[0]}` the first" for stage, which in moved.items()]
    assert not moved, "MOVED FIRST: " + "; then ".join(text)


def test_the_file_is_whole() -> None:
    dims = [line.split()[1] for line in stored() if line.startswith("dim ")]
    assert dims == [str(dim) for dim in golden.DIMS]
    header = [line for line in golden.PATH.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    assert "\n".join(header) == golden.HEADER.strip()


@pytest.mark.slow
def test_the_reference_gives_the_golden_hashes() -> None:
    assert_golden(golden.lines(DIMS), golden.STAGES)


@pytest.mark.parametrize("kind", ["code", "find", "dense", "split", "fit"])
def test_the_package_gives_the_golden_hashes(level: str, kind: str) -> None:
    assert_golden(golden.lines(DIMS, Package, only=kind), [kind])
