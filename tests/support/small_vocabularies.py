"""A small file of each kind of vocabulary, made by hand: for words of text such as "one two three"."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from support.byte_level import ALPHABET, added, document

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def write_vocabularies() -> None:
    """Write them into the current folder."""
    Path("chat").mkdir()
    for name, whole in (("bytes.json", _byte_level()), ("unigram.json", _unigram()), ("wordpiece.json", _wordpiece())):
        Path(name).write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")
    tokens = [*(bytes([byte]) for byte in range(256)), *_parts(" one"), *_parts(" two")]
    lines = (base64.b64encode(token) + f" {rank}\n".encode() for rank, token in enumerate(tokens))
    Path("ranks.tiktoken").write_bytes(b"".join(lines))
    Path("tokenizer_config.json").write_text('{"tokenizer_class": "Small"}', encoding="utf-8")
    Path("special.json").write_text('{"<|begin|>": 300, "<|end_of_text|>": 301}', encoding="utf-8")
    chat = _byte_level() | {"added_tokens": [added("<|eot_id|>", 400), added("<eos>", 401)]}
    Path("chat/tokenizer.json").write_text(json.dumps(chat), encoding="utf-8")


def _parts(word: str) -> list[bytes]:
    """A word, as the merges from the left come to it."""
    return [word[:size].encode() for size in range(2, len(word) + 1)]


def _byte_level() -> dict[str, object]:
    """Byte-level BPE that merges " one" and " two"."""
    words = [part.decode().replace(" ", ALPHABET[32]) for word in (" one", " two") for part in _parts(word)]
    merges = [[word[:-1], word[-1]] for word in words]
    entries = {word: 256 + number for number, word in enumerate(words)}
    return document(entries, merges, added_tokens=[added("<|endoftext|>", 262)])


def _unigram() -> dict[str, object]:
    """A Unigram model, in which white space is an underscore of its own."""
    pieces = ["<unk>", "</s>", "\u2581", *(f"\u2581{word}" for word in WORDS), *"abcdefghijklmnopqrstuvwxyz"]
    model = {
        "type": "Unigram",
        "unk_id": 0,
        "byte_fallback": False,
        "vocab": [[p, -float(len(pieces) - len(p))] for p in pieces],
    }
    space = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}
    tokens = [added("<unk>", 0), added("</s>", 1)]
    return document({}, [], added_tokens=tokens, pre_tokenizer=space, decoder=space) | {"model": model}


def _wordpiece() -> dict[str, object]:
    """A WordPiece model of small letters."""
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        *WORDS,
        *"abcdefghijklmnopqrstuvwxyz",
        *(f"##{c}" for c in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    model = {
        "type": "WordPiece",
        "unk_token": "[UNK]",
        "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocab,
    }
    lower = {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": None,
        "lowercase": True,
    }
    tokens = [added(piece, number) for number, piece in enumerate(pieces[:4])]
    return document({}, [], added_tokens=tokens, normalizer=lower, pre_tokenizer={"type": "BertPreTokenizer"}) | {
        "model": model
    }
