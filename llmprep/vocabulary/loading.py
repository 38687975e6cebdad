"""An encoding -> its vocabulary: ranks, pattern, special tokens. Nothing is used whose hash is not tiktoken's."""

from __future__ import annotations

import itertools
import os
import warnings

from llmprep.choices import Announce
from llmprep.errors import UsageError, VocabularyError, printable
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.embedded import read_embedded
from llmprep.vocabulary.names import resolve_encoding
from llmprep.vocabulary.ranks import parse_ranks
from llmprep.vocabulary.searching import find_rank_file
from llmprep.vocabulary.vocabulary import Vocabulary

VARIABLE = "LLMPREP_VOCAB_DIR"
_built: dict[tuple[str, str], Vocabulary] = {}
"""What this process has built, by encoding and hash of the rank file: few, as tiktoken's encodings are."""


def load_vocabulary(
    name: str, folder: str | os.PathLike[str] | None = None, announce: Announce | None = None, *, download: bool = True
) -> Vocabulary:
    """Load the vocabulary of an encoding or model; the same object each time, which nobody changes.

    Its rank file is looked for, in this order: in the package (GPT-2 and its relatives), in ``folder`` (where it is
    None, in that of LLMPREP_VOCAB_DIR), in tiktoken's cache, and, with ``download``, at the address that tiktoken
    downloads from; ``announce`` is called before. The file is read and verified each time, so that damage is found.
    Raises `VocabularyError`, which names every place that was tried.
    """
    encoding, vocab_dir = resolve_encoding(name), resolve_vocab_dir(folder)
    return _build(encoding, find_rank_file(define(encoding).rank_file, vocab_dir, announce, may_download=download))


def rebuild_vocabulary(encoding: str, rank_file: bytes | None) -> Vocabulary:
    """Build a vocabulary in another process from its rank file's content, verified again; None for an embedded one."""
    expected = define(encoding).rank_file
    if rank_file is None:
        return _build(encoding, read_embedded(expected.sha256))
    if not expected.holds(rank_file):
        raise VocabularyError(f"{encoding}: the ranks that were sent do not have the sha256 {expected.sha256}")
    return _build(encoding, rank_file)


def resolve_vocab_dir(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the folder that is looked in first: the one given, or else that of LLMPREP_VOCAB_DIR, if it is set.

    Raises `UsageError` for an empty name.
    """
    if folder is None:
        return os.environ.get(VARIABLE) or None
    named = os.fsdecode(folder)
    if not named:
        raise UsageError("vocab_dir: is empty; name a folder, or leave it out")
    return named


def announce_by_warning(text: str) -> None:
    """Warn of what a person should know: the `Announce` of Python functions, which have nobody to tell."""
    warnings.warn(printable(text), stacklevel=2)


def _build(encoding: str, rank_file: bytes) -> Vocabulary:
    """Build the vocabulary of an encoding from its rank file, verified by the caller, unless that was done before."""
    definition = define(encoding)
    key = encoding, definition.rank_file.sha256
    if key not in _built:
        ranks = parse_ranks(rank_file)
        built = Vocabulary(
            name=encoding,
            pattern=definition.pattern,
            ranks=ranks,
            special_tokens=definition.special_tokens,
            sha256=definition.rank_file.sha256,
            n_vocab=max(itertools.chain(ranks.values(), definition.special_tokens.values())) + 1,
            rank_file=rank_file,
        )
        _built.setdefault(key, built)  # another thread may have been faster
    return _built[key]
