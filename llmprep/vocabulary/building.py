"""What a file states of a vocabulary, and the end-of-text token -> the vocabulary."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable

from llmprep.errors import FileFormatError
from llmprep.vocabulary.fingerprint import fingerprint_of_json, fingerprint_of_ranks
from llmprep.vocabulary.patterns import KnownPattern, find_known
from llmprep.vocabulary.proof import Obstacle, Proven, prove, prove_splitting
from llmprep.vocabulary.ranks import Ranks, write_ranks
from llmprep.vocabulary.stated import AddedToken, Stated
from llmprep.vocabulary.strict_json import without_collecting
from llmprep.vocabulary.token_texts import token_texts
from llmprep.vocabulary.tokenizer_json import TokenizerJson
from llmprep.vocabulary.unknown import find_unknown
from llmprep.vocabulary.vocabulary import HuggingFace, Proof, Vocabulary

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
        stated_ranks=stated.ranks,
        special_tokens=stated.special_tokens,
        sha256=sha256,
        n_vocab=_n_vocab(name, [*stated.ranks.values(), *stated.special_tokens.values()]),
        rank_file=lines,
        fingerprint=fingerprint_of_ranks(sha256, pattern, stated.special_tokens, end_of_text),
        end_of_text=end_of_text,
        known=known,
    )


def build_from_json(name: str, tokenizer: TokenizerJson, end_of_text: str | None) -> Vocabulary:
    """Return a vocabulary that the ``tokenizers`` library defines."""
    sha256 = hashlib.sha256(tokenizer.canonical.encode()).hexdigest()
    known, normalizer, proof = _examine(tokenizer)
    entries = tokenizer.document["model"]["vocab"]
    tokens = token_texts(tokenizer.document, tokenizer.added)
    return Vocabulary(
        name=name,
        kind="tokenizer.json",
        pattern=known.splits[0] if known is not None and len(known.splits) == 1 else None,
        stated_ranks={},
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
        hf=HuggingFace(
            tokenizer.canonical,
            tokenizer.added,
            normalizer,
            tokens,
            proof,
            end_is_entry=end_of_text in entries,
            unknown_id=find_unknown(tokenizer.document),
        ),
    )


def _n_vocab(name: str, ids: Iterable[int]) -> int:
    """Return the largest id plus one. Raises `FileFormatError` for a vocabulary without ids, or with an absurd one."""
    largest = max(ids, default=None)
    if largest is None:
        raise FileFormatError(f"{name}: has no token")
    if largest >= MAX_VOCAB:
        raise FileFormatError(f"{name}: has the id {largest}, and no vocabulary has one of {MAX_VOCAB} or more")
    return largest + 1


def _examine(tokenizer: TokenizerJson) -> tuple[KnownPattern | None, str, Proof]:
    """Return how texts are split and normalised, where that is known, and the proof of the rest, not yet worked out."""
    splitting = prove_splitting(tokenizer)
    if isinstance(splitting, Obstacle):
        return None, "", Proof(lambda: ({}, splitting.reason))
    known = find_known(splitting.splits)
    if known is None:
        shown = " then ".join(map(repr, splitting.splits))
        reason = f"its pattern is not among those that are known: {shown or 'none':.80}"
        return None, "", Proof(lambda: ({}, reason))
    return known, splitting.normalizer, Proof(functools.partial(_prove, tokenizer.canonical, tokenizer.added))


def _prove(canonical: str, added: tuple[AddedToken, ...]) -> tuple[Ranks, str]:
    """Work out the proof from the text of a file, as its merges took much memory all the while."""
    with without_collecting():
        match prove(TokenizerJson(json.loads(canonical), canonical, (), added)):
            case Obstacle() as obstacle:
                return {}, obstacle.reason
            case Proven() as proven:
                return proven.ranks, ""
