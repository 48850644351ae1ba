"""TurboQuant with outlier channels, and the helper that chooses them, as a user meets them."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turboquant_rs import Codes, CorruptError, Index, TurboQuant, outlier_channels

DIM = 40
CHANNELS = [31, 2, 8, 9, 17, 20, 21, 22, 23, 39]
X = np.random.default_rng(5).standard_normal((30, DIM)).astype(np.float32)
X[:, CHANNELS] *= 6


def codec(**options: Any) -> TurboQuant:
    return TurboQuant(DIM, bits=(3, 2), outliers=CHANNELS, **options)


def refuses(call: Callable[[], Any], message: str, kind: type[Exception] = ValueError) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert str(caught.value) == message


def test_what_it_says_of_itself() -> None:
    q = codec(seed=3)
    assert repr(q) == "TurboQuant(dim=40, bits=(3, 2), outliers=10 channels, seed=3)"
    assert q.bits == (3, 2)
    assert (q.split, q.fitted, TurboQuant(DIM).split) == (True, False, False)
    assert q.outliers is not None
    assert q.outliers.tolist() == sorted(CHANNELS)
    assert TurboQuant(DIM).outliers is None
    codes = q.encode(X)
    # Units of whole bytes: 10 channels of 1 and 2 bits, 30 of 1 and 1; two scales.
    assert q.bytes_per_vector() == codes.nbytes / len(codes) == (2 + 3) + (4 + 4) + 8
    assert codes.scales.shape == (30, 2)
    assert repr(codes) == "Codes(n=30, dim=40, bits=(3, 2), 21.0 bytes per vector)"
    assert codes.bits_per_dim == 21 * 8 / 40
    assert repr(Index(codec=q)) == "Index(dim=40, bits=(3, 2), metric='ip', n=0, 29.0 bytes per vector)"


def test_channels_in_any_form_and_order_mean_the_same() -> None:
    mask = np.zeros(DIM, bool)
    mask[CHANNELS] = True
    for channels in (sorted(CHANNELS), tuple(CHANNELS), mask, mask.tolist(), np.array(CHANNELS, np.uint8)):
        assert TurboQuant(DIM, (3, 2), outliers=channels) == codec()
    assert TurboQuant(DIM, (3, 2), outliers=range(10)) != codec()
    assert TurboQuant(DIM, (3, 3), outliers=CHANNELS) != codec()


def test_files_pickles_and_bytes_keep_the_channels(tmp_path: Path) -> None:
    q = codec(refine=8, scale="mse")
    codes = q.encode(X)
    codes.save(tmp_path / "split.tq")
    q.save(tmp_path / "split.tqc")
    short = codes.truncate((1, 2))
    for again in (
        pickle.loads(pickle.dumps(q)),
        TurboQuant.load(tmp_path / "split.tqc"),
        Codes.from_bytes(codes.to_bytes()).codec,
    ):
        assert again == q
        assert (again.refine, again.bits) == (8, (3, 2))
    assert Codes.load(tmp_path / "split.tq", mmap=True) == codes
    assert pickle.loads(pickle.dumps(short)) == short
    assert short.bits == (1, 2)


def test_every_flipped_bit_is_noticed() -> None:
    data = codec().encode(X[:2]).to_bytes()
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(CorruptError):
                Codes.from_bytes(damaged)


def test_cuts() -> None:
    codes = codec().encode(X)
    assert codes.truncate(1) == codes.truncate((1, 1)) == codes.truncate((3, 1)).truncate((1, 1))
    assert codes.truncate((3, 2)) == codes
    assert codec().bytes_per_vector((1, 2)) == codes.truncate((1, 2)).packed.shape[1] + 8
    refuses(lambda: codes.truncate(2), "bits must be one of [1, 3] (where a stage ends), got 2")
    refuses(lambda: codes.truncate((1, 1)).truncate((1, 2)), "bits must be one of [1] (where a stage ends), got 2")
    refuses(
        lambda: codes.truncate((1, 1, 1)),
        "bits must be two numbers, of the outliers and of the other channels, got (1, 1, 1)",
    )  # type: ignore[arg-type]
    refuses(lambda: codes.truncate((1, 9)), "bits must be between 1 and 8, got 9")


def test_refusals() -> None:
    def make(bits: Any = (3, 2), outliers: Any = CHANNELS, **options: Any) -> Callable[[], TurboQuant]:
        return lambda: TurboQuant(DIM, bits, outliers=outliers, **options)

    refuses(make(outliers=[1, 2, 1]), "outliers must be distinct channels, got 1 twice")
    refuses(make(outliers=[1, 40]), "outliers must be channels from 0 to 39, got 40")
    refuses(make(outliers=[-1, 4]), "outliers must be channels from 0 to 39, got -1")
    none_or_all = "outliers must be some of the 40 channels, neither none nor all, got {}"
    refuses(make(outliers=[]), none_or_all.format(0))
    refuses(make(outliers=range(40)), none_or_all.format(40))
    refuses(make(outliers=np.zeros(DIM, bool)), none_or_all.format(0))
    refuses(make(outliers=np.ones(DIM, bool)), none_or_all.format(40))
    refuses(make(outliers=np.ones(39, bool)), "outliers must be a mask with one bool for each of 40 channels, got 39")
    what = "outliers must be a 1-D array of integers or a mask of 40 bools, got "
    refuses(make(outliers=[0.5, 1]), what + "1-D of float64", TypeError)
    refuses(make(outliers=[[1, 2]]), what + "2-D of int64", TypeError)
    refuses(make(outliers=7), what + "0-D of int64", TypeError)
    refuses(make(bits=(2, 3)), "bits must be not smaller for the outliers than for the others, got 2 and 3")
    refuses(make(bits=4), "bits must be two numbers with outliers, theirs and the other channels', got 4")
    refuses(make(bits=(3, 2, 1)), "bits must be two numbers, of the outliers and of the other channels, got (3, 2, 1)")
    refuses(make(bits=(9, 2)), "bits must be between 1 and 8, got 9")
    refuses(make(outliers=None), "outliers must be given with two numbers of bits, got bits=(3, 2) alone")
    text = 'dim must be between 1 and 4096 with rotation "dense", got 4097'
    refuses(lambda: TurboQuant(4098, (3, 2), outliers=[0], rotation="dense"), text)


class OnCuda:
    """An array in a GPU's memory, as far as ``__cuda_array_interface__`` tells."""

    __cuda_array_interface__ = {"shape": (2, DIM), "typestr": "<f4", "data": (0xDEAD0000, False), "version": 3}  # noqa: RUF012


