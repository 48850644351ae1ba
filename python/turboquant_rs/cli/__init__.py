"""The command `turboquant`, a module a part. Needs typer and rich: pip install 'turboquant-rs[cli]'."""

from __future__ import annotations

import sys

_NEEDED = ("typer", "click", "rich")


def main() -> None:
    """Run the command line; ends the process."""
    try:
        from .app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.exit(f"turboquant: {error.name} is missing; pip install 'turboquant-rs[cli]'")
    run()
