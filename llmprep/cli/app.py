"""The commands, each in a module of its own, gathered into one Typer app."""

from __future__ import annotations

from inspect import cleandoc
from typing import Annotated

import typer

from llmprep import __version__
from llmprep.cli.decode import decode
from llmprep.cli.embed import embed
from llmprep.cli.help import GroupedCommand, fit_examples, narrow_width
from llmprep.cli.inspect import inspect
from llmprep.cli.merge import merge
from llmprep.cli.pack import pack
from llmprep.cli.pairs import pairs
from llmprep.cli.plan import plan
from llmprep.cli.printer import Printer
from llmprep.cli.tokenize import tokenize
from llmprep.cli.window import window

app = typer.Typer(
    name="llmprep",
    help="Turn text into next-token training windows.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    epilog="llmprep help COMMAND names the options of a command, with examples.",
    context_settings={"help_option_names": ["-h", "--help"], "terminal_width": narrow_width()},
)


def _print_version(value: bool) -> None:
    if value:
        Printer().lines([f"llmprep {__version__}"])
        raise typer.Exit


@app.callback()
def llmprep(
    version: Annotated[
        bool,
        typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Turn text into next-token training windows."""


for command in (tokenize, pairs, window, embed, decode, inspect, plan, merge, pack):
    words, _, examples = cleandoc(command.__doc__ or "").partition("\n\nExamples:\n")
    app.command(
        cls=GroupedCommand,
        short_help=words.partition("\n\n")[0],
        help=words,
        epilog=f"\b\nExamples:\n{fit_examples(examples)}",
    )(command)
