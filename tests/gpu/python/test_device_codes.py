"""Codes on a GPU as a container: where they live, how they move, what is made of them, what is refused."""

from __future__ import annotations

import copy
import gc
import pickle
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from doubles.fake_cuda import CUDA
from strategies import same
from subject import refuses
from turboquant_rs import Codes, Index, TurboQuant
from turboquant_rs import codes as codes_module

N, DIM = 40, 24
X = np.random.default_rng(0).standard_normal((N, DIM)).astype(np.float32)
Q = TurboQuant(DIM, 4, seed=3, scale="mse")


@pytest.fixture
def host() -> Codes:
    return Q.encode(X)


@pytest.fixture
def codes(cp: ModuleType, host: Codes) -> Codes:
    return host.to("cuda")


# --- where they live ---------------------------------------------------------------------------------------------


def test_codes_know_their_device(codes: Codes, host: Codes, cp: ModuleType) -> None:
    assert (host.device, codes.device, codes.to("cuda:1").device) == ("cpu", "cuda:0", "cuda:1")
    assert isinstance(codes.packed, cp.ndarray)
    assert isinstance(codes.scales, cp.ndarray)
    assert (codes.nbytes, codes.bits_per_dim, len(codes)) == (host.nbytes, host.bits_per_dim, N)
    assert repr(codes) == "Codes(n=40, dim=24, bits=4, 16.0 bytes per vector, on cuda:0)"
    assert repr(host) == "Codes(n=40, dim=24, bits=4, 16.0 bytes per vector)"


def test_moving_there_and_back_changes_nothing(codes: Codes, host: Codes) -> None:
    assert codes.to("cpu") == host
    assert codes.to("cuda:1").to("cpu") == host
    assert codes[::3].to("cpu") == host[::3]
    assert host[::3].to("cuda:1").to("cpu") == host[::3]
    assert codes[:0].to("cpu") == host[:0]


def test_codes_that_are_there_stay_the_same_object(codes: Codes, host: Codes) -> None:
    assert host.to("cpu") is host
    assert codes.to("cuda") is codes
    assert codes.to(codes.device) is codes


def test_cuda_is_the_current_gpu(host: Codes, cp: ModuleType) -> None:
    with cp.cuda.Device(1):
        assert host.to("cuda").device == "cuda:1"
        assert host.to("cuda:0").device == "cuda:0"
    assert host.to("cuda").device == "cuda:0"


def test_a_move_between_gpus_waits_for_what_the_source_still_writes(codes: Codes) -> None:
    CUDA.log.clear()
    codes.to("cuda:1")
    kinds = [(event.kind, event.device) for event in CUDA.log]
    assert kinds.index(("sync", 0)) < kinds.index(("operation", 1))


