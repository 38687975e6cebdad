"""An encoding that tiktoken names -> its vocabulary, from a rank file whose hash is the one that tiktoken states."""

from __future__ import annotations

import functools
import itertools

from llmprep.errors import VocabularyError
from llmprep.vocabulary.definitions import define
from llmprep.vocabulary.embedded import read_embedded
from llmprep.vocabulary.fingerprint import fingerprint_of_ranks
from llmprep.vocabulary.patterns import find_known_to_tiktoken
from llmprep.vocabulary.ranks import parse_ranks
from llmprep.vocabulary.vocabulary import ENCODING_KIND, END_OF_TEXT, Vocabulary

_built: dict[tuple[str, str], Vocabulary] = {}
"""What this process has built, by encoding and hash of the rank file: few, as tiktoken's encodings are."""


@functools.cache
def fingerprint_of_encoding(encoding: str) -> str:
    """Return the fingerprint of an encoding, by its own name; its rank file need not be at hand."""
    definition = define(encoding)
    ranks = definition.rank_file.sha256
    return fingerprint_of_ranks(ranks, definition.pattern, definition.special_tokens, END_OF_TEXT)


def build_named(encoding: str, rank_file: bytes | None) -> Vocabulary:
    """Build the vocabulary of an encoding from its rank file's content, None for an embedded one.

    It is built once a process. Raises `VocabularyError` for another content.
    """
    definition = define(encoding)
    expected = definition.rank_file
    if rank_file is None:
        rank_file = read_embedded(expected.sha256)
    elif not expected.holds(rank_file):
        raise VocabularyError(f"{encoding}: the ranks that were given do not have the sha256 {expected.sha256}")
    key = encoding, expected.sha256
    if key not in _built:
        ranks = parse_ranks(rank_file)
        built = Vocabulary(
            name=encoding,
            kind=ENCODING_KIND,
            pattern=definition.pattern,
            stated_ranks=ranks,
            special_tokens=definition.special_tokens,
            sha256=expected.sha256,
            n_vocab=max(itertools.chain(ranks.values(), definition.special_tokens.values())) + 1,
            rank_file=rank_file,
            fingerprint=fingerprint_of_encoding(encoding),
            known=find_known_to_tiktoken(definition.pattern),
            all_made=True,
        )
        _built.setdefault(key, built)  # another thread may have been faster
    return _built[key]
