"""tiktoken, as it encodes with a vocabulary: for most it is the definition of what the ids are."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from llmprep.vocabulary.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tiktoken import Encoding

Ids: TypeAlias = npt.NDArray[np.uint32]
MAX_ENCODINGS = 4
_encodings: dict[tuple[str, str], Encoding] = {}
"""The encodings that this process has built last, by name and fingerprint of the vocabulary, oldest first."""


class Tiktoken:
    """tiktoken with one vocabulary; any number of threads may use it.

    What no alternative of a pattern matches, tiktoken drops in silence. The patterns that are known match everything;
    with any other, the bytes of the ids are counted against those of the text.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._allowed = {True: {*filter(None, [vocabulary.end_of_text])}, False: set[str]()}
        self._lengths = None if vocabulary.known else _lengths(vocabulary)

    @functools.cached_property
    def _encoding(self) -> Encoding:
        return tiktoken_encoding(self._vocabulary)

    def encode(self, data: bytes, *, special: bool) -> Ids:
        """Return the ids (n,) of UTF-8 text; with ``special``, the end-of-text string in it becomes its id.

        Raises ValueError for what tiktoken cannot encode, and where the pattern does not match all of the text.
        """
        ids: Ids = self._encoding.encode_to_numpy(
            data.decode(), allowed_special=self._allowed[special], disallowed_special=()
        )
        if self._lengths is not None and (found := int(self._lengths[ids].sum())) != len(data):
            raise ValueError(f"the pattern matches {found} of these {len(data)} bytes; give one that matches all")
        return ids


def _lengths(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    lengths = np.zeros(vocabulary.n_vocab, np.int64)
    for number, token in vocabulary.token_table().items():
        lengths[number] = len(token)
    return lengths


def tiktoken_encoding(vocabulary: Vocabulary) -> Encoding:
    """Return tiktoken's encoding of a vocabulary that has a pattern, built once a process: that takes about 40 ms."""
    from tiktoken import Encoding

    key = vocabulary.name, vocabulary.fingerprint
    encoding = _encodings.get(key)
    if encoding is None:
        special_tokens = vocabulary.special_tokens
        if vocabulary.hf is not None:  # its added tokens are found before
            end = vocabulary.end_of_text
            special_tokens = {} if end is None else {end: special_tokens[end]}
        encoding = Encoding(
            vocabulary.name,
            pat_str=vocabulary.pattern or "",
            mergeable_ranks=vocabulary.ranks,
            special_tokens=special_tokens,
        )
        if len(_encodings) >= MAX_ENCODINGS:
            _encodings.pop(next(iter(_encodings)), None)
        _encodings[key] = encoding
    return encoding
