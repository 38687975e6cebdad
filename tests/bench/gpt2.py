"""GPT-2's vocabulary for the contestants, from the file inside llmprep, and where the bench works."""

import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RANKS = next((ROOT / "llmprep").rglob("r50k_base.tiktoken"))
BUILD = Path.cwd() / "build"
FOLDER = BUILD / "bench"
SCRATCH = FOLDER / "scratch"
OUT = SCRATCH / "out"
END_OF_TEXT = "<|endoftext|>"


def encoding() -> Any:
    """Return tiktoken's `Encoding`, made without a download."""
    os.environ["TIKTOKEN_CACHE_DIR"] = ""  # or the ranks would be copied into a cache
    import tiktoken
    from tiktoken.load import load_tiktoken_bpe
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = load_tiktoken_bpe(str(RANKS))
    special = {END_OF_TEXT: len(ranks)}
    return tiktoken.Encoding("gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens=special)


def gigatoken() -> Any:
    """Return gigatoken's `Tokenizer`."""
    from gigatoken import Tokenizer

    return Tokenizer.from_tiktoken(RANKS, pretokenizer="gpt2", special_tokens={END_OF_TEXT: 50256})
