"""Where arrays live, and what happens on a machine without CuPy, without array-api-compat, without a driver."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from subject import refuses
from turboquant_rs import Index, TurboQuant, _device

Q = TurboQuant(8)
CODES = Q.encode(np.ones((2, 8)))
INSTALL = "pip install 'turboquant-rs[cuda12]' or 'turboquant-rs[cuda13]', by the version of CUDA"


class ByInterface:
    """An array in a GPU's memory, as far as ``__cuda_array_interface__`` tells."""

    __cuda_array_interface__ = {"shape": (2, 8), "typestr": "<f4", "data": (0xDEAD0000, False), "version": 3}  # noqa: RUF012

    def __array__(self, *_: Any) -> Any:
        raise AssertionError("the host must not ask for the data")


class ByDlpack:
    """An array in some memory, as far as DLPack tells."""

    def __init__(self, kind: int) -> None:
        self.kind = kind

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.kind, 0

    def __dlpack__(self, **_: Any) -> Any:
        raise AssertionError("nobody must ask for the data")


@pytest.mark.parametrize(("kind", "expected"), [(1, False), (2, True), (3, False), (13, True)])
def test_dlpack_says_where_an_array_is(kind: int, expected: bool) -> None:
    assert _device.on_cuda(ByDlpack(kind), "x") is expected


@pytest.mark.parametrize("kind", [4, 8, 10, 14])
def test_other_accelerators_are_refused(kind: int) -> None:
    text = f"x must be in host memory or on a CUDA GPU, got test_device.ByDlpack on DLPack device type {kind}"
    with pytest.raises(TypeError, match=r"^x must be in host memory or on a CUDA GPU, got ") as caught:
        Q.encode(ByDlpack(kind))  # type: ignore[arg-type]
    assert str(caught.value).endswith(text[-25:])


@pytest.mark.parametrize(
    "value", [np.ones(3), [1.0], 1, None, memoryview(b"a"), np.ma.ones(3)], ids=lambda v: str(type(v))
)
def test_everything_else_is_the_host_s(value: Any) -> None:
    assert not _device.on_cuda(value, "x")


@pytest.fixture
def no_cupy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.mark.usefixtures("no_cupy")
@pytest.mark.parametrize("value", [ByInterface(), ByDlpack(2)], ids=lambda v: type(v).__name__)
def test_without_cupy_an_array_of_a_gpu_says_what_to_install(value: Any) -> None:
    text = f"working with x on a GPU takes CuPy: {INSTALL} (importing it said: "
    for call in (lambda: Q.encode(value), lambda: Q.encode(value, validate=False)):
        with pytest.raises(ImportError) as caught:
            call()
        assert str(caught.value).startswith(text)
        assert caught.value.name == "cupy"
    with pytest.raises(ImportError, match=r"^working with codes on a GPU takes CuPy: pip install "):
        CODES.to("cuda")


@pytest.mark.usefixtures("no_cupy")
def test_without_cupy_the_index_says_where_it_is() -> None:
    """What needs host memory says so whether CuPy is there or not."""
    found = "in host memory, where the index is, got a CUDA array "
    for metric in ("ip", "cosine", "l2"):
        index = Index(8, metric=metric)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"^x must be {found}") as caught:
            index.add(ByInterface())  # type: ignore[arg-type]
        assert ("index.add_codes(index.codec.encode(x).to(" in str(caught.value)) == (metric == "ip")
        assert str(caught.value).endswith("copy it to the host: x.get() in CuPy, x.cpu() in PyTorch")
        with pytest.raises(TypeError, match=f"^queries must be {found}"):
            index.search(ByInterface())  # type: ignore[arg-type]
        assert len(index) == 0


def test_without_array_api_compat_an_array_says_what_to_install(
    cp: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "array_api_compat", None)
    codes = CODES.to("cuda")
    refuses(
        lambda: codes[[0]],
        f"arrays of cupy.ndarray need array-api-compat, which comes with CuPy: {INSTALL}",
        ImportError,
    )


def test_numpy_alone_loads_nothing_of_the_gpu_s() -> None:
    code = (
        "import sys, numpy as np, turboquant_rs as t; q = t.TurboQuant(8); c = q.encode(np.ones((2, 8)));"
        "q.score(np.ones(8), c); q.decode(c[[0]]); c.truncate(1); c == c; t.Codes.concatenate([c, c]);"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"cupy", "torch", "array_api_compat"}
    assert not [name for name in done.stdout.split() if name.startswith("turboquant_rs.gpu")]


def test_the_gpu_package_imports_without_cupy() -> None:
    code = (
        "import sys; sys.modules['cupy'] = None; import pkgutil, importlib, turboquant_rs.gpu as g;"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(g.__path__, 'turboquant_rs.gpu.')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_double_has_nothing_that_cupy_lacks() -> None:
    """On a machine where CuPy is installed, with or without a GPU."""
    code = """if 1:
        import sys, importlib
        try:
            import cupy
        except ImportError as error:
            sys.exit(f"SKIP {error}")
        sys.path.insert(0, sys.argv[1])
        from doubles import fake_cuda, fake_cupy
        def names(thing):
            return {name for name in vars(thing) if not name.startswith("_")}
        pairs = [
            (fake_cupy.ndarray, cupy.ndarray), (fake_cuda.Device, cupy.cuda.Device),
            (fake_cupy.MODULE.cuda, cupy.cuda), (fake_cupy.MODULE.cuda.runtime, cupy.cuda.runtime),
            (fake_cuda.Stream, cupy.cuda.Stream),
        ]
        missing = [f"{real}.{name}" for fake, real in pairs for name in names(fake) if not hasattr(real, name)]
        import array_api_compat.cupy as xp
        used = "abs all any argmax asarray astype concat isfinite nonzero reshape sqrt stack take where zeros".split()
        missing += [name for name in (*used, "zeros_like") if not hasattr(xp, name)]
        assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
        sys.exit(f"missing: {missing}" if missing else 0)
    """
    tests = __file__.partition("/gpu/")[0]
    done = subprocess.run([sys.executable, "-c", code, tests], capture_output=True, text=True, check=False)
    if done.stderr.startswith("SKIP"):
        pytest.skip(
            f"CuPy is not installed, so its names are not compared with the double's: {done.stderr[5:].strip()}"
        )
    assert done.returncode == 0, done.stderr
