"""`turboquant fit`: a codec from a sample of vectors."""

from __future__ import annotations

import warnings
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from .._arrays import BLOCK_BYTES
from ..codec import TurboQuant
from ..fit import FitWarning
from ._options import Force, Json, Key, Metric, Quiet, Seed, Threads
from ._output import Failure, facts, show, show_note, size, write_json
from .inputs import NpyVectors, Vectors, open_array, require
from .targets import check_target


class FitScale(str, Enum):
    """Values of --scale."""

    auto = "auto"
    unbiased = "unbiased"
    mse = "mse"
    matched = "matched"


class FitRefine(str, Enum):
    """Values of --refine."""

    auto = "auto"
    off = "0"
    r8 = "8"
    r16 = "16"
    r32 = "32"


class Center(str, Enum):
    """Values of --center."""

    auto = "auto"
    on = "on"
    off = "off"


def fit(
    sample: Annotated[
        Path, typer.Argument(metavar="SAMPLE", help="Vectors like those to be encoded: .npy, or .npz; 256 or more.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File of the codec to write, usually named .tqc.")],
    bits: Annotated[
        float, typer.Option("--bits", "-b", metavar="N", help="Bits a coordinate on average, up to 8: 2, 1.5, 0.25 …")
    ] = 2.0,
    queries: Annotated[
        Path | None,
        typer.Option("--queries", metavar="FILE", help="Queries, where they are distributed unlike the vectors."),
    ] = None,
    metric: Annotated[
        Metric, typer.Option("--metric", metavar="NAME", help="ip, cosine or l2: how neighbours are found.")
    ] = Metric.ip,
    center: Annotated[
        Center, typer.Option("--center", metavar="NAME", help="Take the mean off: auto (where it helps), on or off.")
    ] = Center.auto,
    scale: Annotated[
        FitScale, typer.Option("--scale", metavar="NAME", help="auto, unbiased, mse (least error) or matched.")
    ] = FitScale.auto,
    refine: Annotated[
        FitRefine,
        typer.Option("--refine", metavar="N", help="Scales to try for each vector: auto, 0, 8, 16 or 32."),
    ] = FitRefine.auto,
    seed: Seed = 0,
    key: Key = None,
    threads: Threads = None,
    force: Force = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fit a codec to a sample: more recall in the same bytes.

    A quarter of the sample is held out; what is printed is measured on it. `turboquant encode --codec OUT` uses the
    codec. The sample is streamed, so it may be larger than memory (.npy).
    """
    vectors = open_array(sample, key)
    require(vectors)
    asked = None if queries is None else open_array(queries, None)
    if asked is not None:
        require(asked)
    check_target(target, force, (sample,) if queries is None else (sample, queries))
    codec = fitted(
        vectors,
        bits,
        quiet=quiet or json,
        queries=None if asked is None else whole(asked),
        metric=metric.value,
        center={"auto": "auto", "on": True, "off": False}[center.value],
        scale=scale.value,
        refine="auto" if refine is FitRefine.auto else int(refine.value) or False,
        seed=seed,
        threads=threads,
    )
    codec.save(target)
    report = codec.report().as_dict() | {
        "sample": vectors.name,
        "output": str(target),
        "bytes": target.stat().st_size,
        "fingerprint": f"{codec.fingerprint:016x}",
    }
    if json:
        write_json(report)
    elif not quiet:
        show(facts([("wrote", f"{target}, {size(report['bytes'])}, fingerprint {report['fingerprint']}")]))
        show(str(codec.report()))


def fitted(vectors: Vectors, bits: float, *, quiet: bool, **options: Any) -> TurboQuant:
    """Fit; warnings become notes on stderr, errors name the file."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FitWarning)
        try:
            codec = TurboQuant.fit(whole(vectors), bits, **options)
        except ValueError as error:
            message = str(error)
            raise Failure(
                vectors.name + message.removeprefix("sample") if message.startswith("sample") else message
            ) from None
    for warning in caught:
        if not quiet and issubclass(warning.category, FitWarning):
            show_note(f"note: {warning.message}")
    return codec


def whole(vectors: Vectors) -> NDArray[Any]:
    """Return the array of a file: mapped from a .npy file, read from a .npz file."""
    if isinstance(vectors, NpyVectors):
        return next(vectors.blocks(max(1, vectors.shape[0])), np.empty(vectors.shape, vectors.dtype))
    return np.concatenate(
        list(vectors.blocks(max(1, BLOCK_BYTES // (4 * vectors.shape[1])))) or [np.empty(vectors.shape)]
    )
