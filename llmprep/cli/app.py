"""The commands, each in a module of its own, gathered into one Typer app."""

from __future__ import annotations

from typing import Annotated

import typer

from llmprep import __version__
from llmprep.cli.embed import embed
from llmprep.cli.inspect import inspect
from llmprep.cli.merge import merge
from llmprep.cli.pairs import pairs
from llmprep.cli.printer import Printer
from llmprep.cli.tokenize import tokenize
from llmprep.cli.window import window

app = typer.Typer(
    name="llmprep",
    help="Turn text into next-token training windows.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        Printer().lines([f"llmprep {__version__}"])
        raise typer.Exit


@app.callback()
def llmprep(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    """Turn text into next-token training windows."""


EXAMPLES = {
    tokenize: [
        "llmprep tokenize story.txt",
        "llmprep tokenize corpus/ -o store/ --val-fraction 0.1",
        "llmprep tokenize --count *.txt | sort -n",
    ],
    pairs: ["llmprep pairs story.txt --start 50", "llmprep pairs store/ --context-size 8 -o pairs.pt"],
    window: [
        "llmprep window story.txt --max-length 256 --stride 128",
        "llmprep window story.txt --max-length 4 --preview 0 --explain",
        "cat story.txt | llmprep window - -o windows.pt",
    ],
    embed: ["llmprep embed story.windows.pt", "llmprep embed story.txt --max-length 4 --save-weights tables.pt"],
    inspect: [
        "llmprep inspect store/ --verify",
        'llmprep inspect story.windows.pt --around "some words"',
        "llmprep inspect store/ --max-length 1024 --where 7",
    ],
    merge: ["llmprep merge store/"],
}
"""How each command may be called; its help ends with these lines."""

for command, lines in EXAMPLES.items():
    app.command(epilog="\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines))(command)