@pytest.mark.parametrize("value", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", 0, None])
def test_what_is_no_device(codes: Codes, value: Any) -> None:
    text = f'device must be "cpu", "cuda" or "cuda:0", "cuda:1" …, got {value!r}'
    refuses(lambda: codes.to(value), text)


def test_devices_that_the_machine_lacks(host: Codes, cp: ModuleType) -> None:
    refuses(lambda: host.to("cuda:2"), "device must be one of this machine's 2 GPUs, from cuda:0, got 'cuda:2'")
    CUDA.devices = 0
    text = "device 'cuda' takes a GPU and its driver; CUDA said: cudaErrorNoDevice: no CUDA-capable device is detected"
    refuses(lambda: host.to("cuda"), text, RuntimeError)


def test_no_room_on_the_gpu(host: Codes, cp: ModuleType) -> None:
    gc.collect()  # what earlier tests left behind in cycles
    CUDA.memory = CUDA.used.get(0, 0) + 600
    text = (
        "moving codes from cpu needs 640 bytes on cuda:0, where 600 are free; "
        "move fewer rows (codes[first:last]) or free memory there"
    )
    refuses(lambda: host.to("cuda"), text, MemoryError)
    assert host.device == "cpu"


# --- rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [slice(3, 9), slice(None, None, -2), slice(50, 60), 5, -1, np.int32(7)], ids=str)
def test_slices_are_views(codes: Codes, host: Codes, rows: Any) -> None:
    before = CUDA.count("alloc")
    part = codes[rows]
    assert CUDA.count("alloc") == before
    assert part.to("cpu") == host[rows]


SELECTIONS: list[Any] = [[0, 7, 7, -1], [], np.arange(N) % 3 == 0, np.array([5], np.uint8), np.array([5, 2], np.uint64)]


@pytest.mark.parametrize("where", ["host", "gpu"])
@pytest.mark.parametrize("rows", SELECTIONS, ids=lambda rows: f"{type(rows).__name__}-{len(rows)}")
def test_selections(codes: Codes, host: Codes, cp: ModuleType, rows: Any, where: str) -> None:
    chosen = cp.asarray(np.asarray(rows, None if len(rows) else int)) if where == "gpu" else rows
    part = codes[chosen]
    assert part.device == "cuda:0"
    assert part.to("cpu") == host[rows]


def test_selections_happen_on_the_codes_own_gpu(host: Codes, cp: ModuleType) -> None:
    far = host.to("cuda:1")
    CUDA.log.clear()
    with cp.cuda.Device(0):
        part = far[[1, 2]]
        cut = far.truncate(2)
        both = Codes.concatenate([far, far])
        equal = far == far
    assert {event.device for event in CUDA.log} == {1}
    assert equal
    assert (part.device, cut.device, both.device) == ("cuda:1",) * 3


@pytest.mark.parametrize("where", ["host", "gpu"])
def test_rows_out_of_range(codes: Codes, cp: ModuleType, where: str) -> None:
    """CuPy itself would wrap them."""

    def there(rows: Any, dtype: Any = None) -> Any:
        return cp.asarray(np.asarray(rows, dtype)) if where == "gpu" else rows

    for row in (N, -N - 1, 2**62):
        refuses(lambda row=row: codes[there([0, row])], f"row {row} is out of range for {N} codes", IndexError)  # type: ignore[misc]
    row = 2**64 - 1
    with pytest.raises(IndexError, match=f"^row {row} is out of range for {N} codes$"):
        codes[there(np.array([row], np.uint64))]
    text = f"a mask must have one entry for each of {N} codes, got 2"
    refuses(lambda: codes[there([True, False])], text, IndexError)
    with pytest.raises(IndexError, match=r"^rows must be an integer, a slice"):
        codes[there([[1]])]


def test_rows_of_another_device(codes: Codes, host: Codes, cp: ModuleType) -> None:
    rows = cp.asarray(np.array([1, 2]))
    text = "rows must be on the CPU, where the codes are, got a CUDA array (cupy.ndarray); copy it to the host: "
    with pytest.raises(ValueError, match="^" + text.replace("(", r"\(").replace(")", r"\)")):
        host[rows]
    text = "rows must be on cuda:1, where the codes are, got cupy.ndarray on cuda:0"
    refuses(lambda: codes.to("cuda:1")[rows], text)


# --- what is made of them ----------------------------------------------------------------------------------------


def test_truncated_codes_are_the_cpu_s(cp: ModuleType) -> None:
    for bits in range(1, 9):
        for scale in ("unbiased", "mse", "matched", "paper"):
            host = TurboQuant(DIM, bits, scale=scale).encode(X)  # type: ignore[arg-type]
            for top in {end for end in (1, 2, 4, bits) if end <= bits and (bits != 3 or end != 2)}:
                cut = host.to("cuda").truncate(top)
                assert cut.device == "cuda:0"
                assert cut.to("cpu") == host.truncate(top)


def test_concatenation(codes: Codes, host: Codes) -> None:
    assert Codes.concatenate([codes[:3], codes[10:]]).to("cpu") == Codes.concatenate([host[:3], host[10:]])
    text = 'parts must be on one device, got cuda:0 at 0 and cpu at 1; move them first: codes.to("cuda:0")'
    refuses(lambda: Codes.concatenate([codes, host]), text)
    text = 'parts must be on one device, got cpu at 0 and cuda:1 at 2; move them first: codes.to("cpu")'
    refuses(lambda: Codes.concatenate([host, host, codes.to("cuda:1")]), text)


def test_comparison(codes: Codes, host: Codes) -> None:
    assert codes == host.to("cuda")
    assert codes != codes[1:]
    assert codes != codes[::-1]
    assert codes != TurboQuant(DIM, 4).encode(X).to("cuda")
    for a, b in ((codes, host), (host, codes)):
        text = f'codes on {a.device} and on {b.device} cannot be compared; move one first: codes.to("cpu")'
        refuses(lambda a=a, b=b: a == b, text)  # type: ignore[misc]


def test_bytes_and_files_do_not_tell(
    codes: Codes, host: Codes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codes_module, "_SAVE_BYTES", 7 * 16 + 3)
    assert codes.to_bytes() == host.to_bytes()
    assert Codes.from_bytes(codes.to_bytes()).device == "cpu"
    codes.save(tmp_path / "a.tq")
    host.save(tmp_path / "b.tq")
    assert (tmp_path / "a.tq").read_bytes() == (tmp_path / "b.tq").read_bytes()
    codes[:0].save(tmp_path / "none.tq")
    assert len(Codes.load(tmp_path / "none.tq")) == 0


def test_pickles_and_copies_come_back_to_their_gpu(codes: Codes) -> None:
    for device in ("cuda:0", "cuda:1"):
        there = codes.to(device)
        for again in (pickle.loads(pickle.dumps(there)), copy.copy(there), copy.deepcopy(there)):
            assert again.device == device
            assert again == there
            assert not np.shares_memory(again.packed._host, there.packed._host)


def test_an_index_takes_codes_from_the_host(codes: Codes, host: Codes) -> None:
    index = Index(codec=Q)
    text = 'codes must be on the CPU here, got codes on cuda:0; move them: codes.to("cpu")'
    refuses(lambda: index.add_codes(codes), text)
    assert len(index) == 0
    index.add_codes(codes.to("cpu"))
    other = Index(codec=Q)
    other.add_codes(host)
    assert same(index.search(X[:3], 5)[1], other.search(X[:3], 5)[1])
