"""The help of a command: its options in sections, by what they are about. And which commands have an option."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from typer.core import TyperCommand

from llmprep.cli.printer import Printer
from llmprep.preview.fitting import wrap_line

SECTIONS = {
    "Input": "text field files-from null newlines separator special boundaries on-bad skip-binary",
    "Vocabulary": "encoding tokenizer pattern special-tokens eot vocab-dir",
    "Windows": "max-length stride split val-fraction dense context-size windows separator-belongs overlap truncate",
    "Batches": "batch-size batches ranks steps tokens epochs exhausted shuffle seed drop-last",
    "Tables": "dim context-length order weights save-weights",
    "What is shown": "explain preview start count ids window around where step epoch verify check model-vocab",
    "Token store": "shard-bytes shard-tokens task restart executor address buffer index-dir",
    "Output": "output force yes dtype dry-run html svg depfile json quiet color",
    "Speed and memory": "backend jobs memory device",
}
"""Each section of a command's help, and the options that stand in it, in this order."""


LEAST_WIDTH = 50
"""Columns that Typer takes a terminal to have, whatever it has, unless it is told."""


def narrow_width() -> int | None:
    """Return how wide help may be on a terminal that is narrower than Typer takes it to be, or None."""
    width = Printer().width() - 2
    return width if width < LEAST_WIDTH else None


def fit_examples(examples: str) -> str:
    """Return examples of command lines in lines that a narrow terminal holds, each to be copied as it stands."""
    width = narrow_width()
    lines = examples.splitlines() if width else []
    return "\n".join(wrap_line(line, width - 4, 6).replace("\n", " \\\n") for line in lines if width) or examples


class GroupedCommand(TyperCommand):
    """A command whose help has its options in sections."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each section that has an option of this command."""
        records = {param.name: param.get_help_record(ctx) for param in self.get_params(ctx)}
        arguments = [param.name for param in self.get_params(ctx) if param.param_type_name == "argument"]
        named = {option_name(param): param.name for param in self.get_params(ctx)}
        sections = {title: [named.get(name) for name in names.split()] for title, names in SECTIONS.items()}
        for title, names in {"Arguments": arguments, **sections}.items():
            rows = [(record[0], _worded(record[1])) for name in names if name and (record := records[name]) is not None]
            if rows:
                with formatter.section(title):
                    if formatter.width < LEAST_WIDTH:
                        short = [(wrap_line(option, formatter.width - 2, 4), text) for option, text in rows]
                        formatter.write_dl(short, col_max=4)
                    else:
                        formatter.write_dl(rows)


def _worded(text: str) -> str:
    """Return an option's help with what Typer adds in brackets put in words: its default, range and variable.

    >>> _worded("Windows to show.  [default: 2; x>=0]"), _worded("Threads that encode.  [1<=x<=256]")
    ('Windows to show. Default: 2.', 'Threads that encode. From 1 to 256.')
    """
    words, _, added = text.partition("  [")
    for part in filter(None, added.removesuffix("]").split("; ")):
        if found := re.fullmatch(r"(\d+)<=x<=(\d+)", part):
            words += f" From {found[1]} to {found[2]}."
        elif part.startswith("default: "):
            words += f" Default: {part.removeprefix('default: ')}."
        elif part.startswith("env var: "):
            words += f" Default: the value of {part.removeprefix('env var: ')}, if that is set."
    return words


def option_name(parameter: Any) -> str:
    """Return an option's long name, without its dashes."""
    return str(max(parameter.opts, key=len)).removeprefix("--")


def explain_usage(error: Any, arguments: Sequence[str]) -> str:
    """Return what is wrong with a command line that Typer refuses, and where its help is."""
    context = getattr(error, "ctx", None)
    command = " ".join(["llmprep", *arguments[:1]]) if context is None else context.command_path
    said = _explain_unknown(error, arguments) or _range_in_words(error.format_message().strip().rstrip("."))
    return f"{said}; see {command} --help"


def _range_in_words(message: str) -> str:
    """Return a message with the range of numbers, if Typer names one, as the other messages name it.

    >>> _range_in_words("0 is not in the range 1<=x<=256"), _range_in_words("-1 is not in the range x>=0")
    ('0 is not a whole number from 1 to 256', '-1 is not a whole number from 0 on')
    """
    message = re.sub(r"is not in the range (\d+)<=x<=(\d+)", r"is not a whole number from \1 to \2", message)
    message = re.sub(r"is not in the range x>=(\d+)", r"is not a whole number from \1 on", message)
    return re.sub(r"is not a valid int(eger)?( range)?$", "is not a whole number", message)


def _explain_unknown(error: Any, arguments: Sequence[str]) -> str | None:
    """Return what is wrong with an option that a command has not, or None for any other error.

    It names the commands that have the option, or else the options of this command that are spelt nearly so. Of a
    name after a single hyphen, as ``-max-length``, Typer reports one letter.
    """
    wanted, context = getattr(error, "option_name", None), getattr(error, "ctx", None)
    if type(error).__name__ != "NoSuchOption" or context is None:
        return None
    words = (word.partition("=")[0] for word in arguments if word.startswith(str(wanted)))
    whole = [word for word in words if re.fullmatch(r"-\w[\w-]+", word)]
    if whole and (near := get_close_matches(f"-{whole[0]}", [*_options(context.command)], n=1)):
        return f"No such option: {whole[0]}; did you mean {near[0]}?"
    commands: Mapping[str, Any] = context.find_root().command.commands
    having = [name for name, command in commands.items() if wanted in [*_options(command)]]
    if context.command is context.find_root().command:
        place = f": llmprep {having[0]} {wanted} ..." if having else ""
        return f"No such option: {wanted}; options stand after the command{place}"
    if having:
        return f"No such option: {wanted}; {_listed(having)} {'has' if len(having) == 1 else 'have'} it"
    near = get_close_matches(str(wanted), [*_options(context.command)], cutoff=0.6)
    return f"No such option: {wanted}" + (f"; did you mean {' or '.join(near)}?" if near else "")


def _options(command: Any) -> Iterator[str]:
    """Yield the names of a command's options, dashes included."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from parameter.opts


def _listed(names: list[str]) -> str:
    """Return names as a sentence has them: a, b and c."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
