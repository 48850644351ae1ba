"""TurboQuant with the paper's dense rotation, as a user meets it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from turboquant_rs import Codes, TurboQuant

DIM = 24
X = np.random.default_rng(5).standard_normal((20, DIM)).astype(np.float32)


def test_files_and_pickles_keep_the_rotation(tmp_path: Path) -> None:
    q = TurboQuant(DIM, 3, rotation="dense", seed=9)
    assert repr(q) == "TurboQuant(dim=24, bits=3, seed=9, rotation='dense')"
    codes = q.encode(X)
    codes.save(tmp_path / "dense.tq")
    for again in (pickle.loads(pickle.dumps(q)), Codes.load(tmp_path / "dense.tq").codec):
        assert again == q
        assert again.rotation == "dense"
        assert np.array_equal(again.decode(codes), q.decode(codes))
