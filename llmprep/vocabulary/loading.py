"""What names a vocabulary, or refers to one -> the vocabulary. The one door."""

from __future__ import annotations

import os
import warnings
from dataclasses import replace
from pathlib import Path

from llmprep.choices import ENCODING, Announce, TokenizerFile, WhichVocabulary
from llmprep.errors import UsageError, printable
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.encodings import build_named, fingerprint_of_encoding
from llmprep.vocabulary.names import resolve_encoding
from llmprep.vocabulary.references import Reference, find_carried, find_referred
from llmprep.vocabulary.searching import find_rank_file
from llmprep.vocabulary.vocabulary import Vocabulary

VARIABLE = "LLMPREP_VOCAB_DIR"


def load_vocabulary(
    which: WhichVocabulary | os.PathLike[str] | Reference,
    folder: str | os.PathLike[str] | None = None,
    announce: Announce | None = None,
    *,
    download: bool = True,
) -> Vocabulary:
    """Load the vocabulary of an encoding or model, of a file, or the one that ids are of; nobody changes the object.

    A str is the name of an encoding or a model; a file is named by a `Path` or, where more must be said of it, by a
    `TokenizerFile`.

    An encoding's rank file is looked for, in this order: in the package (GPT-2 and its relatives), in ``folder`` (where
    it is None, in that of LLMPREP_VOCAB_DIR), in tiktoken's cache, and, with ``download``, at the address that tiktoken
    downloads from; ``announce`` is called before. Files are read and verified each time, so that damage is found.
    Raises `VocabularyError`, which names every place that was tried, and for a file as `open_tokenizer` does.
    """
    vocab_dir = resolve_vocab_dir(folder)
    if isinstance(which, os.PathLike):
        which = TokenizerFile(os.fsdecode(which))
    if isinstance(which, TokenizerFile):
        from llmprep.vocabulary.opening import open_tokenizer

        return open_tokenizer(which, announce)
    if isinstance(which, Reference) and not which.is_encoding:
        return find_referred(which, vocab_dir, announce)
    if isinstance(which, Reference) and (carried := find_carried(which)) is not None:
        return carried
    encoding = resolve_encoding(which.name if isinstance(which, Reference) else which)
    return build_named(encoding, find_rank_file(define(encoding).rank_file, vocab_dir, announce, may_download=download))


def name_vocabulary(
    encoding: str | None, tokenizer: str | os.PathLike[str] | TokenizerFile | None = None
) -> WhichVocabulary:
    """Return which of the two names a vocabulary, gpt2's if none does. Raises `UsageError` if both do.

    A file that is there is found again when the current folder is another.
    """
    if tokenizer is None:
        return ENCODING if encoding is None else resolve_encoding(encoding)
    if encoding is not None:
        raise UsageError(f"--encoding {encoding!s:.80}, --tokenizer: name one or the other")
    file = TokenizerFile.named(tokenizer)
    beside = None if file.special_tokens is None else _absolute(file.special_tokens)
    return replace(file, path=_absolute(file.path), special_tokens=beside)


def _absolute(path: str | os.PathLike[str]) -> str:
    """Return where a path leads now; of what is not there, which may be no path at all, what was given."""
    name = os.fsdecode(path)
    return str(Path(name).absolute()) if os.path.exists(name) else name  # noqa: PTH110 - any text, however long


def state_of(which: WhichVocabulary) -> tuple[object, ...]:
    """Return what tells whether a file is still the one that was read; of an encoding, which stays, nothing."""
    if isinstance(which, str):
        return ()
    from llmprep.vocabulary.tokenizer_files import state_of_file

    return state_of_file(which)


def refer_to(which: WhichVocabulary, announce: Announce | None = None, *, expected: str | None = None) -> Reference:
    """Return a reference to the vocabulary of a name or a file; a file is read, an encoding's rank file is not.

    Where a file does not say which token ends a text, it is taken for the one of the fingerprint that is ``expected``.
    """
    if isinstance(which, str):
        encoding = resolve_encoding(which)
        return Reference(encoding, fingerprint_of_encoding(encoding))
    from llmprep.vocabulary.opening import open_expected

    vocabulary = open_expected(which, expected, announce)
    return Reference(vocabulary.name, vocabulary.fingerprint, file=which)


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
