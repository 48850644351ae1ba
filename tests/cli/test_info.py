"""`turboquant info`: what files hold, and what this installation is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import turboquant_rs
from numpy.typing import NDArray
from turboquant_rs import QJL, PolarQuant, TurboQuant, TurboQuantProd, simd
from turboquant_rs.evaluation import generators

pytest.importorskip("typer", reason="the command line needs typer")
pytest.importorskip("rich", reason="the command line needs rich")

Run = Callable[..., Any]
Array = NDArray[Any]


def test_codes(x: Array, tmp_path: Path, run_json: Run) -> None:
    codec = TurboQuant(24, 3, seed=9, scale="mse", refine=16)
    codes = codec.encode(x)
    codes.save(tmp_path / "x.tq")
    report = run_json("info", tmp_path / "x.tq")
    expected = {"kind": "codes", "vectors": 100, "dim": 24, "bits": 3, "bits_encoded": 3, "seed": 9, "scale": "mse"}
    expected |= {"refine": 16, "fingerprint": f"{codec.fingerprint:016x}", "bytes_per_vector": 13, "verified": False}
    assert report.items() >= expected.items()
    assert report["bytes"] == (tmp_path / "x.tq").stat().st_size
    data = (tmp_path / "x.tq").read_bytes()
    _, packed, scales = report["sections"]
    assert data[packed["offset"] :][: packed["bytes"]] == codes.packed.tobytes()
    assert data[scales["offset"] :][: scales["bytes"]] == codes.scales.tobytes()


@pytest.mark.parametrize("codec", [QJL(24, 40), TurboQuantProd(24, 3), PolarQuant(24, 2, (4, 2))], ids=repr)
def test_codes_of_the_papers_other_codecs(x: Array, tmp_path: Path, run: Run, run_json: Run, codec: Any) -> None:
    path = tmp_path / "x.tq"
    codec.encode(x / np.abs(x).max()).save(path)
    report = run_json("info", path)
    expected = {"kind": "paper codes", "vectors": 100, "dim": 24, "codec": repr(codec), "verified": True}
    expected |= {"bytes_per_vector": codec.bytes_per_vector(), "fingerprint": f"{codec.fingerprint:016x}"}
    assert report.items() >= (expected | {"bytes": path.stat().st_size}).items()
    text = " ".join(run("info", "--verify", path).stdout.split())
    assert "vectors 100 of 24 dimensions" in text
    assert f"codec {type(codec).__name__}(" in text
    assert "checksums right" in text
    assert run_json("verify", path)["kind"] == "paper codes"
    np.save(tmp_path / "q.npy", x)
    assert "PaperIndex" in run("search", path, tmp_path / "q.npy", status=1).stderr
    assert "holds codes, not vectors" in run("encode", path, tmp_path / "y.tq", status=1).stderr
    options = ("--codec", path)
    assert "not a codec" in run("encode", tmp_path / "q.npy", tmp_path / "y.tq", *options, status=1).stderr
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "damaged code bytes" in run("info", path, status=1).stderr
    assert "damaged code bytes" in run("verify", path, status=1).stderr


def test_truncated_codes_say_so(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    TurboQuant(24, 4).encode(x).truncate(2).save(tmp_path / "x.tq")
    report = run_json("info", tmp_path / "x.tq")
    assert (report["bits"], report["bits_encoded"], report["bytes_per_vector"]) == (2, 4, 10)
    assert "2, the top of 4" in run("info", tmp_path / "x.tq").stdout


def test_a_codec_alone(tmp_path: Path, run: Run, run_json: Run) -> None:
    path, x = tmp_path / "c.tqc", generators.mean_dominated(1200, 32).base
    for center in (True, False):
        codec = TurboQuant.fit(x, 1.5, center=center)
        codec.save(path)
        report = run_json("info", path)
        axes = codec.report().axes
        expected = {"kind": "codec", "vectors": 0, "bits": 1.5, "fitted": True, "center": center, "axes": axes}
        assert report.items() >= (expected | {"codec_bytes": codec.nbytes}).items()
        text = " ".join(run("info", path).stdout.split())
        assert f"fitted, {axes} of 32 axes, center {'yes' if center else 'no'}, " in text
        assert "vectors none: a codec of 32 dimensions" in text
        assert "bits 1.5 " in text
        assert ", codec, " in text.replace("c.tqc", "")
    TurboQuant.fit(x, 2).save(path)
    assert "bits 2 codec fitted" in " ".join(run("info", path).stdout.split())
    TurboQuant(32, 3).save(path)
    assert run_json("info", path).items() >= {"kind": "codec", "fitted": False, "center": False, "axes": 32}.items()
    assert "codec plain, " in " ".join(run("info", path).stdout.split())


def test_codes_of_a_fitted_codec(tmp_path: Path, run: Run, run_json: Run) -> None:
    x = generators.mean_dominated(1200, 32).base
    codec = TurboQuant.fit(x, 2)
    codec.encode(x).truncate(1).save(tmp_path / "x.tq")
    report = run_json("info", tmp_path / "x.tq")
    assert (report["kind"], report["fitted"], report["vectors"]) == ("codes", True, 1200)
    assert "the top of 2 codec fitted, " in " ".join(run("info", tmp_path / "x.tq").stdout.split())


def test_verify_finds_what_the_header_does_not(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    path = tmp_path / "x.tq"
    TurboQuant(24).encode(x).save(path)
    assert run_json("info", path, "--verify")["verified"] is True
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    run("info", path)
    assert "scales fail their checksum" in run("info", path, "--verify", status=1).stderr
    np.save(tmp_path / "x.npy", x)
    assert "--verify" in run("info", tmp_path / "x.npy", "--verify", status=2).stderr


def test_arrays_with_their_costs(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    np.save(tmp_path / "x.npy", np.asfortranarray(x.astype(">f8")))
    (array,) = run_json("info", tmp_path / "x.npy")["arrays"]
    assert array.items() >= {"shape": [100, 24], "dtype": ">f8", "order": "column-major", "bytes": 19200}.items()
    assert [cost["bytes_per_vector"] for cost in array["encoded"]] == [4 + 3 * bits for bits in range(1, 9)]
    for cost in array["encoded"]:
        codes = TurboQuant(24, cost["bits"]).encode(x)
        assert cost["bytes"] == codes.nbytes
        assert cost["compression_float32"] == 96 / cost["bytes_per_vector"]
    assert array["encoded"][3]["theory_distortion"] == pytest.approx(0.0095, rel=0.15)
    text = run("info", tmp_path / "x.npy").stdout
    assert "column-major" in text
    assert max(map(len, text.splitlines())) <= 80 or len(str(tmp_path)) > 60


def test_all_arrays_of_npz(x: Array, tmp_path: Path, run: Run, run_json: Run) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=x, ids=np.arange(3), names=np.array([object()]))
    arrays = {array["key"]: array for array in run_json("info", path)["arrays"]}
    assert arrays["x"]["fault"] is None
    assert "2-D" in arrays["ids"]["fault"]
    assert "real numbers" in arrays["names"]["fault"]
    assert arrays["ids"]["encoded"] == []
    (array,) = run_json("info", path, "--key", "x")["arrays"]
    assert array["key"] == "x"
    assert "cannot encode" in run("info", path).stdout


@pytest.mark.parametrize("shape", [(3, 1), (3, 2), (0, 5), (3, 0), (2, 65_537), (4,), ()])
def test_odd_shapes(shape: tuple[int, ...], tmp_path: Path, run: Run, run_json: Run) -> None:
    np.save(tmp_path / "x.npy", np.ones(shape, np.float16))
    (array,) = run_json("info", tmp_path / "x.npy")["arrays"]
    assert array["shape"] == list(shape)
    assert (array["fault"] is None) == (len(shape) == 2 and 1 <= shape[1] <= 65_536)
    run("info", tmp_path / "x.npy")


def test_installation(run: Run, run_json: Run) -> None:
    report = run_json("info")
    assert report["version"] == turboquant_rs.__version__
    assert report["simd"] == simd.level()
    assert report["simd_available"] == simd.available()
    assert report["cores"] >= 1
    assert report["packages"]["typer"]
    text = run("info").stdout
    assert simd.level() in text


def test_missing_file(tmp_path: Path, run: Run) -> None:
    assert "does not exist" in run("info", tmp_path / "none.tq", status=1).stderr
