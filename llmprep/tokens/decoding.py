"""Ids -> text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmprep.vocabulary.vocabulary import Vocabulary


def token_table(vocabulary: Vocabulary) -> dict[int, bytes]:
    """Return the bytes of every id of a vocabulary, special tokens included."""
    table = {rank: token for token, rank in vocabulary.ranks.items()}
    table.update({rank: token.encode() for token, rank in vocabulary.special_tokens.items()})
    return table


def decode_ids(ids: Sequence[int], table: Mapping[int, bytes]) -> str:
    """Decode ids to text, given the bytes of each; a part of a character becomes U+FFFD, as in tiktoken's ``decode``.

    So does an id that the vocabulary leaves unused, for which tiktoken raises KeyError.
    """
    return b"".join(table.get(i, b"\xff") for i in ids).decode("utf-8", "replace")
