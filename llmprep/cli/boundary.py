"""``main``: runs a command and turns whatever happens into one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

import typer

from llmprep.cli.commands import app
from llmprep.cli.show import finish_stdout, print_error
from llmprep.errors import InputError, LlmprepError, OutputError, ReaderGoneError, UsageError

STOPPING = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def main() -> NoReturn:
    """Run the command line and exit."""
    _buffer_stdout()
    code = run(sys.argv[1:])
    # Threads and tables of torch take tenths of a second to tear down, and all that matters is written.
    sys.stdout and sys.stdout.flush()
    sys.stderr and sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. The only place where errors are caught."""
    _catch_signals()
    try:
        if sys.stdout is None:
            raise OutputError("standard output is closed; redirect it to /dev/null if it is not wanted")
        code = app(list(arguments) or ["--help"], prog_name="llmprep", standalone_mode=False)
        finish_stdout()
    except BaseException as error:
        if os.environ.get("LLMPREP_DEBUG") == "1" and not isinstance(error, SystemExit):
            raise
        return _report(error)
    if not arguments:
        return UsageError.exit_code
    return code if isinstance(code, int) else 0


def _report(error: BaseException) -> int:
    match error:
        case _ if _is_reader_gone(error):
            return _abandon_stdout(ReaderGoneError.exit_code)
        case SystemExit(code=code):
            return code if isinstance(code, int) else 1
        case KeyboardInterrupt():
            return STOPPING["SIGINT"]
        case LlmprepError():
            print_error(str(error))
            return _abandon_stdout(error.exit_code) if isinstance(error, OutputError) else error.exit_code
        case typer.TyperException():
            command = getattr(getattr(error, "ctx", None), "command_path", "llmprep")
            print_error(f"{error.format_message().strip().rstrip('.')}; see {command} --help")
            return error.exit_code
        case _ if _is_memory(error):
            print_error(
                "out of memory; lower --jobs, --max-length, --dim or --batch-size, use a smaller --dtype, "
                "or raise the limit (ulimit -v)"
            )
            return LlmprepError.exit_code
        case OSError():
            print_error(f"{error.filename or 'input/output'}: {error.strerror or error}")
            return _abandon_stdout(InputError.exit_code)
        case _:
            print_error(
                f"internal error, {type(error).__name__}: {error}; please report it, with what LLMPREP_DEBUG=1 prints"
            )
            return LlmprepError.exit_code


def _is_reader_gone(error: BaseException) -> bool:
    """Tell whether standard output has lost its reader; typer, when it prints help, makes that a SystemExit."""
    by_typer = isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    return by_typer or isinstance(error, ReaderGoneError)


def _is_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out; torch and the loader of libraries say so only in words."""
    words = (
        "allocate memory",
        "not enough memory",
        "failed to map segment",
        "cannot allocate",
        "can't allocate",
        "can't start new thread",
        "bad_alloc",
    )
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _buffer_stdout() -> None:
    """Buffer what PYTHONUNBUFFERED leaves bare: Python then drops what the system does not take at once."""
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(1, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115


def _abandon_stdout(code: int) -> int:
    """Let nothing try to flush a broken standard output again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code


def _catch_signals() -> None:
    """Let the first signal unwind the stack, so that temporary files go; ignore those that follow."""

    def ignore(_: int, __: FrameType | None) -> None:
        """Do nothing; SIG_IGN would have Python complain of a signal that came together with the first."""

    def stop(number: int, _: FrameType | None) -> None:
        for name in STOPPING:
            signal.signal(getattr(signal, name), ignore)
        raise SystemExit(STOPPING[signal.Signals(number).name])

    for name in STOPPING:
        if signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), stop)