def test_gpu_arrays_are_refused() -> None:
    with pytest.raises(ValueError, match="x must be on the CPU, where a codec with outliers encodes"):
        codec().encode(OnCuda())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="codes of a codec with outliers must stay on the CPU"):
        codec().encode(X).to("cuda")


def test_the_helper_takes_the_channels_of_most_energy() -> None:
    assert outlier_channels(X, 10).tolist() == sorted(CHANNELS)
    assert outlier_channels(X.tolist(), 10).dtype == np.int64
    # Of equal channels the lower ones.
    assert outlier_channels(np.ones((3, 8)), 3).tolist() == [0, 1, 2]
    assert outlier_channels(np.array([[1.0, -3, 2, 3]]), 1).tolist() == [1]
    refuses(lambda: outlier_channels(X, 0), "count must be between 1 and 39, got 0")
    refuses(lambda: outlier_channels(X, 40), "count must be between 1 and 39, got 40")
    refuses(
        lambda: outlier_channels(X[0], 1), "sample must be a 2-D array of at least 1 row and 2 columns, got shape (40,)"
    )
    bad = X.copy()
    bad[7, 3] = np.inf
    refuses(lambda: outlier_channels(bad, 1), "sample must be finite, got inf at row 7, column 3")


def test_a_split_pays_where_few_channels_hold_the_energy() -> None:
    """Theory: D = e·D(3) + (1 − e)·D(2), e the outliers' share of the energy; 3 % covers noise and few dimensions."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4000, 128)) * np.where(np.arange(128) < 32, 4.0, 1.0)
    share = 16 * 32 / (16 * 32 + 96)
    for bits, (wide, narrow) in {(3, 2): (0.0325, 0.1155), (4, 3): (0.00877, 0.0338)}.items():
        q = TurboQuant(128, bits, outliers=outlier_channels(x[:200], 32), scale="paper")
        found = float(np.sum((q.decode(q.encode(x)) - x) ** 2) / np.sum(x**2))
        theory = share * wide + (1 - share) * narrow
        assert abs(found / theory - 1) < 0.03, (bits, found, theory)
