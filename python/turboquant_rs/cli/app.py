"""The commands, and what becomes of their errors."""

from __future__ import annotations

import contextlib
import errno
import inspect
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .. import CorruptError, __version__
from ._output import Failure, show_error
from .demo import demo
from .encode import encode
from .fit import fit
from .index import index, merge, verify
from .info import info
from .search import search

#: What the library raises for inputs; anything else is a fault of the program.
_EXPECTED = (Failure, ValueError, TypeError, OSError, MemoryError)

_ADVICE = {
    errno.ENOSPC: "; free some space, or write to another disk",
    errno.EDQUOT: "; free some space, or write to another disk",
    errno.EACCES: "; change its permissions, or name another file",
}


class Commands(TyperGroup):
    """The group of commands; ends every error with one line on stderr and a status, never with a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; Ctrl-C becomes an error with the status that shells expect."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Failure("interrupted; nothing was written", 130) from None

    def main(self, args: Any = None, *rest: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Parse arguments and run; with ``standalone_mode`` end the process."""
        arguments = list(sys.argv[1:] if args is None else args)
        # Taken out here, so that it may stand after the command too.
        debug = "--debug" in arguments
        status = self._guarded([word for word in arguments if word != "--debug"], debug, *rest, **kwargs)
        if standalone_mode:
            sys.exit(status)
        return status

    def _guarded(self, args: list[str], debug: bool, *rest: Any, **kwargs: Any) -> int:
        try:
            status = super().main(args, *rest, **kwargs | {"standalone_mode": False})
            sys.stdout.flush()
            return status if isinstance(status, int) else 0
        except (SystemExit, GeneratorExit):
            raise
        except BrokenPipeError:
            # The reader has seen enough. Python flushes stdout once more at exit, which must not fail either.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except BaseException as error:
            if debug:
                traceback.print_exc()
            show_error(_message(error))
            return _status(error)


def _message(error: BaseException) -> str:
    if hasattr(error, "format_message"):
        # Typer's errors of usage; which class they have depends on its version.
        command = getattr(getattr(error, "ctx", None), "command_path", "turboquant")
        # Newer ones put the name of the exception before the text.
        text = error.format_message().replace(": Value error, ", ": ").rstrip(".")
        return f"{text}; see {command} --help"
    if isinstance(error, typer.Abort):
        return "interrupted"
    if isinstance(error, CorruptError):
        return f"{error}; make the file again from the vectors, or copy it again"
    if isinstance(error, MemoryError):
        return f"not enough memory ({error}); use fewer queries or a smaller k"
    if isinstance(error, OSError) and error.strerror:
        advice = _ADVICE.get(error.errno or 0, "")
        return f"{error.filename}: {error.strerror}{advice}" if error.filename else error.strerror + advice
    if isinstance(error, _EXPECTED):
        return str(error)
    return f"a fault of turboquant ({type(error).__name__}: {error}); --debug shows where, please report it"


def _status(error: BaseException) -> int:
    code = getattr(error, "code", getattr(error, "exit_code", 1))
    return code if isinstance(code, int) else 1


def _terminated(number: int, frame: FrameType | None) -> None:
    """End by an exception, so that files in the making are removed."""
    sys.exit(128 + number)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"turboquant {__version__}")
        raise typer.Exit


def _options(
    ctx: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Compress vectors to 1–8 bits a coordinate, with or without a fit, and search the codes.

    The method is TurboQuant (arXiv 2504.19874).
    """
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


app = typer.Typer(
    name="turboquant",
    cls=Commands,
    callback=_options,
    invoke_without_command=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _help(command: Callable[..., None]) -> str:
    """Return a command's docstring, its paragraphs unbroken: typer would keep the line ends of the source."""
    paragraphs = (inspect.getdoc(command) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


for _command in (fit, encode, index, merge, search, info, verify, demo):
    app.command(help=_help(_command))(_command)


def run() -> None:
    """Run the command line of this process."""
    for stream in (sys.stdout, sys.stderr):
        # Terminals that lack a character show "?" for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    for name in ("SIGTERM", "SIGHUP"):
        # What is ignored, as SIGHUP is under nohup, stays ignored.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), _terminated)
    app(prog_name="turboquant")
