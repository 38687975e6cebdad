"""A vocabulary <-> one file that travels: to workers, and in a store's folder, where it is ``vocabulary.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from llmprep.errors import FileFormatError, printable
from llmprep.vocabulary.building import build_from_json, build_ranked
from llmprep.vocabulary.definitions import encoding_names
from llmprep.vocabulary.encodings import build_named
from llmprep.vocabulary.patterns import find_known_to_tiktoken
from llmprep.vocabulary.rank_lines import read_rank_lines
from llmprep.vocabulary.sound import check_sound
from llmprep.vocabulary.special_tokens import check_tokens
from llmprep.vocabulary.stated import FORMAT, Stated
from llmprep.vocabulary.tokenizer_json import read_tokenizer_json
from llmprep.vocabulary.vocabulary import ENCODING_KIND, Vocabulary

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_KIND = re.compile(r"[a-z. ]{1,40}")


def pack(vocabulary: Vocabulary) -> bytes:
    """Return all of a vocabulary as JSON; of one that every installation has, only its name."""
    stated: dict[str, Any] = {"format": FORMAT, "name": vocabulary.name, "kind": vocabulary.kind}
    stated |= {"fingerprint": vocabulary.fingerprint, "end_of_text": vocabulary.end_of_text}
    if vocabulary.hf is not None:
        return f'{json.dumps(stated)[:-1]}, "tokenizer": {vocabulary.hf.canonical}}}\n'.encode()
    if not vocabulary.is_embedded:
        stated["ranks"] = vocabulary.rank_file.decode()
    if vocabulary.kind != ENCODING_KIND:
        stated |= {"pattern": vocabulary.pattern, "special_tokens": vocabulary.special_tokens}
    return f"{json.dumps(stated, ensure_ascii=False)}\n".encode()


def unpack(name: str, data: bytes) -> Vocabulary:
    """Return the vocabulary that was packed. Its pattern is not tried.

    Raises `FileFormatError` for what `pack` does not write, and where the fingerprint shows a change.
    """
    try:
        vocabulary = _unpack(name, json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        reason = printable(f"{error!r:.80}")
        raise FileFormatError(f"{name}: is no vocabulary of llmprep's, or damaged ({reason})") from error
    return vocabulary


def _unpack(name: str, stated: dict[str, Any]) -> Vocabulary:
    if stated["format"] != FORMAT:
        raise FileFormatError(f"{name}: format is {stated['format']!r:.40}, this llmprep reads {FORMAT!r}")
    own, kind, end_of_text = stated["name"], stated["kind"], stated["end_of_text"]
    if not (_NAME.fullmatch(own) and _KIND.fullmatch(kind)):
        raise FileFormatError(f"{name}: states a name or a kind that no vocabulary has; it was changed")
    if "tokenizer" in stated:
        tokenizer = read_tokenizer_json(name, json.dumps(stated["tokenizer"]).encode())
        _check_end(name, end_of_text, [token.content for token in tokenizer.added])
        vocabulary = build_from_json(own, tokenizer, end_of_text)
    elif kind == ENCODING_KIND and own in encoding_names():
        vocabulary = build_named(own, stated["ranks"].encode() if "ranks" in stated else None)
    else:
        vocabulary = _unpack_ranked(name, stated)
    if vocabulary.fingerprint != stated["fingerprint"]:
        raise FileFormatError(f"{name}: does not have the fingerprint that it states; it was changed")
    return vocabulary


def _unpack_ranked(name: str, stated: dict[str, Any]) -> Vocabulary:
    """Build a vocabulary of ranks, which are checked as those of any file."""
    pattern, end_of_text = stated["pattern"], stated["end_of_text"]
    pattern.encode()  # half a character raises ValueError
    special_tokens = check_tokens(name, stated["special_tokens"])
    _check_end(name, end_of_text, special_tokens)
    ranks = read_rank_lines(name, stated["ranks"].encode()).ranks
    check_sound(name, ranks, special_tokens)
    ranked = Stated(stated["kind"], ranks, special_tokens)
    return build_ranked(stated["name"], ranked, pattern, find_known_to_tiktoken(pattern), end_of_text)


def _check_end(name: str, end_of_text: object, tokens: Collection[str]) -> None:
    """Refuse an end-of-text token that is none of the tokens; there need not be one."""
    if end_of_text is not None and end_of_text not in tokens:
        raise FileFormatError(f"{name}: its end-of-text token is none of its special tokens; it was changed")
