"""Encoding name -> ranks, pattern, special tokens: embedded, from a folder, cached, or downloaded.

Pattern strings, special tokens, download addresses and hashes are tiktoken's own: its module of definitions is
loaded once more for each vocabulary, privately, with our loader in the place of its downloader. GPT-2's ranks travel
inside the package. Nothing is used whose sha256 is not the one that tiktoken pins.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmprep.choices import Announce
from llmprep.errors import UsageError, VocabularyError
from llmprep.vocabulary.names import load_definitions, resolve_encoding
from llmprep.vocabulary.ranks import P50K_SHA256, R50K_SHA256, Ranks, find_rank_file, parse_ranks

END_OF_TEXT = "<|endoftext|>"
VARIABLE = "LLMPREP_VOCAB_DIR"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A byte-pair vocabulary. ``sha256`` is of its rank file; ``n_vocab`` is the largest id plus one.

    ``rank_file`` is that file's content as it was verified: whoever may write where it lies cannot change it any more.
    """

    name: str
    pattern: str
    ranks: Ranks
    special_tokens: dict[str, int]
    sha256: str
    n_vocab: int
    rank_file: bytes = field(repr=False)

    @property
    def is_embedded(self) -> bool:
        """Whether every installation of llmprep has it."""
        return self.sha256 in (R50K_SHA256, P50K_SHA256)

    @property
    def eot_id(self) -> int:
        """The id of the end-of-text token."""
        return self.special_tokens[END_OF_TEXT]


def warn_of(told: str) -> None:
    """Say in a warning what a person should know: how Python code that has nobody to tell announces a download."""
    warnings.warn(told, stacklevel=2)


def chosen_folder(folder: str | os.PathLike[str] | None) -> str | None:
    """Return the folder that is looked in first: the one given, or else that of LLMPREP_VOCAB_DIR, if it is set.

    Raises `UsageError` for an empty name.
    """
    if folder is None:
        return os.environ.get(VARIABLE) or None
    named = os.fsdecode(folder)
    if not named:
        raise UsageError("vocab_dir: is empty; name a folder, or leave it out")
    return named


def load_vocabulary(
    name: str, folder: str | os.PathLike[str] | None = None, announce: Announce | None = None, *, download: bool = True
) -> Vocabulary:
    """Load the vocabulary of an encoding or model.

    Looked for, in this order: in the package (GPT-2 and its relatives), in ``folder`` (where it is None, in that of
    LLMPREP_VOCAB_DIR), in the folders that tiktoken caches in, and, with ``download``, at the address that tiktoken
    downloads from, after ``announce`` was told. Raises `VocabularyError`, which names every place that was tried.
    """
    encoding, chosen = resolve_encoding(name), chosen_folder(folder)
    return _build(encoding, lambda a, sha256: find_rank_file(a, sha256, chosen, announce, download=download))


def rebuild_vocabulary(name: str, ranks: bytes | None) -> Vocabulary:
    """Build a vocabulary in another process from a rank file's bytes, verified again; None for an embedded one."""

    def given(address: str, sha256: str) -> bytes:
        if ranks is None:
            return find_rank_file(address, sha256, None, None)
        if hashlib.sha256(ranks).hexdigest() != sha256:
            raise VocabularyError(f"{name}: the ranks that were sent do not have the sha256 {sha256}")
        return ranks

    return _build(name, given)


def _build(encoding: str, rank_file: Callable[[str, str], bytes]) -> Vocabulary:
    """Run tiktoken's definition of an encoding with ``rank_file(address, sha256)`` in the place of its downloader."""
    definitions = load_definitions()  # a copy of our own: what is set in it is seen by no other thread
    found: list[tuple[str, bytes]] = []

    def load(address: str, expected_hash: str) -> Ranks:
        data = rank_file(address, expected_hash)
        found.append((expected_hash, data))
        return parse_ranks(data)

    def load_gpt2(**_: str) -> Ranks:
        return load("", R50K_SHA256)

    definitions.load_tiktoken_bpe = load  # type: ignore[attr-defined]
    definitions.data_gym_to_mergeable_bpe_ranks = load_gpt2  # type: ignore[attr-defined]
    definition: dict[str, Any] = definitions.ENCODING_CONSTRUCTORS[encoding]()
    ranks: Ranks = definition["mergeable_ranks"]
    special_tokens: dict[str, int] = definition["special_tokens"]
    return Vocabulary(
        name=encoding,
        pattern=definition["pat_str"],
        ranks=ranks,
        special_tokens=special_tokens,
        sha256=found[-1][0],
        n_vocab=max(itertools.chain(ranks.values(), special_tokens.values())) + 1,
        rank_file=found[-1][1],
    )
