"""`turboquant encode`: vectors to a file of codes, a block at a time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray

from .. import simd
from .._arrays import BLOCK_BYTES
from .._files import writing
from ..codec import TurboQuant
from ..codes import Codes
from ._options import Bar, Force, Json, Key, Quiet, Refine, Scale, Seed, Threads
from ._output import Failure, facts, progress, rate, show, size, write_json
from .inputs import Vectors, open_array, require
from .targets import check_codes_target


def encode(
    source: Annotated[
        Path,
        typer.Argument(metavar="IN", help="Vectors: .npy, or .npz (any real dtype, byte order, row- or column-major)."),
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File of codes to write, usually named .tq.")],
    bits: Annotated[int, typer.Option("--bits", "-b", metavar="N", min=1, max=8, help="Bits a coordinate.")] = 4,
    seed: Seed = 0,
    scale: Annotated[
        Scale,
        typer.Option(
            "--scale",
            metavar="NAME",
            help="unbiased (for search), mse (least error), matched (keeps norms) or paper (the norm alone).",
        ),
    ] = Scale.unbiased,
    refine: Annotated[
        Refine,
        typer.Option(
            "--refine", metavar="N", help="Scales to try for each vector, 0, 8, 16 or 32: less distortion, slower."
        ),
    ] = Refine.off,
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
    tries = int(refine.value)
    codec = TurboQuant(dim, bits, seed=seed, scale=scale.value, refine=tries or False)  # type: ignore[arg-type]
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
    if json:
        write_json(report)
    elif not quiet:
        show(_summary(report))


def encode_block(codec: TurboQuant, block: NDArray[Any], name: str, first_row: int, threads: int | None) -> Codes:
    """Encode some rows of a longer input; errors name the input and its rows."""
    try:
        return codec._encode(block, threads, first_row=first_row)[0]
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
    codes = f"{report['bits']} bits, scale {report['scale']}"
    codes += f", refine {report['refine']}" if report["refine"] else ""
    threads = "one thread a core" if report["threads"] is None else f"{report['threads']} thread(s)"
    speed = f"{rate(report['vectors_per_second'])} vectors/s ({threads}, {report['simd']})"
    return facts(
        [
            ("wrote", f"{report['output']}, {size(report['bytes'])}"),
            ("vectors", f"{report['vectors']:,} of {dim:,} dimensions"),
            ("codes", f"{codes}, fingerprint {report['fingerprint']}"),
            ("bytes per vector", f"{per_vector:,}: {compression}"),
            ("time", f"{report['seconds']:.3g} s, {speed}"),
        ]
    )
