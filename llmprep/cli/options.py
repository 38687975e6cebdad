"""Values of options: how each is parsed, and what is refused. Options that stand alone in several commands."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from llmprep import choices
from llmprep.choices import TokenizerFile, WhichVocabulary
from llmprep.errors import UsageError

WINDOW_RANGE = (1, 2**31 - 1)


def filled(given: str) -> str:
    """Refuse an empty value, as that of a variable which is not set: nobody means the default by it."""
    if not given:
        raise typer.BadParameter("it is empty; give a value or leave the option out")
    return given


def window_number(given: str | int) -> int:
    """Parse a max_length, stride or context_size; every wrong value gets the range in its message."""
    text, (low, high) = filled(str(given)), WINDOW_RANGE
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise typer.BadParameter(f"{text} is not a whole number from {low} to {high}")
    return int(text)


def size_in_bytes(given: str | int) -> int:
    """Parse a size such as 500MB or 4GiB into bytes."""
    found = re.fullmatch(r"([0-9]{1,15})(?:([kKMGT])(i?)B)?", filled(str(given)))
    if found is None or not int(found[1]):
        raise typer.BadParameter(f"{given} is not a size such as 500MB or 4GiB")
    power = " kMGT".index(found[2].replace("K", "k")) if found[2] else 0
    base = 1024 if found[3] else 1000
    return int(found[1]) * int(base**power)


def output_name(given: str) -> str:
    """Return an output's name, ``-`` for whatever is standard output, as ``/dev/stdout`` is."""
    return "-" if filled(given) != "-" and _is_stdout(given) else given


def _is_stdout(name: str) -> bool:
    try:
        status = Path(name).stat()
        own = os.path.samestat(status, os.fstat(1))
        return own and not os.path.samestat(status, Path(os.devnull).stat())
    except (OSError, ValueError):
        return False


def complete_encoding(incomplete: str) -> list[str]:
    """Return the encodings and models whose names begin so, for a shell that completes a word."""
    from llmprep.vocabulary.names import known_names

    return [name for name in known_names() if name.startswith(incomplete)]


def complete_pattern(incomplete: str) -> list[str]:
    """Return the names of known patterns that begin so, for a shell that completes a word."""
    from llmprep.vocabulary.patterns import list_patterns

    return [name for name in list_patterns().split(", ") if name.startswith(incomplete)]


ValFraction: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--val-fraction", metavar="F", help="Keep this fraction of the tokens, the last ones, apart for validation."
    ),
]
MaxLengthOfText: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-length",
        metavar="INT",
        parser=window_number,
        help="Take so many tokens into a window. Default: 256, or what the windows file has.",
    ),
]
Stride: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--stride",
        metavar="INT",
        parser=window_number,
        help="Start a window every so many tokens. Default: the max-length, so that windows touch.",
    ),
]
Split: TypeAlias = Annotated[
    str | None,
    typer.Option("--split", metavar="NAME", parser=filled, help="Take this part of a store, as train or val."),
]
Ranks: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--ranks", metavar="N", min=1, max=2**31 - 1, help="Share the windows evenly between N ranks. Default: 1."
    ),
]
Exhausted: TypeAlias = Annotated[
    choices.Exhausted | None,
    typer.Option("--exhausted", help="Do this in a mixture when a store has no more windows. Default: repeat."),
]
Shuffle: TypeAlias = Annotated[bool, typer.Option("--shuffle", help="Take windows in a random order.")]
DropLast: TypeAlias = Annotated[bool, typer.Option("--drop-last", help="Leave out an incomplete last batch.")]
Encoding: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        metavar="NAME",
        parser=filled,
        autocompletion=complete_encoding,
        help="Take the vocabulary of this encoding or model, such as gpt2 or gpt-4o. Default: gpt2, or what a file or "
        "store states.",
    ),
]
TokenizerPath: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--tokenizer",
        metavar="PATH",
        parser=filled,
        help="Take the vocabulary of this file: a tokenizer.json, a rank file of tiktoken's, a minbpe .model, a "
        "nanochat tokenizer.pkl, a tekken.json; or of a folder or token store that holds one.",
    ),
]
Pattern: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--pattern",
        metavar="NAME/REGEX",
        parser=filled,
        autocompletion=complete_pattern,
        help="Cut texts by this pattern with a rank file, which does not state its own: a known one by name, such as "
        "llama3 or qwen2, or a regular expression.",
    ),
]
SpecialTokens: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--special-tokens",
        metavar="FILE",
        parser=filled,
        help="Read the special tokens of a rank file from FILE, a JSON object of tokens and their ids.",
    ),
]
Eot: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--eot",
        metavar="TOKEN",
        parser=filled,
        help="Take this special token of the --tokenizer for the one that ends a text. Default: the one that the file, "
        "or a tokenizer_config.json beside it, names.",
    ),
]


def which_vocabulary(
    encoding: str | None, tokenizer: str | None, pattern: str | None, special_tokens: str | None, eot: str | None
) -> WhichVocabulary | None:
    """Return which vocabulary these options name, None if they name none.

    Raises `UsageError` where they name two, or say something of a file that is not named.
    """
    if tokenizer is not None:
        if encoding is not None:
            raise UsageError("--encoding, --tokenizer: both name a vocabulary; leave one out")
        return TokenizerFile(tokenizer, pattern, special_tokens, eot)
    beside = {"--pattern": pattern, "--special-tokens": special_tokens, "--eot": eot}
    alone = [name for name, given in beside.items() if given is not None]
    if alone:
        raise UsageError(f"{alone[0]}: is only used with --tokenizer")
    return encoding


VocabDir: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--vocab-dir",
        metavar="DIR",
        parser=filled,
        envvar="LLMPREP_VOCAB_DIR",
        help="Look for vocabulary files in this folder first.",
    ),
]
