"""Each command-line option, once. The words are the reference's and PyTorch's."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Newlines(StrEnum):
    """What to do with CRLF and CR."""

    universal = "universal"
    keep = "keep"


class Separator(StrEnum):
    """What goes between documents."""

    eot = "eot"
    none = "none"


class Special(StrEnum):
    """What an end-of-text string in the text itself becomes."""

    allow = "allow"
    text = "text"
    error = "error"


class IdDtype(StrEnum):
    """Dtype of ids in a file."""

    int64 = "int64"
    int32 = "int32"
    uint16 = "uint16"


class Backend(StrEnum):
    """Which tokenizer encodes."""

    auto = "auto"
    tiktoken = "tiktoken"
    gigatoken = "gigatoken"


class ExecutorName(StrEnum):
    """Where the shards of a token store are built."""

    local = "local"
    ray = "ray"


class DrawOrder(StrEnum):
    """Which of the course's notebooks draws its random numbers in this order."""

    dataloader = "dataloader"
    ch02 = "ch02"


class FloatDtype(StrEnum):
    """Dtype of embeddings in a file."""

    float32 = "float32"
    float16 = "float16"
    bfloat16 = "bfloat16"


WINDOW_RANGE = (1, 2**31 - 1)


def filled(given: str) -> str:
    """Refuse a value that is empty, as that of a variable which is not set is: nobody means the default by it."""
    if not given:
        raise typer.BadParameter("it is empty; give a value, or leave it out")
    return given


def _window_number(given: str | int) -> int:
    """Parse a max_length, stride or context_size; every wrong value gets the range in its message."""
    text, (low, high) = filled(str(given)), WINDOW_RANGE
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise typer.BadParameter(f"{text} is not a whole number from {low} to {high}")
    return int(text)


def _output(given: str) -> str:
    """Return an output's name, ``-`` for whatever is standard output, as ``/dev/stdout`` is."""
    return "-" if filled(given) != "-" and _is_stdout(given) else given


def _is_stdout(name: str) -> bool:
    try:
        status = Path(name).stat()
        own = os.path.samestat(status, os.fstat(1))
        return own and not os.path.samestat(status, Path(os.devnull).stat())
    except (OSError, ValueError):
        return False


Inputs: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILE...",
        parser=filled,
        help="Texts, JSON Lines or Parquet files, folders, patterns; or one .pt file. - is standard input.",
        show_default=False,
    ),
]
FilesFrom: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--files-from", metavar="PATH", parser=filled, help="Read names of inputs, one a line, from PATH or -."
    ),
]
NulSeparated: TypeAlias = Annotated[
    bool, typer.Option("--null", "-0", help="Names in --files-from end with NUL, as find -print0 writes.")
]
FieldOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--field", metavar="NAME", parser=filled, help="Field or column of records that holds the text. Default: text."
    ),
]
BackendOption: TypeAlias = Annotated[
    Backend, typer.Option("--backend", help="Which tokenizer encodes; the ids are the same.")
]
Jobs: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", metavar="N", min=1, max=256, help="Threads that encode. Default: all cores it may use."
    ),
]
DryRun: TypeAlias = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be read and written, and estimate; write nothing.")
]
OutputName: TypeAlias = Annotated[
    str | None,
    typer.Option("--output", "-o", metavar="PATH", parser=_output, help="File to write; - is standard output."),
]
Force: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace an existing file that is not a .pt, is read-only, or was made from other inputs."
    ),
]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Encoding: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--encoding", metavar="NAME", parser=filled, help="Encoding or model, such as gpt2 or gpt-4o. Default: gpt2."
    ),
]
VocabDir: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--vocab-dir", metavar="DIR", parser=filled, envvar="LLMPREP_VOCAB_DIR", help="Folder with vocabulary files."
    ),
]
NewlinesOption: TypeAlias = Annotated[
    Newlines | None,
    typer.Option("--newlines", help="universal: CRLF and CR become LF; keep: they stay. Default: universal."),
]
SeparatorOption: TypeAlias = Annotated[
    Separator | None,
    typer.Option("--separator", help="Between documents: the end-of-text id, or none. Default: eot."),
]
SpecialOption: TypeAlias = Annotated[
    Special | None,
    typer.Option(
        "--special",
        help="<|endoftext|> in a text: allow it as its id, take it as text, or error. Default: allow.",
    ),
]
DtypeOption: TypeAlias = Annotated[
    IdDtype | None, typer.Option("--dtype", help="Dtype of the ids in the file. Default: int64.")
]
MaxLength: TypeAlias = Annotated[
    int,
    typer.Option("--max-length", metavar="INT", parser=_window_number, help="Tokens in a window, 1 or more."),
]
MaxLengthOfText: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        metavar="INT",
        parser=_window_number,
        help="Tokens in a window. Default: 256, or what the windows file has.",
    ),
]
Stride: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--stride",
        metavar="INT",
        parser=_window_number,
        help="Tokens from one window's start to the next. Default: max-length.",
    ),
]
ContextSize: TypeAlias = Annotated[
    int,
    typer.Option("--context-size", metavar="INT", parser=_window_number, help="Longest context, 1 or more."),
]
Preview: TypeAlias = Annotated[int, typer.Option("--preview", min=0, metavar="N", help="Windows to show.")]
Seed: TypeAlias = Annotated[int, typer.Option("--seed", min=0, max=2**64 - 1, metavar="INT", help="Random seed.")]
OrderOption: TypeAlias = Annotated[
    DrawOrder | None,
    typer.Option(
        "--order",
        help="Draw random numbers as the course's dataloader.ipynb (both tables, then the loader) or its ch02.ipynb "
        "run from the top (a 6 x 3 example, token table, loader, positional table). Default: dataloader.",
    ),
]
SaveWeights: TypeAlias = Annotated[
    str | None,
    typer.Option("--save-weights", metavar="PATH", parser=_output, help="Write both tables to this .pt file."),
]
ShardBytes: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--shard-bytes",
        min=1,
        metavar="N",
        help="Text per shard of a store. Default: from 16 MiB to 1 GiB, by the corpus.",
    ),
]
ShardTokens: TypeAlias = Annotated[
    int | None, typer.Option("--shard-tokens", min=1, metavar="N", help="The same, at 4 bytes a token; about N tokens.")
]
ExecutorOption: TypeAlias = Annotated[ExecutorName, typer.Option("--executor", help="Where shards are built.")]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="ADDR", parser=filled, help="Ray cluster to use, as auto. Default: start one here."
    ),
]
Task: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--task", metavar="I/N", parser=filled, help="Build only share I of N of the shards; then llmprep merge."
    ),
]
Restart: TypeAlias = Annotated[bool, typer.Option("--restart", help="Start a begun store over.")]
ValFraction: TypeAlias = Annotated[
    float | None,
    typer.Option("--val-fraction", metavar="F", help="Keep the last part of the tokens apart, for validation."),
]
