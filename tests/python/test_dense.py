"""TurboQuant with the paper's dense rotation, as a user meets it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from turboquant_rs import Codes, Index, TurboQuant

DIM = 24
X = np.random.default_rng(5).standard_normal((20, DIM)).astype(np.float32)


class OnCuda:
    """An array in a GPU's memory, as far as ``__cuda_array_interface__`` tells."""

    __cuda_array_interface__ = {"shape": (2, DIM), "typestr": "<f4", "data": (0xDEAD0000, False), "version": 3}  # noqa: RUF012


def test_files_and_pickles_keep_the_rotation(tmp_path: Path) -> None:
    q = TurboQuant(DIM, 3, rotation="dense", seed=9)
    assert repr(q) == "TurboQuant(dim=24, bits=3, seed=9, rotation='dense')"
    codes = q.encode(X)
    codes.save(tmp_path / "dense.tq")
    for again in (pickle.loads(pickle.dumps(q)), Codes.load(tmp_path / "dense.tq").codec):
        assert again == q
        assert again.rotation == "dense"
        assert np.array_equal(again.decode(codes), q.decode(codes))


def test_gpu_arrays_are_refused_with_advice_that_works() -> None:
    q, value = TurboQuant(DIM, rotation="dense"), OnCuda()
    with pytest.raises(
        ValueError, match=r'x must be on the CPU, where a codec with rotation="dense" encodes.*\.get\(\)'
    ):
        q.encode(value)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"queries must be on the CPU, where the codes are.*; copy them to the host"):
        q.score(value, q.encode(X))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r'codes of a codec with rotation="dense" must stay on the CPU'):
        q.encode(X).to("cuda")
    with pytest.raises(TypeError, match=r"x must be in host memory[^;]*; copy it to the host"):
        Index(codec=q).add(value)  # type: ignore[arg-type]
