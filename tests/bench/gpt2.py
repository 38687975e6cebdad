"""GPT-2's vocabulary for the contestants, each in the form that it takes; all from the file inside llmprep.

`python gpt2.py` writes it as `build/bench/tokenizer.json`, its merges recovered from the ranks.
"""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RANKS = next((ROOT / "llmprep").rglob("r50k_base.tiktoken"))
BUILD = Path.cwd() / "build"
TOKENIZER_JSON = BUILD / "bench" / "tokenizer.json"
END_OF_TEXT = "<|endoftext|>"


@functools.cache
def encoding() -> Any:
    """Return tiktoken's `Encoding`, made without a download."""
    os.environ["TIKTOKEN_CACHE_DIR"] = ""  # or the ranks would be copied into a cache
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = load_tiktoken_bpe(str(RANKS))
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={END_OF_TEXT: len(ranks)}
    )


def giga_tokenizer() -> Any:
    """Return gigatoken's `Tokenizer`."""
    from gigatoken import Tokenizer

    return Tokenizer.from_tiktoken(RANKS, pretokenizer="gpt2", special_tokens={END_OF_TEXT: 50256})


def merge_of(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two tokens that merge into this one: what its bytes become by the merges of lower rank."""
    parts = [token[k : k + 1] for k in range(len(token))]
    while len(parts) > 2:
        rank, place = min((ranks.get(parts[k] + parts[k + 1], len(ranks)), k) for k in range(len(parts) - 1))
        if rank >= ranks[token]:
            raise ValueError(f"{token!r} is not a merge of two tokens")
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts[0], parts[1]


def letters() -> list[str]:
    """Return the character for each byte in GPT-2's own files: itself if it prints, else one from U+0100 on."""
    printed = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    spare = iter(range(0x100, 0x200))
    return [chr(byte if byte in printed else next(spare)) for byte in range(256)]


def tokenizer_json() -> str:
    """Return the vocabulary as the `tokenizers` package reads it."""
    from tiktoken.load import load_tiktoken_bpe

    os.environ["TIKTOKEN_CACHE_DIR"] = ""
    ranks = load_tiktoken_bpe(str(RANKS))
    shown = letters()
    spell = {token: "".join(shown[byte] for byte in token) for token in ranks}
    merges = [[spell[part] for part in merge_of(token, ranks)] for token in ranks if len(token) > 1]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return json.dumps(
        {
            "version": "1.0",
            "added_tokens": [{"id": len(ranks), "content": END_OF_TEXT, **special}],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {
                "type": "BPE",
                "vocab": {**{spell[token]: rank for token, rank in ranks.items()}, END_OF_TEXT: len(ranks)},
                "merges": merges,
            },
        }
    )


if __name__ == "__main__":
    TOKENIZER_JSON.parent.mkdir(parents=True, exist_ok=True)
    TOKENIZER_JSON.write_text(tokenizer_json(), encoding="utf-8")
