"""A ``tokenizer.json`` -> the bytes of text that each of its ids stands for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from llmprep.vocabulary.byte_alphabet import bytes_of
from llmprep.vocabulary.stated import AddedToken
from llmprep.vocabulary.tokenizer_json import step_types

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_texts(document: Mapping[str, Any], added: Sequence[AddedToken]) -> dict[int, bytes]:
    """Return the bytes of each id, as the file's own decoder joins them.

    A byte-level token is its bytes. In the other kinds ``_`` of SentencePiece (U+2581) is a space and ``<0x0A>`` a
    byte, and a token of WordPiece that begins a word has a space before it: the text they came from need not be these
    bytes exactly, as such a vocabulary has dropped some of it.
    """
    model = document["model"]
    kinds = {
        *step_types(document.get("decoder"), "decoders"),
        *step_types(document.get("pre_tokenizer"), "pretokenizers"),
    }
    vocab = model["vocab"]
    pairs = enumerate(entry[0] for entry in vocab) if isinstance(vocab, list) else ((i, t) for t, i in vocab.items())
    if "ByteLevel" in kinds:
        texts = {number: _of_alphabet(token) for number, token in pairs}
    elif model["type"] == "WordPiece" or "WordPiece" in kinds:
        prefix = str(model.get("continuing_subword_prefix") or "##")
        texts = {number: _of_word(token, prefix) for number, token in pairs}
    else:
        spaced = bool({"Metaspace", "Replace"} & kinds)
        texts = {number: _of_piece(token, spaced=spaced) for number, token in pairs}
    return texts | {token.id: token.content.encode() for token in added}


def _of_alphabet(token: str) -> bytes:
    data = bytes_of(token)
    return token.encode("utf-8", "surrogatepass") if data is None else data


def _of_word(token: str, prefix: str) -> bytes:
    return (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()


def _of_piece(token: str, *, spaced: bool) -> bytes:
    if found := _BYTE.fullmatch(token):
        return bytes.fromhex(found[1])
    return (token.replace("\u2581", " ") if spaced else token).encode()
