"""`turboquant info`: what a file holds and would cost, or what this installation is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from .. import __version__, simd
from .._rates import shown
from ..codec import TurboQuant
from ..codes import read_header
from ..index import Index
from ..paper_codes import PaperCodes
from ._options import Json, Key
from ._output import Failure, facts, show, size, write_json
from .index import describe, facts_of
from .inputs import NpzVectors, Vectors, kind_of, open_array, open_arrays
from .search import open_codes

_OPTIONAL = ("typer", "rich", "matplotlib")


def info(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[FILE]", help="Codes, index, .npy or .npz; without it, the installation is described."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare a file of codes or an index with its checksums (reads all of it).")
    ] = False,
    key: Key = None,
    json: Json = False,
) -> None:
    """Describe a file: its codes, or what encoding its vectors would cost.

    Without a file, describe the installation.
    """
    if path is None:
        report = installation()
        parts = [_installation_facts(report)]
    elif kind_of(path) == "codes":
        report = _codes(path, verify)
        parts = _codes_parts(report)
    elif kind_of(path) == "paper codes":
        report, parts = _paper_codes(path)
    elif kind_of(path) == "index":
        report, parts = _index(path, verify)
    elif verify:
        raise Failure(
            f"--verify is for files of codes and indexes, and {path} is a .{kind_of(path)} file; leave it out", 2
        )
    else:
        arrays = open_arrays(path) if key is None else [open_array(path, key)]
        report = {"file": str(path), "kind": kind_of(path), "arrays": [_array(array) for array in arrays]}
        parts = [part for array in report["arrays"] for part in _array_parts(array)]
    if json:
        write_json(report)
    else:
        show(*parts)


def installation() -> dict[str, Any]:
    """Versions, SIMD levels, cores and optional packages of this machine."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "simd": simd.level(),
        "simd_available": simd.available(),
        "simd_forced": os.environ.get("TURBOQUANT_SIMD"),
        "cores": cores(),
        "packages": {name: _version_of(name) for name in _OPTIONAL},
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _installation_facts(report: dict[str, Any]) -> Any:
    forced = f" (TURBOQUANT_SIMD={report['simd_forced']})" if report["simd_forced"] else ""
    missing = "missing: pip install 'turboquant-rs[all]'"
    return facts(
        [
            ("turboquant", report["version"]),
            ("python", f"{report['python']}, NumPy {report['numpy']}, {report['machine']}"),
            ("simd", f"{report['simd']}{forced}, of {' '.join(report['simd_available'])}"),
            ("cores", f"{report['cores']} usable; work takes one thread a core unless told otherwise"),
            *((name, version or missing) for name, version in report["packages"].items()),
        ]
    )


def _index(path: Path, verify: bool) -> tuple[dict[str, Any], list[Any]]:
    opened = Index.open(path)
    if verify:
        opened.verify()
    report = {"file": str(path), "kind": "index", **describe(opened), "bytes": path.stat().st_size, "verified": verify}
    checked = "right" if verify else "header and heads right; --verify checks the rest"
    file = f"{path}, index, {size(report['bytes'])}"
    return report, [facts([("file", file), *facts_of(report), ("checksums", checked)])]


def _paper_codes(path: Path) -> tuple[dict[str, Any], list[Any]]:
    # They are always read whole and compared.
    codes = PaperCodes.load(path)
    per_vector = codes._paper.bytes_per_vector()
    report: dict[str, Any] = {
        "file": str(path),
        "kind": "paper codes",
        "vectors": len(codes),
        "dim": codes._paper.dim,
        "codec": repr(codes._paper),
        "codec_bytes": codes._paper.nbytes,
        "fingerprint": f"{codes.fingerprint:016x}",
        "bytes_per_vector": per_vector,
        "compression_float32": 4 * codes._paper.dim / per_vector,
        "bytes": path.stat().st_size,
        "verified": True,
    }
    compression = f"{report['compression_float32']:.3g} times smaller than float32 ({4 * codes._paper.dim:,} bytes)"
    rows = [
        ("file", f"{path}, codes of another paper's codec, {size(path.stat().st_size)}"),
        ("vectors", f"{len(codes):,} of {codes._paper.dim:,} dimensions"),
        ("codec", f"{codes._paper!r}, {size(codes._paper.nbytes)}"),
        ("fingerprint", report["fingerprint"]),
        ("bytes per vector", f"{per_vector:,}: {compression}"),
        ("checksums", "right"),
    ]
    return report, [facts(rows)]


