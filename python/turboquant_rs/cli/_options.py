"""Options that several commands take."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, TypeAlias

import typer


class Scale(str, Enum):
    """Values of --scale."""

    unbiased = "unbiased"
    mse = "mse"
    matched = "matched"
    paper = "paper"


class Refine(str, Enum):
    """Values of --refine."""

    off = "0"
    r8 = "8"
    r16 = "16"
    r32 = "32"


class Metric(str, Enum):
    """Values of --metric."""

    ip = "ip"
    cosine = "cosine"
    l2 = "l2"


def _seed(value: int) -> int:
    # Not min and max: the help would show twenty digits.
    if not 0 <= value < 1 << 64:
        raise typer.BadParameter(f"must be from 0 to 2**64 − 1, got {value}")
    return value


Seed: TypeAlias = Annotated[
    int, typer.Option("--seed", metavar="N", callback=_seed, help="Seed of the rotation, 0 to 2**64 − 1.")
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Force: TypeAlias = Annotated[bool, typer.Option("--force", "-f", help="Overwrite the output file.")]
Key: TypeAlias = Annotated[
    str | None, typer.Option("--key", metavar="NAME", help="Array in a .npz file, where it has several.")
]
Threads: TypeAlias = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, max=4096, help="Threads; by default one a core.")
]
Bar: TypeAlias = Annotated[
    bool | None,
    typer.Option("--progress/--no-progress", help="Show a progress bar on stderr; by default on a terminal."),
]
