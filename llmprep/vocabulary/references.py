"""Which vocabulary ids are of, as their file or store states it -> the vocabulary, if it is at hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from llmprep.choices import Announce, TokenizerFile, WhichVocabulary
from llmprep.errors import LlmprepError, VocabularyError, shorten
from llmprep.vocabulary.definitions import encoding_names
from llmprep.vocabulary.encodings import fingerprint_of_encoding
from llmprep.vocabulary.stated import CARRIED
from llmprep.vocabulary.vocabulary import Vocabulary

SHOWN = 12
"""Digits of a fingerprint that messages show."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The vocabulary that some ids are of: its ``name``, and its ``fingerprint``, by which it is known.

    A file that an older llmprep wrote states no fingerprint: it is of one of tiktoken's encodings. ``folder`` is the
    store that carries the vocabulary, if one does; ``file`` is where the user says that it is.
    """

    name: str
    fingerprint: str | None = None
    folder: str | None = None
    file: TokenizerFile | None = None

    @classmethod
    def stated(cls, name: str, fingerprint: str | None) -> Self:
        """Return what a plan states: of an encoding of tiktoken it has the name alone."""
        known = fingerprint is None and name in encoding_names()
        return cls(name, fingerprint_of_encoding(name) if known else fingerprint)

    @classmethod
    def to(cls, vocabulary: Vocabulary) -> Self:
        """Return the reference to a vocabulary."""
        return cls(vocabulary.name, vocabulary.fingerprint)

    @property
    def is_encoding(self) -> bool:
        """Whether it is one of tiktoken's encodings, as far as what is stated tells."""
        if self.name not in encoding_names():
            return self.fingerprint is None
        return self.fingerprint in (None, fingerprint_of_encoding(self.name))

    def is_same(self, other: Reference) -> bool:
        """Tell whether two vocabularies are one, whatever they are called."""
        if self.name in encoding_names() and other.fingerprint is None:
            return self.name == other.name
        return self.fingerprint == other.fingerprint

    @property
    def which(self) -> WhichVocabulary:
        """What names it, to who loads it."""
        return self.file or self.name

    @property
    def short(self) -> str:
        """The beginning of the fingerprint, for messages."""
        return str(self.fingerprint)[:SHOWN]

    @property
    def shown(self) -> str:
        """The same, in brackets, where the name alone does not tell which vocabulary it is."""
        return "" if self.is_encoding else f" (fingerprint {self.short})"


def find_carried(wanted: Reference) -> Vocabulary | None:
    """Return the vocabulary that a store carries, None where it carries none, or another."""
    from llmprep.vocabulary.opening import open_with_fingerprint

    place = Path(wanted.folder or "", CARRIED)
    if wanted.folder is None or not place.is_file():
        return None
    try:
        return open_with_fingerprint(str(place), wanted.fingerprint or "")
    except LlmprepError:
        return None


def find_referred(wanted: Reference, vocab_dir: str | None, announce: Announce | None = None) -> Vocabulary:
    """Return the vocabulary of a reference that is none of tiktoken's encodings.

    It is looked for in the file that the user names, in the store itself, and in ``vocab_dir``. Raises
    `VocabularyError`, in one line, where none of them has it.
    """
    from llmprep.vocabulary.opening import open_expected, open_with_fingerprint

    if wanted.file is not None:
        return open_expected(wanted.file, wanted.fingerprint, announce)
    for place in _candidates(wanted, vocab_dir):
        try:
            found = open_with_fingerprint(str(place), wanted.fingerprint or "")
        except LlmprepError:  # another file, which may be anything
            continue
        if found is not None:
            return found
    own = None if wanted.folder is None else Path(wanted.folder, CARRIED)
    damaged = f", and {own} is damaged or another one" if own is not None and own.is_file() else ""
    raise VocabularyError(
        f"{shorten(wanted.name)}: the vocabulary of fingerprint {wanted.short} is not at hand{damaged}; name its file "
        f"with --tokenizer, or a folder that holds it with --vocab-dir"
    )


def _candidates(wanted: Reference, vocab_dir: str | None) -> Iterator[Path]:
    """Yield the files that may hold a vocabulary: the store's own, and those of a folder."""
    if wanted.folder is not None:
        yield Path(wanted.folder, CARRIED)
    if vocab_dir is not None and Path(vocab_dir).is_dir():
        yield from sorted(Path(vocab_dir).iterdir())