def _codes(path: Path, verify: bool) -> dict[str, Any]:
    codes = open_codes(path, verify=verify)
    _, _, rows, packed_at, scales_at, packed_crc, scales_crc, total = read_header(path)
    codec, row_bytes = codes.codec, codes.packed.shape[1]
    described = codec._core.parts()
    per_vector = codec.bytes_per_vector(codes.bits)
    return {
        "file": str(path),
        # A codec's file is one of no rows.
        "kind": "codes" if rows else "codec",
        "vectors": rows,
        "dim": codec.dim,
        "bits": codes.bits,
        "bits_encoded": codec.bits,
        "fitted": codec.fitted,
        "axes": codec.dim if described is None else len(described[1]),
        "center": described is not None and described[0] is not None,
        "outliers": 0 if (channels := codec.outliers) is None else len(channels),
        "codec_bytes": codec.nbytes,
        "seed": codec.seed,
        "rotation": codec.rotation,
        "scale": codec.scale,
        "refine": int(codec.refine),
        "fingerprint": f"{codec.fingerprint:016x}",
        "bytes_per_vector": per_vector,
        "compression_float32": 4 * codec.dim / per_vector,
        "bytes": total,
        "sections": [
            {"name": "header", "offset": 0, "bytes": packed_at, "crc32": None},
            {"name": "packed codes", "offset": packed_at, "bytes": rows * row_bytes, "crc32": f"{packed_crc:08x}"},
            {
                "name": "scales",
                "offset": scales_at,
                "bytes": rows * 4 * codec._core.norms,
                "crc32": f"{scales_crc:08x}",
            },
        ],
        "verified": verify,
    }


def _codes_parts(report: dict[str, Any]) -> list[Any]:
    bits = shown(report["bits"])
    if report["bits"] != report["bits_encoded"]:
        bits += f", the top of {shown(report['bits_encoded'])}"
    number = f"{report['vectors']:,}" if report["vectors"] else "none: a codec"
    kind = f"{report['outliers']:,} of {report['dim']:,} channels are outliers" if report["outliers"] else "plain"
    if report["fitted"]:
        kind = f"fitted, {report['axes']:,} of {report['dim']:,} axes, center {'yes' if report['center'] else 'no'}"
    compression = f"{report['compression_float32']:.3g} times smaller than float32 ({4 * report['dim']:,} bytes)"
    sections = Table("section", "offset", "bytes", "crc32", box=None, pad_edge=False, header_style="bold")
    for column in sections.columns[1:]:
        column.justify = "right"
    for section in report["sections"]:
        sections.add_row(section["name"], f"{section['offset']:,}", f"{section['bytes']:,}", section["crc32"] or "")
    return [
        facts(
            [
                ("file", f"{report['file']}, {report['kind']}, {size(report['bytes'])}"),
                ("vectors", f"{number} of {report['dim']:,} dimensions"),
                ("bits", bits),
                ("codec", f"{kind}, {size(report['codec_bytes'])}"),
                (
                    "choices",
                    f"seed {report['seed']}, {report['rotation']}, scale {report['scale']}, refine {report['refine']}",
                ),
                ("fingerprint", report["fingerprint"]),
                ("bytes per vector", f"{report['bytes_per_vector']:,}: {compression}"),
                ("checksums", "right" if report["verified"] else "header right; --verify checks the rest"),
            ]
        ),
        "",
        sections,
    ]


def _array(array: Vectors) -> dict[str, Any]:
    fault = array.fault()
    return {
        "name": array.name,
        "key": array.key if isinstance(array, NpzVectors) else None,
        "shape": list(array.shape),
        "dtype": str(array.dtype),
        "order": "column-major" if array.fortran else "row-major",
        "bytes": array.nbytes,
        "fault": fault,
        "encoded": [] if fault else [_cost(array, bits) for bits in range(1, 9)],
    }


def _cost(array: Vectors, bits: int) -> dict[str, Any]:
    from ..evaluation.metrics import theory_distortion

    rows, dim = array.shape
    codec = TurboQuant(dim, bits)
    per_vector = codec.bytes_per_vector()
    return {
        "bits": bits,
        "bytes_per_vector": per_vector,
        "bytes": rows * per_vector,
        "compression_float32": 4 * dim / per_vector,
        # One dimension is a sign and the norm: exact.
        "theory_distortion": theory_distortion(bits, dim) if dim > 1 else 0.0,
    }


def _array_parts(report: dict[str, Any]) -> list[Any]:
    shape = " × ".join(f"{n:,}" for n in report["shape"]) or "one value"
    what = f"{shape}, {report['dtype']}, {report['order']}, {size(report['bytes'])}"
    if report["fault"]:
        return [facts([("array", report["name"]), ("holds", what), ("cannot encode", report["fault"])]), ""]
    table = Table(
        "bits", "bytes per vector", "file", "× float32", "distortion", box=None, pad_edge=False, header_style="bold"
    )
    for column in table.columns:
        column.justify = "right"
    for cost in report["encoded"]:
        table.add_row(
            str(cost["bits"]),
            f"{cost['bytes_per_vector']:,}",
            size(cost["bytes"]),
            f"{cost['compression_float32']:.3g}",
            f"{cost['theory_distortion']:.3g}",
        )
    note = "distortion: mean |x − x̂|²/|x|² that theory predicts; × float32: how many times smaller than float32"
    return [facts([("array", report["name"]), ("holds", what)]), "", table, note, ""]
