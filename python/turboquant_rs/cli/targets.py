"""Output files: what is refused before the work starts."""

from __future__ import annotations

import os
from pathlib import Path

from ._output import Failure


def check_codes_target(target: Path, force: bool, inputs: tuple[Path, ...]) -> None:
    """Refuse a file of codes as `check_target` does, or if it is named like another kind of file."""
    if target.suffix.lower() in (".npy", ".npz"):
        name = target.with_suffix(".tq")
        raise Failure(f"{target} would be a file of codes, not a {target.suffix} file; name it {name}", 2)
    check_target(target, force, inputs)


def check_target(target: Path, force: bool, inputs: tuple[Path, ...]) -> None:
    """Refuse a target that is an input, is taken, or cannot be written."""
    if str(target) == "-":
        # Elsewhere it stands for stdout, which cannot take a file whose header is written last.
        raise Failure("- is no name of a file here, and nothing is written to stdout; name a file", 2)
    if target.is_dir():
        raise Failure(f"{target} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise Failure(f"the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK):
        raise Failure(f"the folder {target.parent} cannot be written; choose another, or change its permissions")
    if not target.exists():
        return
    if any(path.exists() and target.samefile(path) for path in inputs):
        raise Failure(f"{target} is an input; give another name", 2)
    if not force:
        raise Failure(f"{target} exists; give --force to overwrite it, or another name")
