"""A vocabulary <-> one file that travels: to workers, and in a store's folder, where it is ``vocabulary.json``."""

from __future__ import annotations

import json
from typing import Any

from llmprep.errors import FileFormatError
from llmprep.vocabulary.building import build_from_json, build_ranked
from llmprep.vocabulary.definitions import encoding_names
from llmprep.vocabulary.encodings import build_named
from llmprep.vocabulary.patterns import find_known_to_tiktoken
from llmprep.vocabulary.ranks import parse_ranks
from llmprep.vocabulary.stated import Stated
from llmprep.vocabulary.tokenizer_json import read_tokenizer_json
from llmprep.vocabulary.vocabulary import ENCODING_KIND, Vocabulary

FORMAT = "llmprep-vocabulary/1"


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
    """Return the vocabulary that was packed. Raises `FileFormatError` where its fingerprint shows a change."""
    try:
        vocabulary = _unpack(name, json.loads(data))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FileFormatError(f"{name}: is no vocabulary of llmprep's, or damaged ({error!r:.80})") from error
    return vocabulary


def _unpack(name: str, stated: dict[str, Any]) -> Vocabulary:
    if stated["format"] != FORMAT:
        raise FileFormatError(f"{name}: format is {stated['format']!r:.40}, this llmprep reads {FORMAT!r}")
    own, kind, end_of_text = str(stated["name"]), str(stated["kind"]), stated["end_of_text"]
    if "tokenizer" in stated:
        tokenizer = read_tokenizer_json(name, json.dumps(stated["tokenizer"]).encode())
        vocabulary = build_from_json(own, tokenizer, end_of_text)
    elif kind == ENCODING_KIND and own in encoding_names():
        vocabulary = build_named(own, stated["ranks"].encode() if "ranks" in stated else None)
    else:
        pattern, special_tokens = stated["pattern"], dict(stated["special_tokens"])
        ranked = Stated(kind, parse_ranks(stated["ranks"].encode()), special_tokens)
        vocabulary = build_ranked(own, ranked, pattern, find_known_to_tiktoken(pattern), end_of_text)
    if vocabulary.fingerprint != stated["fingerprint"]:
        raise FileFormatError(f"{name}: does not have the fingerprint that it states; it was changed")
    return vocabulary
