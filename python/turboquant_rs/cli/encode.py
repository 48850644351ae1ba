"""`turboquant encode`: vectors to a file of codes, a block at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from .. import simd
from .._arrays import BLOCK_BYTES, as_refine, as_rows
from .._files import writing
from .._rates import shown
from ..codec import TurboQuant
from ..codes import Codes
from ._options import Bar, Force, Json, Key, Quiet, Refine, Scale, Seed, Threads
from ._output import Failure, facts, progress, rate, show, size, write_json
from .fit import fitted
from .inputs import Vectors, kind_of, open_array, require
from .targets import check_codes_target


def encode(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="Vectors: .npy, or .npz (any real dtype, byte order, row- or column-major)."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File of codes to write, usually named .tq.")],
    bits: Annotated[
        float | None,
        typer.Option(
            "--bits",
            "-b",
            metavar="N",
            help="Bits a coordinate, 1 to 8, by default 4; with --fit any average, by default 2.",
        ),
    ] = None,
    fit: Annotated[
        bool, typer.Option("--fit", help="Fit the codec first, to IN or to --sample: more recall in the same bytes.")
    ] = False,
    sample: Annotated[
        Path | None, typer.Option("--sample", metavar="FILE", help="Fit to these vectors instead (implies --fit).")
    ] = None,
    codec_file: Annotated[
        Path | None,
        typer.Option("--codec", metavar="FILE", help="Use the codec of turboquant fit, or of a file of codes."),
    ] = None,
    seed: Seed = 0,
    scale: Annotated[
        Scale | None,
        typer.Option(
            "--scale",
            metavar="NAME",
            help="unbiased (for search, the default), mse (least error), matched (keeps norms) or paper (the norm "
            "alone); --fit chooses by itself.",
        ),
    ] = None,
    refine: Annotated[
        Refine | None,
        typer.Option(
            "--refine",
            metavar="N",
            help="Scales to try for each vector, 0 (the default), 8, 16 or 32: less distortion, slower; --fit chooses "
            "by itself.",
        ),
    ] = None,
    key: Key = None,
    threads: Threads = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
    bar: Bar = None,
) -> None:
    """Encode vectors of a .npy or .npz file to 1–8 bits a coordinate.

    The input is streamed, so it may be larger than memory. OUT appears when it is complete; an error or Ctrl-C leaves
    nothing.
    """
    vectors = open_array(source, key)
    require(vectors)
    check_codes_target(target, force, (source,))
    rows, dim = vectors.shape
    choices = {
        "seed": seed,
        "scale": None if scale is None else scale.value,
        "refine": None if refine is None else int(refine.value),
    }
    codec = _codec(vectors, bits, codec_file, choices, fit=fit, sample=sample, threads=threads, quiet=quiet or json)
    start = time.perf_counter()
    with (
        writing(target, codec, rows) as writer,
        progress(f"encode {source.name}", rows, False if quiet else bar) as advance,
    ):
        first = 0
        for block in vectors.blocks(max(1, BLOCK_BYTES // (4 * dim))):
            writer.write(encode_block(codec, block, vectors.name, first, threads))
            first += len(block)
            advance(len(block))
    report = _report(vectors, target, codec, time.perf_counter() - start, threads)
    found = codec.report() if fit or sample is not None else None
    if json:
        write_json(report | ({} if found is None else {"fit": found.as_dict()}))
    elif not quiet:
        show(_summary(report), *([] if found is None else ["", str(found)]))


def _codec(
    vectors: Vectors,
    bits: float | None,
    codec_file: Path | None,
    choices: dict[str, Any],
    *,
    fit: bool,
    sample: Path | None,
    threads: int | None,
    quiet: bool,
) -> TurboQuant:
    """Return the codec that the options ask for: from a file, fitted, or plain."""
    dim = vectors.shape[1]
    if codec_file is not None:
        if fit or sample is not None or bits is not None or choices != {"seed": 0, "scale": None, "refine": None}:
            raise Failure("--codec brings its own bits, seed, scale and refine; leave --fit and these options out", 2)
        if (kind := kind_of(codec_file)) != "codes":
            what = "codes of another paper's codec" if kind == "paper codes" else "vectors"
            raise Failure(f"{codec_file} holds {what}, not a codec; make one with turboquant fit")
        codec = TurboQuant.load(codec_file)
        if codec.dim != dim:
            raise Failure(
                f"{codec_file} is a codec of {codec.dim:,} dimensions, {vectors.name} has {dim:,}; fit another"
            )
        return codec
    refine = choices["refine"] or False
    if fit or sample is not None:
        if choices["scale"] == "paper":
            raise Failure("--scale paper is for plain codecs; leave it out with --fit", 2)
        source = vectors if sample is None else open_array(sample)
        require(source)
        if source.shape[1] != dim:
            raise Failure(
                f"{source.name} has {source.shape[1]:,} dimensions, {vectors.name} has {dim:,}; sample it again"
            )
        options = {"seed": choices["seed"], "scale": choices["scale"] or "auto", "threads": threads}
        options["refine"] = "auto" if choices["refine"] is None else refine
        return fitted(source, 2.0 if bits is None else bits, quiet=quiet, **options)
    whole = 4.0 if bits is None else bits
    if whole not in range(1, 9):
        raise Failure(f"--bits must be a whole number from 1 to 8, got {whole:g}; with --fit it may be any average", 2)
    return TurboQuant(
        dim, int(whole), seed=choices["seed"], scale=choices["scale"] or "unbiased", refine=as_refine(refine)
    )


def encode_block(codec: TurboQuant, block: NDArray[Any], name: str, first_row: int, threads: int | None) -> Codes:
    """Encode some rows of a longer input; errors name the input and its rows."""
    try:
        return codec._encode(as_rows(block, "x", codec.dim, "codec"), threads, first_row=first_row)[0]
    except ValueError as error:
        message = str(error)
        advice = "; repair or drop that row" if " at row " in message else ""
        raise Failure(name + message.removeprefix("x") + advice) from None


def _report(vectors: Vectors, target: Path, codec: TurboQuant, seconds: float, threads: int | None) -> dict[str, Any]:
    rows, dim = vectors.shape
    per_vector = codec.bytes_per_vector()
    return {
        "input": vectors.name,
        "output": str(target),
        "vectors": rows,
        "dim": dim,
        "dtype": str(vectors.dtype),
        "bits": codec.bits,
        "fitted": codec.fitted,
        "seed": codec.seed,
        "scale": codec.scale,
        "refine": int(codec.refine),
        "fingerprint": f"{codec.fingerprint:016x}",
        "bytes_per_vector": per_vector,
        "bytes": target.stat().st_size,
        "compression_float32": 4 * dim / per_vector,
        "compression_input": vectors.dtype.itemsize * dim / per_vector,
        "seconds": seconds,
        "vectors_per_second": rows / seconds,
        "threads": threads,
        "simd": simd.level(),
    }


def _summary(report: dict[str, Any]) -> Any:
    dim, per_vector, dtype = report["dim"], report["bytes_per_vector"], report["dtype"]
    compression = f"{report['compression_float32']:.3g} times smaller than float32 ({4 * dim:,} bytes)"
    if dtype != "float32":
        compression += f", {report['compression_input']:.3g} times than {dtype}"
    codes = f"{shown(report['bits'])} bits{' fitted' if report['fitted'] else ''}, scale {report['scale']}"
    codes += f", refine {report['refine']}" if report["refine"] else ""
    threads = "one thread a core" if report["threads"] is None else f"{report['threads']} thread(s)"
    speed = f"{rate(report['vectors_per_second'])} vectors/s ({threads}, {report['simd']})"
    return facts(
        [
            ("wrote", f"{report['output']}, {size(report['bytes'])}"),
            ("vectors", f"{report['vectors']:,} of {dim:,} dimensions"),
            ("codes", f"{codes}, fingerprint {report['fingerprint']}"),
            ("bytes per vector", f"{per_vector:,}: {compression}"),
            ("encoding time", f"{report['seconds']:.3g} s, {speed}"),
        ]
    )
