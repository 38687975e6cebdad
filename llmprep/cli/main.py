"""``main``: runs a command and turns whatever happens into one line and an exit code."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from llmprep.cli.colours import choice_in
from llmprep.cli.printer import ERROR_COLOR, finish_stdout, print_error
from llmprep.cli.stopping import CODES, stoppable
from llmprep.errors import InputError, LlmprepError, OutputError, ReaderGoneError, UsageError, shorten


def main() -> NoReturn:
    """Run the command line and exit."""
    _buffer_stdout()
    code = run(sys.argv[1:])
    if "llmprep.output.temporary" in sys.modules:  # a thread that is still at work may have a file
        from llmprep.output.temporary import remove_temporaries

        remove_temporaries()
    # Threads and tables of torch take tenths of a second to tear down, and all that matters is written.
    sys.stdout and sys.stdout.flush()
    sys.stderr and sys.stderr.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; return its exit code. The only place where errors are caught."""
    ERROR_COLOR.set(choice_in(arguments))
    try:
        with stoppable():
            code = _run(arguments)
    except BaseException as error:
        if os.environ.get("LLMPREP_DEBUG") == "1" and not isinstance(error, SystemExit):
            raise
        return _report(error, arguments)
    if not arguments:
        return UsageError.exit_code
    return code if isinstance(code, int) else 0


def _run(arguments: Sequence[str]) -> object:
    if sys.stdout is None:
        raise OutputError("standard output is closed; redirect it to /dev/null if it is not wanted")
    from llmprep.cli.app import app  # after signals are caught: the import takes as long as a key stroke

    code = app(_as_options(arguments), prog_name="llmprep", standalone_mode=False)
    finish_stdout()
    return code


def _as_options(arguments: Sequence[str]) -> list[str]:
    """Return ``help COMMAND``, and no word at all, in the form that Typer knows."""
    match arguments:
        case [] | ["help"] | ["help", "help"]:
            return ["--help"]
        case ["help", str(command), *_]:
            return [command, "--help"]
        case _:
            return list(arguments)


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    library = _unloadable(error)
    if library is not None:
        reason = shorten(" ".join(str(error).split()) or type(error).__name__, 300)
        print_error(f"{library} cannot be loaded: {reason}; reinstall it: pip install --force-reinstall {library}")
        return LlmprepError.exit_code
    return _report_own(error, arguments)


def _report_own(error: BaseException, arguments: Sequence[str]) -> int:
    import typer

    match error:
        case _ if _is_reader_gone(error):
            return _abandon_stdout(ReaderGoneError.exit_code)
        case SystemExit(code=code):
            return code if isinstance(code, int) else 1
        case KeyboardInterrupt():
            return CODES["SIGINT"]
        case LlmprepError():
            print_error(str(error))
            return _abandon_stdout(error.exit_code) if isinstance(error, OutputError) else error.exit_code
        case typer.TyperException():
            from llmprep.cli.help import explain_usage

            print_error(explain_usage(error, arguments))
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


def _unloadable(error: BaseException) -> str | None:
    """Return the name of a library whose import has failed, with whatever error but a lack of memory."""
    if not isinstance(error, Exception) or isinstance(error, LlmprepError) or _is_memory(error):
        return None
    import traceback

    ours = str(Path(__file__).parent.parent)
    lines = [frame.line or "" for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(ours)]
    found = re.match(r"(?:import|from) (?!llmprep\b)(\w+)", lines[-1]) if lines else None
    return found[1] if found and found[1] not in sys.stdlib_module_names else None


def _is_memory(error: BaseException) -> bool:
    """Tell whether memory has run out, which torch and the loader of libraries say only in their messages."""
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
    """Buffer standard output under PYTHONUNBUFFERED, where Python drops what the system does not take at once."""
    if sys.stdout is not None and isinstance(sys.stdout.buffer, io.RawIOBase):
        encoding, errors = sys.stdout.encoding, sys.stdout.errors
        sys.stdout = open(1, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115


def _abandon_stdout(code: int) -> int:
    """Point a broken standard output elsewhere, so that nothing tries to flush it again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
