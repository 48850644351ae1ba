"""What the commands print: errors, JSON, progress, and numbers as people read them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text


class Failure(Exception):  # noqa: N818 - it is shown to people, who see only its text
    """An error for the user: one line that says what is wrong and what to do.

    Parameters
    ----------
    message : str
    code : int
        Exit status: 1, or 2 where the command was written wrongly.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


def show_error(message: str) -> None:
    """Print one line on stderr, red on a terminal."""
    line = Text("error: ", style="bold red", end="")
    line.append(" ".join(message.split()), style="red")
    # soft_wrap keeps the line one line where the output is a file or a pipe.
    Console(stderr=True).print(line, soft_wrap=True)


def show_note(message: str) -> None:
    """Print one line on stderr that is no error."""
    Console(stderr=True).print(Text(message), soft_wrap=True)


def write_json(value: Any) -> None:
    """Print a value as one line of strict JSON on stdout."""
    sys.stdout.write(json.dumps(value, allow_nan=False) + "\n")


def show(*parts: Any) -> None:
    """Print tables and texts on stdout."""
    console = Console(highlight=False)
    for part in parts:
        console.print(Text(part) if isinstance(part, str) else part)


def facts(pairs: list[tuple[str, str]]) -> Table:
    """Names and values in two columns without lines."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, Text(value))
    return table


def size(count: float) -> str:
    """Bytes with a decimal unit: 1 GB is 10**9 bytes.

    >>> size(999), size(1_024_000_128)
    ('999 B', '1.02 GB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"


def rate(count: float) -> str:
    """Things a second to three digits.

    >>> rate(1_234_567), rate(98.76)
    ('1,230,000', '98.8')
    """
    if count < 1000:
        return f"{count:.3g}"
    digits = 10 ** (len(str(int(count))) - 3)
    return f"{round(count / digits) * digits:,}"


@contextlib.contextmanager
def progress(title: str, total: int, wanted: bool | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr and yield what moves it on; on a terminal only, unless `wanted` says otherwise."""
    # Asked for where no terminal is seen, as in some editors, the bar is drawn as on one.
    console = Console(stderr=True, force_terminal=wanted)
    if not (console.is_terminal if wanted is None else wanted):
        yield lambda done: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} vectors"),
        TextColumn("{task.fields[speed]}/s"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True, transient=True) as bar:
        task = bar.add_task(title, total=total, speed="–")

        def advance(done: int) -> None:
            bar.update(task, advance=done)
            speed = bar.tasks[0].finished_speed or bar.tasks[0].speed
            bar.update(task, speed=rate(speed) if speed else "–")

        yield advance
