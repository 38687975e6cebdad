"""What a file states of a vocabulary, and the end-of-text token -> the vocabulary."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from llmprep.errors import FileFormatError
from llmprep.vocabulary.fingerprint import fingerprint_of_json, fingerprint_of_ranks
from llmprep.vocabulary.patterns import KnownPattern, find_known
from llmprep.vocabulary.proof import Obstacle, Proven, prove
from llmprep.vocabulary.ranks import write_ranks
from llmprep.vocabulary.stated import Stated
from llmprep.vocabulary.token_texts import token_texts
from llmprep.vocabulary.vocabulary import HuggingFace, Vocabulary

if TYPE_CHECKING:
    from llmprep.vocabulary.tokenizer_json import TokenizerJson

MAX_VOCAB = 1 << 24
"""No vocabulary is larger: what is worked out for every id takes memory."""


def build_ranked(
    name: str, stated: Stated, pattern: str, known: KnownPattern | None, end_of_text: str | None
) -> Vocabulary:
    """Return a vocabulary that tiktoken defines: ranks, a pattern, and special tokens."""
    lines = write_ranks(stated.ranks)
    sha256 = hashlib.sha256(lines).hexdigest()
    return Vocabulary(
        name=name,
        kind=stated.kind,
        pattern=pattern,
        ranks=stated.ranks,
        special_tokens=stated.special_tokens,
        sha256=sha256,
        n_vocab=_n_vocab(name, [*stated.ranks.values(), *stated.special_tokens.values()]),
        rank_file=lines,
        fingerprint=fingerprint_of_ranks(sha256, pattern, stated.special_tokens, end_of_text),
        end_of_text=end_of_text,
        known=known,
    )


def build_from_json(name: str, tokenizer: TokenizerJson, end_of_text: str | None) -> Vocabulary:
    """Return a vocabulary that the ``tokenizers`` library defines; its ranks are empty where that alone can encode."""
    sha256 = hashlib.sha256(tokenizer.canonical.encode()).hexdigest()
    ranks, known, normalizer, obstacle = _proven(tokenizer)
    tokens = token_texts(tokenizer.document, tokenizer.added)
    return Vocabulary(
        name=name,
        kind="tokenizer.json",
        pattern=known.splits[0] if known is not None and len(known.splits) == 1 else None,
        ranks=ranks,
        special_tokens={
            token.content: token.id for token in tokenizer.added if token.special or token.content == end_of_text
        },
        sha256=sha256,
        n_vocab=_n_vocab(name, tokens),
        rank_file=b"",
        fingerprint=fingerprint_of_json(sha256, end_of_text),
        end_of_text=end_of_text,
        known=known,
        all_made=not tokenizer.document["model"].get("ignore_merges"),
        hf=HuggingFace(tokenizer.canonical, tokenizer.added, normalizer, tokens, obstacle),
    )


def _n_vocab(name: str, ids: Iterable[int]) -> int:
    """Return the largest id plus one. Raises `FileFormatError` for a vocabulary without ids, or with an absurd one."""
    largest = max(ids, default=None)
    if largest is None:
        raise FileFormatError(f"{name}: has no token")
    if largest >= MAX_VOCAB:
        raise FileFormatError(f"{name}: has the id {largest}, and no vocabulary has one of {MAX_VOCAB} or more")
    return largest + 1


def _proven(tokenizer: TokenizerJson) -> tuple[dict[bytes, int], KnownPattern | None, str, str]:
    """Return ranks, known pattern and normalizer where other libraries can encode exactly, or else why they cannot."""
    match prove(tokenizer):
        case Obstacle() as obstacle:
            return {}, None, "", obstacle.reason
        case Proven() as proven:
            known = find_known(proven.splits)
            if known is None:
                return {}, None, "", f"its pattern is not among those that are known: {proven.splits[0]!r:.80}"
            return proven.ranks, known, proven.normalizer, ""
