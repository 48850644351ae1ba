"""Golden hashes of the papers' codecs: the reference still gives them, the package gives them at every SIMD level.

The Rust tests hold every level to the same file. Format version 1 is frozen: hashes of what there is do
not change, new lines are added by `python tests/golden/make_papers_golden.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
import turboquant_rs
from golden import make_papers_golden as golden

if not golden.PATH.is_file():
    pytest.skip("no Rust sources beside the tests", allow_module_level=True)


def stored() -> list[str]:
    return [line for line in golden.PATH.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def test_the_reference_gives_the_golden_hashes() -> None:
    assert list(golden.lines()) == stored()


def test_the_package_gives_the_golden_hashes(level: str) -> None:
    wanted = [line for line in stored() if line.split()[0] in ("qjl", "prod", "polar")]
    assert list(golden.lines(turboquant_rs)) == wanted


def test_every_bit_counts() -> None:
    """The control: one flipped bit of one packed row changes the line's hash."""
    codec = turboquant_rs.QJL(8, 8)
    codes = codec.encode(np.ones((3, 8)))
    before = golden.fold(codes.packed)
    codes.packed[1, 0] ^= 1
    assert golden.fold(codes.packed) != before
