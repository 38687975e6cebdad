"""Small files of byte-level BPE, as Hugging Face's tokenizer.json."""

from __future__ import annotations

from typing import Any

PRINTED = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
OTHERS = iter(range(256, 512))
ALPHABET = [chr(byte if byte in PRINTED else next(OTHERS)) for byte in range(256)]
"""The character that stands for each byte."""
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def document(entries: dict[str, int], merges: list[Any], **changes: Any) -> dict[str, Any]:
    """A file with these entries beside the bytes 0 to 255; a change ``model_x`` is one of its model's x."""
    inner = {name.removeprefix("model_"): changes.pop(name) for name in list(changes) if name.startswith("model_")}
    vocab = {character: byte for byte, character in enumerate(ALPHABET)} | entries
    model = {"type": "BPE", "dropout": None, "vocab": vocab, "merges": merges, "ignore_merges": False} | inner
    whole = dict.fromkeys(("truncation", "padding", "normalizer", "post_processor", "decoder"))
    return {"version": "1.0", "added_tokens": [], **whole, "pre_tokenizer": BYTE_LEVEL, "model": model} | changes


def added(content: str, number: Any, **flags: Any) -> dict[str, Any]:
    """An added token, special and found as it stands, but for ``flags``."""
    usual = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": content, **usual, "special": True} | flags
