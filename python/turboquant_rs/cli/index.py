"""`turboquant index` and `turboquant verify`: vectors to an index file, a block at a time; checksums of files."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import Index, TurboQuant, simd
from .._arrays import BLOCK_BYTES
from .._rates import shown
from ..codes import Codes
from ..paper_codes import PaperCodes
from ._options import Bar, Force, Json, Key, Metric, Quiet, Seed, Threads
from ._output import Failure, facts, progress, rate, show, size, write_json
from .inputs import kind_of, open_array, require
from .targets import check_codes_target


def index(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Vectors: .npy or .npz.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Index file to write, usually named .tqi.")],
    bits: Annotated[
        int | None, typer.Option("--bits", "-b", metavar="N", min=1, max=8, help="Bits a coordinate, by default 4.")
    ] = None,
    metric: Annotated[
        Metric, typer.Option("--metric", metavar="NAME", help="ip (inner product, the default), cosine or l2.")
    ] = Metric.ip,
    codec_file: Annotated[
        Path | None,
        typer.Option("--codec", metavar="FILE", help="Use the codec of turboquant fit, or of a file of codes."),
    ] = None,
    seed: Seed = 0,
    key: Key = None,
    threads: Threads = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    bar: Bar = None,
) -> None:
    """Make an index file of the vectors of a .npy or .npz file; ids are their row numbers, from 0.

    The input is streamed, the index is held in memory until it is written. OUT appears when it is complete.
    """
    vectors = open_array(source, key)
    require(vectors)
    check_codes_target(target, force, (source,))
    rows, dim = vectors.shape
    if codec_file is None:
        codec = TurboQuant(dim, 4 if bits is None else bits, seed=seed)
    elif bits is not None or seed != 0:
        raise Failure("--codec brings its own bits and seed; leave --bits and --seed out", 2)
    elif kind_of(codec_file) != "codes":
        raise Failure(f"{codec_file} holds no codec; make one with turboquant fit")
    else:
        codec = TurboQuant.load(codec_file)
        if codec.dim != dim:
            raise Failure(f"{codec_file} is a codec of {codec.dim:,} dimensions, {vectors.name} has {dim:,}")
    made = Index(codec=codec, metric=metric.value)
    start = time.perf_counter()
    with progress(f"index {source.name}", rows, False if quiet else bar) as advance:
        for block in vectors.blocks(max(1, BLOCK_BYTES // (4 * dim))):
            try:
                made.add(block, threads=threads)
            except ValueError as error:
                # The index counts rows from the block's first.
                text = re.sub(r" at row (\d+)", lambda row: f" at row {len(made) + int(row[1])}", str(error))
                advice = "; repair or drop that row" if " at row " in text else ""
                raise Failure(vectors.name + text.removeprefix("x") + advice) from None
            advance(len(block))
    made.save(target)
    report = {"input": vectors.name, "output": str(target), **describe(made), "bytes": target.stat().st_size}
    report |= {"seconds": time.perf_counter() - start, "threads": threads, "simd": simd.level()}
    if json:
        write_json(report)
    elif not quiet:
        speed = f"{report['seconds']:.3g} s, {rate(rows / report['seconds'])} vectors/s"
        show(facts([("wrote", f"{target}, {size(report['bytes'])}"), *facts_of(report), ("time", speed)]))


def merge(
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Index file to write, usually named .tqi.")],
    sources: Annotated[list[Path], typer.Argument(metavar="IN...", help="Index files of one codec and metric.")],
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Merge index files into one, as they are coded: nothing is encoded again.

    Ids must be distinct. Removed vectors are left out. OUT appears when it is complete; the inputs are not changed.
    """
    check_codes_target(target, force, tuple(sources))
    start = time.perf_counter()
    made = open_indexes(sources)
    if made.info()["removed"]:
        made.compact()
    made.save(target)
    report = {"inputs": [str(path) for path in sources], "output": str(target), **describe(made)}
    report |= {"bytes": target.stat().st_size, "seconds": time.perf_counter() - start}
    if json:
        write_json(report)
    elif not quiet:
        show(facts([("wrote", f"{target}, {size(report['bytes'])}"), *facts_of(report)]))


def open_indexes(paths: list[Path]) -> Index:
    """Map index files, several as one."""
    wrong = next((path for path in paths if kind_of(path) != "index"), None)
    if wrong is not None:
        raise Failure(f"{wrong} is no index file; make one with turboquant index", 2)
    return Index.open(paths)


def verify(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="Index file or file of codes.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare all of a file with its checksums; damage is an error that names section and offset."""
    kind = kind_of(path)
    if kind == "index":
        Index.open(path).verify()
    elif kind == "codes":
        Codes.load(path, mmap=True)
    elif kind == "paper codes":
        PaperCodes.load(path)
    else:
        raise Failure(f"{path} is a .{kind} file, which has no checksums to compare", 2)
    length = path.stat().st_size
    if json:
        write_json({"file": str(path), "kind": kind, "bytes": length, "verified": True})
    elif not quiet:
        show(f"{path}: {size(length)}, every checksum is right")


def describe(index: Index) -> dict[str, Any]:
    """What an index is, for reports."""
    return {
        "vectors": len(index),
        "dim": index.dim,
        "bits": index.bits,
        "metric": index.metric,
        "fitted": index.codec.fitted,
        "plain_rows": index.plain_rows,
        "seed": index.codec.seed,
        "rotation": index.codec.rotation,
        "scale": index.codec.scale,
        "fingerprint": f"{index.codec.fingerprint:016x}",
        "index_bytes": index.nbytes,
    }


def facts_of(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The lines of a description."""
    codec = f"{shown(report['bits'])} bits{' fitted' if report['fitted'] else ''}, seed {report['seed']}"
    codec += f", {report['rotation']}, scale {report['scale']}, fingerprint {report['fingerprint']}"
    return [
        ("vectors", f"{report['vectors']:,} of {report['dim']:,} dimensions"),
        ("metric", report["metric"]),
        ("codec", codec),
        ("in memory", size(report["index_bytes"])),
    ]
